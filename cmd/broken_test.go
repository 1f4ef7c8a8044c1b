package cmd_test

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"arid/cmd"
)

// nobody takes nothing, as a full disk or a pipe whose reader has gone.
type nobody struct{}

func (nobody) Write([]byte) (int, error) { return 0, errors.New("nobody reads it") }

// into runs a command line with other streams.
func (w *world) into(stdout, stderr io.Writer, args ...string) int {
	w.t.Helper()
	return cmd.Main(w.t.Context(), &cmd.Process{
		Args: append([]string{"arid"}, args...), Env: w.env, Dir: w.dir, UID: os.Getuid(), Stdin: strings.NewReader(""), Stdout: stdout, Stderr: stderr,
	})
}

// Help that could not be written ended with 0.
func TestWhatIsAskedForAndCannotBeWritten(t *testing.T) {
	w := newWorld(t)
	for _, line := range []string{
		"--help", "help", "help sign", "help hints", "sign --help", "account --help", "account show --help", "completion bash --help",
		"--version", "version", "version --json", "completion bash", "completion zsh", "completion fish", "completion powershell", "config",
	} {
		var talk strings.Builder
		if status := w.into(nobody{}, &talk, strings.Fields(line)...); status != 74 || talk.String() != "arid: cannot write to stdout: nobody reads it\n" {
			t.Errorf("%s: status %d, %q", line, status, &talk)
		}
	}
}

// With a broken stderr "due" answered that there was no answer, and "renew" that
// something had failed.
func TestTalkThatCannotBeWrittenChangesNoStatus(t *testing.T) {
	w := newWorld(t)
	w.domains("a.test")
	if status := w.into(io.Discard, nobody{}, "renew", "-v", "--accept-terms"); status != 0 {
		t.Errorf("issued: status %d", status)
	}
	w.checkSet("a.test", "a.test")
	w.domains("a.test", "B.TEST", "b.test") // which is odd, and due
	for _, step := range []struct {
		line   string
		status int
	}{{"due -v", 0}, {"status -v", 0}, {"due -v --config /nowhere", 255}, {"nonsense", 64}} {
		if status := w.into(io.Discard, nobody{}, strings.Fields(step.line)...); status != step.status {
			t.Errorf("%s: status %d", step.line, status)
		}
	}
}
