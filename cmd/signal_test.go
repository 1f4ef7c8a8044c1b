package cmd_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"arid/cmd"
	"arid/internal/fakeca"
)

// A signal that comes while the CA is asked something, at every request of a run.
func TestSignalAtEveryRequest(t *testing.T) {
	kinds := []string{
		fakeca.Directory, fakeca.Nonce, fakeca.NewAccount, fakeca.NewOrder, fakeca.Authz,
		fakeca.Challenge, fakeca.Order, fakeca.Finalize, fakeca.Certificate,
	}
	for i, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t)
			log := filepath.Join(w.dir, "log")
			hook := w.file("hook", "#!/bin/sh\necho $1 >>"+log+"\n", 0o700)
			ctx, end := context.WithCancelCause(context.Background())
			var once sync.Once
			w.ca.On(kind, func(_ http.ResponseWriter, r *http.Request) bool {
				hit := false
				once.Do(func() { hit = true })
				if hit {
					end(&cmd.SignalError{Signal: syscall.SIGTERM})
					<-r.Context().Done() // the client has hung up
				}
				return hit
			})
			status, out, talk := w.runContext(ctx, "sign", "--accept-terms", "-k", hook, "a.test")
			if status != 128+15 || out != "" || !strings.HasSuffix(talk, "ended by signal SIGTERM\n") || strings.Count(talk, "\n") != 1 {
				t.Errorf("status %d, stdout %q, stderr %q", status, out, talk)
			}
			if left, _ := os.ReadDir(w.webroot); len(left) > 0 {
				t.Errorf("left in the webroot: %v", left)
			}
			deployed := i >= slices.Index(kinds, fakeca.Challenge)
			calls, _ := os.ReadFile(log)
			want := "startup_hook\ngenerate_csr\n" + map[bool]string{true: "deploy_challenge\nclean_challenge\n"}[deployed]
			if string(calls) != want {
				t.Errorf("hook calls %q, want %q", calls, want)
			}
			w.must(0, "sign", "--accept-terms", "-k", hook, "a.test")
			w.checkSet("a.test", "a.test")
			orders := 1
			if kind == fakeca.Order {
				orders = 2 // the CA looked after the token was taken away
			}
			if w.ca.Accounts() != 1 || w.ca.NewOrders() != orders {
				t.Errorf("%d accounts, %d orders", w.ca.Accounts(), w.ca.NewOrders())
			}
		})
	}
}

// What the user named may be a pipe on which nothing ever comes.
func TestSignalWhileInputIsAwaited(t *testing.T) {
	w := newWorld(t)
	pipe := filepath.Join(w.dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	held, err := os.OpenFile(pipe, os.O_RDWR, 0) // somebody writes to it, but nothing
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	for _, args := range [][]string{
		{"sign", "--csr", pipe},
		{"sign", "--csr", "-"},
		{"acme-tiny", "--account-key", pipe, "--csr", "csr.pem", "--acme-dir", "."},
		{"dns", "add", "--dns-key", pipe, "a.test", "x"},
		{"check", "--cert", pipe, "127.0.0.1:1"},
		{"revoke", pipe},
		{"sign", "-p", pipe, "a.test"},
		{"account", "rollover", "--new-key", pipe},
		{"respond", "--alpn", ".", "--fallback-cert", pipe, "--fallback-key", pipe, "--listen", "127.0.0.1:0"},
	} {
		ctx, end := context.WithCancelCause(context.Background())
		ended := make(chan int)
		go func() {
			var out, talk stream
			ended <- cmd.Main(ctx, &cmd.Process{
				Args: append([]string{"arid"}, args...), Env: w.env, Dir: w.dir, UID: os.Getuid(),
				Stdin: held, Stdout: &out, Stderr: &talk, HTTP: w.http,
			})
		}()
		end(&cmd.SignalError{Signal: syscall.SIGINT})
		select {
		case status := <-ended:
			if status != 128+2 {
				t.Errorf("%q: status %d", args, status)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%q: waits on", args)
		}
	}
}
