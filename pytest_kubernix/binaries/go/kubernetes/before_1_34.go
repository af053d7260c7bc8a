//go:build before_1_34

// What had another shape up to Kubernetes 1.33.
package main

import (
	"github.com/spf13/cobra"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func newKubelet() *cobra.Command { return kubelet.NewKubeletCommand() }

func setKubectlVerbosity() {} // kubectl reads its verbosity late here.

func addCustomAPIServerFlags(sets *cliflag.NamedFlagSets) {
	options.AddCustomGlobalFlags(sets.FlagSet("generic"))
}

func recordAPIServerVersions(*options.ServerRunOptions) {} // No such metric here.
