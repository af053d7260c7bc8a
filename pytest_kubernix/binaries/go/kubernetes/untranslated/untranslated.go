// Package untranslated spares every program but kubectl the loading of kubectl's translations, a quarter of its start.
// It must be initialised before the packages that ask for one; those that can be are so in the order of their paths,
// and that is why the module's path begins with an early letter.
package untranslated

import (
	"os"
	"path/filepath"

	"k8s.io/kubectl/pkg/util/i18n"
)

func init() {
	if filepath.Base(os.Args[0]) == "kubectl" {
		return
	}
	if err := i18n.SetLoadTranslationsFunc(func() error { return nil }); err != nil {
		panic(err) // They are loaded already: the order of packages has changed.
	}
}
