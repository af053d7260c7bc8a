//go:build !before_1_34

// What has another shape from Kubernetes 1.34 on.
package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/logs"
	kubectl "k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func newKubelet() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }

// setKubectlVerbosity runs first: it decides what is logged while the command tree is still being built.
func setKubectlVerbosity() { logs.GlogSetter(kubectl.GetLogVerbosity(os.Args)) }

func addCustomAPIServerFlags(*cliflag.NamedFlagSets) {} // All are among the options here.

func recordAPIServerVersions(server *options.ServerRunOptions) {
	server.GenericServerRunOptions.ComponentGlobalsRegistry.AddMetrics()
}
