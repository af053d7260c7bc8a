//go:build before_1_34

// What had another shape up to Kubernetes 1.33.
package main

import (
	"github.com/spf13/cobra"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func newKubelet() *cobra.Command { return kubelet.NewKubeletCommand() }

func setKubectlVerbosity() {} // kubectl reads its verbosity late here.
