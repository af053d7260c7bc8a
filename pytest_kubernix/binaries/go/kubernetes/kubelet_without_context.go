//go:build kubelet_without_context

// The kubelet's command takes no context up to Kubernetes 1.33.
package main

import (
	"github.com/spf13/cobra"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func newKubelet() *cobra.Command { return kubelet.NewKubeletCommand() }
