package cmd_test

import (
	"os"
	"strings"
	"testing"
)

func TestARehearsalHintsAtWhatItsOwnCAAsked(t *testing.T) {
	w := newWorld(t)
	if _, talk := w.must(1, "rehearse", "--http-port", "1", "a.test"); !strings.Contains(talk, "127.0.0.1 port 1: ") || !strings.Contains(talk, "[http-refused]") {
		t.Errorf("--http-port 1: %q", talk)
	}
	hook := w.file("hook", "#!/bin/sh\n[ $1 != deploy_cert ]\n", 0o700)
	if _, talk := w.must(10, "rehearse", "-k", hook, "a.test"); strings.Contains(talk, "next run") {
		t.Errorf("nothing is kept, and yet: %q", talk)
	}
}

func TestARehearsalReadsTheConfigOnce(t *testing.T) {
	w := newWorld(t)
	w.env = []string{"HOME=" + w.dir, "PATH=" + os.Getenv("PATH")}
	file := w.file("config", "RENEW_DAY=3\n", 0o600)
	if _, talk := w.must(0, "rehearse", "-f", file, "a.test"); strings.Count(talk, "unknown setting") != 1 {
		t.Errorf("%q", talk)
	}
}
