// kube-apiserver, whose first start may be on a store that has all that a first start writes.
// Everything is upstream's: its options, its configuration, its chain of servers.
package main

import (
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	genericapiserver "k8s.io/apiserver/pkg/server"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/rest"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/cli/globalflag"
	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/component-base/version"
	"k8s.io/klog/v2"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
)

// preparedVariable says that the store has prepared data, and that nobody had it before.
const preparedVariable = "KUBERNIX_PREPARED"

// bootstrapHooks write roles and priority classes. They sleep for a second before they look whether these are there,
// and the server is not well until they have looked.
var bootstrapHooks = []string{"rbac/bootstrap-roles", "scheduling/bootstrap-system-priority-classes"}

// newAPIServer is upstream's command, but for the first start on prepared data. A later start runs every hook, as
// everywhere: it brings back what somebody deleted.
func newAPIServer() *cobra.Command {
	if os.Getenv(preparedVariable) == "" {
		return apiserver.NewAPIServerCommand()
	}
	os.Unsetenv(preparedVariable)
	return newPreparedAPIServer()
}

// newPreparedAPIServer goes through the same steps as upstream's command, without the hooks that have nothing to do.
func newPreparedAPIServer() *cobra.Command {
	server := options.NewServerRunOptions()
	context := genericapiserver.SetupSignalContext()
	registry := server.GenericServerRunOptions.ComponentGlobalsRegistry
	var command *cobra.Command
	command = &cobra.Command{
		Use:          "kube-apiserver",
		SilenceUsage: true,
		Args:         cobra.NoArgs,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			rest.SetDefaultWarningHandler(rest.NoWarnings{})
			return registry.Set()
		},
		RunE: func(*cobra.Command, []string) error {
			if err := logsapi.ValidateAndApply(server.Logs, utilfeature.DefaultFeatureGate); err != nil {
				return err
			}
			cliflag.PrintFlags(command.Flags())
			klog.Infof("Version: %+v", version.Get())
			klog.InfoS("Golang settings", "GOGC", os.Getenv("GOGC"), "GOMAXPROCS", os.Getenv("GOMAXPROCS"))
			completed, err := server.Complete(context)
			if err != nil {
				return err
			}
			if errs := completed.Validate(); len(errs) > 0 {
				return utilerrors.NewAggregate(errs)
			}
			utilfeature.DefaultMutableFeatureGate.AddMetrics()
			recordAPIServerVersions(server)
			config, err := apiserver.NewConfig(completed)
			if err != nil {
				return err
			}
			disabled := config.KubeAPIs.ControlPlane.Generic.DisabledPostStartHooks
			disabled.Insert(bootstrapHooks...)
			chain, err := config.Complete()
			if err != nil {
				return err
			}
			aggregator, err := apiserver.CreateServerChain(chain)
			if err != nil {
				return err
			}
			// Its health tells of them as ever: what they see to is there.
			for _, hook := range bootstrapHooks {
				klog.InfoS("Left out, since the store has prepared data", "hook", hook)
				disabled.Delete(hook)
				aggregator.GenericAPIServer.AddPostStartHookOrDie(hook, doNothing)
			}
			prepared, err := aggregator.PrepareRun()
			if err != nil {
				return err
			}
			return prepared.Run(context)
		},
	}
	command.SetContext(context)
	sets := server.Flags()
	server.Flagz = flagReader{&sets}
	globalflag.AddGlobalFlags(sets.FlagSet("global"), command.Name(), logs.SkipLoggingConfigurationFlags())
	addCustomAPIServerFlags(&sets)
	for _, set := range sets.FlagSets {
		command.Flags().AddFlagSet(set)
	}
	return command
}

func doNothing(genericapiserver.PostStartHookContext) error { return nil }

// flagReader tells /flagz of the flags. Upstream's has another package in different versions.
type flagReader struct{ sets *cliflag.NamedFlagSets }

func (reader flagReader) GetFlagz() map[string]string {
	values := map[string]string{}
	for _, set := range reader.sets.FlagSets {
		set.VisitAll(func(flag *pflag.Flag) {
			values[flag.Name] = flag.Value.String()
			if len(flag.Annotations["classified"]) > 0 {
				values[flag.Name] = "CLASSIFIED"
			}
		})
	}
	return values
}
