package hooks

import (
	"context"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// As process 1 of a container we are left with the hook's orphans.
func TestZombiesAreNotWaitedFor(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)

	r, out := runner(t, `sleep 600 & echo $! >"$OUT/pid"; wait`)
	r.Group, r.TermGrace = true, 10*soon
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		await(t, out+"/pid")
		cancel()
	}()
	timed(t, func() {
		if err := r.Run(ctx, StartupHook()); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	pid := awaitPID(t, out+"/pid")
	if got := state(pid); got != "Z" {
		t.Errorf("state of the orphan: %q", got)
	}
	if _, err := unix.Wait4(pid, nil, 0, nil); err != nil {
		t.Error(err)
	}
}
