// One executable that is etcd, the Kubernetes control plane, the node agents and kubectl.
// It acts by the name it is called under, so one link step and one page cache serve them all.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	_ "time/tzdata" // CronJob time zones must work where the machine has no zone files.

	_ "cluster.pytest-kubernix/kubernetes/untranslated"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // kubectl's credential plugins
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // the version metric
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// holdVariable makes a program wait, once it is loaded, until its standard input ends.
// A boot loads with it what must not begin yet, while nothing else wants the processor.
const holdVariable = "KUBERNIX_HOLD"

func hold() {
	if os.Getenv(holdVariable) != "" {
		os.Unsetenv(holdVariable)
		io.Copy(io.Discard, os.Stdin)
	}
}

// component runs one cobra command the way its upstream main does.
func component(build func() *cobra.Command) func() {
	return func() {
		command := build()
		hold()
		os.Exit(cli.Run(command))
	}
}

func runKubectl() {
	setKubectlVerbosity()
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err)
	}
}

var programs = map[string]func(){
	"etcd":                    func() { etcdmain.Main(os.Args) },
	"kube-apiserver":          component(newAPIServer),
	"kube-controller-manager": component(controllermanager.NewControllerManagerCommand),
	"kube-scheduler":          component(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
	"kube-proxy":              component(proxy.NewProxyCommand),
	"kubelet":                 component(newKubelet),
	"kubectl":                 runKubectl,
}

func main() {
	name := filepath.Base(os.Args[0])
	if run, known := programs[name]; known {
		run()
		return
	}
	names := make([]string, 0, len(programs))
	for program := range programs {
		names = append(names, program)
	}
	sort.Strings(names)
	fmt.Fprintf(os.Stderr, "%s: call this executable under one of the names %s\n", name, strings.Join(names, ", "))
	os.Exit(64)
}
