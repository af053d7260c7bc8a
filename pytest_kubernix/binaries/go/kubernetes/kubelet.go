//go:build !kubelet_without_context

// The kubelet's command takes a context from Kubernetes 1.34 on.
package main

import (
	"context"

	"github.com/spf13/cobra"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func newKubelet() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }
