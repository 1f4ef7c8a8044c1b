package cmd

import (
	"runtime"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// Stamped by the Makefile: which version this is, and when its last change was
// made, in seconds since 1970; "" is not known.
var version, released = "dev", ""

// built is when this arid was released; the zero time where nobody said.
func built() time.Time {
	seconds, err := strconv.ParseInt(released, 10, 64)
	if err != nil || seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "version and build",
		GroupID: groupInspect,
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			if a.json {
				return a.emit(&versionJSON{Version: version, Go: runtime.Version(),
					Platform: runtime.GOOS + "/" + runtime.GOARCH, Released: timeJSON(built())})
			}
			return a.out("arid " + version + " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH + "\n")
		},
	}
}

// product is stdout for cobra, whose help does not look whether it could be written.
type product struct{ *app }

func (p product) Write(text []byte) (int, error) {
	if err := p.out(string(text)); err != nil {
		return 0, err
	}
	return len(text), nil
}

// out writes the product to stdout.
func (a *app) out(text string) error {
	if err := a.report.Out(text); err != nil {
		return &outputError{err}
	}
	return nil
}
