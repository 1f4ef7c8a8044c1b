package cmd_test

import (
	"strings"
	"testing"
)

func TestARehearsalHintsAtWhatItsOwnCAAsked(t *testing.T) {
	w := newWorld(t)
	port := func(talk string) bool {
		return strings.Contains(talk, "port 1 for") && !strings.Contains(talk, "port 80")
	}
	if _, talk := w.must(1, "rehearse", "--http-port", "1", "a.test"); !port(talk) {
		t.Errorf("--http-port 1: %q", talk)
	}
	hook := w.file("hook", "#!/bin/sh\n[ $1 != deploy_cert ]\n", 0o700)
	if _, talk := w.must(10, "rehearse", "-k", hook, "a.test"); strings.Contains(talk, "next run") {
		t.Errorf("nothing is kept, and yet: %q", talk)
	}
}
