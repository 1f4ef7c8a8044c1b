// arid gets TLS certificates from an ACME CA and hands them to the user's own
// scripts.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"arid/cmd"
)

func main() {
	// Caught, not ignored: a closed pipe becomes a write error for us, and the
	// hooks start with the signal's default.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, caught := untilSignal(context.Background())
	dir, _ := os.Getwd()
	status := cmd.Main(ctx, &cmd.Process{
		Args:   os.Args,
		Env:    os.Environ(),
		Dir:    dir,
		UID:    os.Geteuid(),
		Stdin:  os.Stdin,
		Stdout: os.Stdout,
		Stderr: os.Stderr,
	})
	select {
	case s := <-caught:
		die(s)
	default:
		os.Exit(status)
	}
}

// untilSignal returns a context that TERM, INT or HUP ends, unless they were
// ignored when arid was started. The first signal is handed over for after the
// clean-up; the second ends the process at once.
func untilSignal(parent context.Context) (context.Context, <-chan syscall.Signal) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	for _, s := range []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	caught := make(chan syscall.Signal, 1)
	go func() {
		s := (<-signals).(syscall.Signal)
		caught <- s
		cancel(&cmd.SignalError{Signal: s})
		die((<-signals).(syscall.Signal))
	}()
	return ctx, caught
}

// die ends the process by the signal itself, so that the parent sees it.
func die(s syscall.Signal) {
	signal.Reset(s)
	_ = syscall.Kill(os.Getpid(), s)
	time.Sleep(time.Second) // the signal is on its way
	os.Exit(128 + int(s))
}
