package cmd

import (
	"runtime"

	"github.com/spf13/cobra"
)

// version is stamped by the Makefile.
var version = "dev"

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "version and build",
		GroupID: groupInspect,
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			return a.out("arid " + version + " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH + "\n")
		},
	}
}

// out writes the product to stdout.
func (a *app) out(text string) error {
	if err := a.report.Out(text); err != nil {
		return &outputError{err}
	}
	return nil
}
