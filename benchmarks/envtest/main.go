// envtest starts and stops one control plane by controller-runtime's envtest, and prints how long each took.
// The executables are those in KUBEBUILDER_ASSETS.
package main

import (
	"encoding/json"
	"log"
	"os"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

func main() {
	environment := &envtest.Environment{}
	begin := time.Now()
	if _, err := environment.Start(); err != nil {
		log.Fatal(err)
	}
	ready := time.Now()
	if err := environment.Stop(); err != nil {
		log.Fatal(err)
	}
	figures := map[string]float64{
		"start": ready.Sub(begin).Seconds(),
		"stop":  time.Since(ready).Seconds(),
	}
	if err := json.NewEncoder(os.Stdout).Encode(figures); err != nil {
		log.Fatal(err)
	}
}
