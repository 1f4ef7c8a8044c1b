//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// The launcher is this program again.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == launchWord {
		os.Exit(launched(os.Args[2:]))
	}
	status := m.Run()
	os.RemoveAll(builds)
	os.Exit(status)
}

var builds string // folder of programs, "" if none was made

// build makes what is measured and what it is measured against, once.
var build = sync.OnceValue(func() (err error) {
	if builds, err = os.MkdirTemp("", "arid-bench-test-"); err != nil {
		return err
	}
	for _, what := range [][]string{{".", "./tests/bench/floor", "./tests/tools/freeports"}, {"tool"}} {
		cmd := exec.Command("go", append([]string{"build", "-o", builds + "/"}, what...)...)
		cmd.Dir = top
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go build: %w\n%s", err, out)
		}
	}
	return nil
})

const top = "../.." // the repository

func testBench(t *testing.T) *bench {
	t.Helper()
	if _, err := os.Stat(top + "/build/pebble"); err != nil && os.Getenv("ARID_TEST_ALL") == "" {
		t.Skip(`there is no build/pebble; "make test-tools" makes it`)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := build(); err != nil {
		t.Fatal(err)
	}
	b, err := openBench(self, builds)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.end)
	b.say = io.Discard
	return b
}

// What a certificate for one name takes, however often the order is looked at.
func TestOneName(t *testing.T) {
	b := testBench(t)
	for _, name := range []string{floorName, ourName} {
		chosen, err := choose(clients, func(c *client) string { return c.name }, name)
		if err != nil {
			t.Fatal(err)
		}
		s := scenario{name: "one", names: 1}
		got, err := b.measure(t.Context(), attempt{&s, chosen[0], 20 * time.Millisecond, 0, false})
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, got.log)
		}
		asked := map[string]int{}
		for _, e := range got.exchanges {
			asked[e.Kind]++
		}
		for _, kind := range []string{"directory", "newNonce", "newOrder", "authorization", "challenge", "finalize", "certificate"} {
			if asked[kind] != 1 {
				t.Errorf("%s asks %d times for %s\n%s", name, asked[kind], kind, got.log)
			}
			delete(asked, kind)
		}
		if asked["order"] < 2 || len(asked) > 1 {
			t.Errorf("%s asks for this besides: %v\n%s", name, asked, got.log)
		}
		if got.connections != 1 || got.handshakes != 1 {
			t.Errorf("%s makes %v connections and %v handshakes", name, got.connections, got.handshakes)
		}
		if got.wall <= 0 || got.cpu <= 0 || got.memory <= 0 {
			t.Errorf("%s: not measured: %+v", name, got)
		}
	}
}

func TestFailureIsNoFastRun(t *testing.T) {
	b := testBench(t)
	broken := *clients[0]
	broken.files = func(place, string) [2]string { return [2]string{"/nonexistent", "/nonexistent"} }
	s := scenario{name: "one", names: 1, distances: []time.Duration{0}}
	all := b.rounds(t.Context(), &s, []*client{&broken}, 0)
	if len(all[0].samples) > 0 || len(all[0].failures) == 0 {
		t.Errorf("%d runs counted, %d failed", len(all[0].samples), len(all[0].failures))
	}
	var out strings.Builder
	printTable(&out, "title", all)
	if !strings.Contains(out.String(), "FAILED") {
		t.Errorf("the table does not say so:\n%s", &out)
	}
}

func TestReadTrace(t *testing.T) {
	trace := strings.Join([]string{
		`10 execve("/bin/sh", ["sh"], 0x7ffc /* 3 vars */) = 0`,
		`10 execve("/usr/local/bin/x", ["x"], 0x7ffc /* 3 vars */) = -1 ENOENT (No such file or directory)`,
		`10 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD, child_tidptr=0x7f) = 11`,
		`10 vfork( <unfinished ...>`,
		`12 execve("/bin/true", ["true"], 0x7ffc /* 3 vars */ <unfinished ...>`,
		`10 <... vfork resumed>)                    = 12`,
		`12 <... execve resumed>)                   = 0`,
		`12 clone3({flags=CLONE_VM|CLONE_THREAD, exit_signal=0}, 88) = 13`,
		`12 clone3({flags=CLONE_VM|CLONE_VFORK, exit_signal=SIGCHLD}, 88 <unfinished ...>`,
		`12 <... clone3 resumed>)                   = 14`,
	}, "\n")
	processes, programs, err := readTrace(strings.NewReader(trace))
	if err != nil || processes != 4 || programs != 2 {
		t.Errorf("%d processes, %d programs, %v; want 4 and 2", processes, programs, err)
	}
}

func TestExtrapolation(t *testing.T) {
	some := sample{wall: 10 * time.Second, requests: 37, memory: 20 << 10}
	one := sample{wall: time.Second, requests: 10, memory: 18 << 10}
	got := sample{guessed: true}.plus(one, 1).plus(some.plus(one, -1), 99.0/9)
	if got.wall != 100*time.Second || got.requests != 307 || got.memory != 20<<10 || !got.guessed {
		t.Errorf("%+v", got)
	}
}

func TestLastLine(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(log, []byte("begin\nit went wrong\n}\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := lastLine(log); got != "it went wrong" {
		t.Errorf("%q", got)
	}
}

func TestTablesInPage(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(page, []byte("before\n"+firstMark+"old\n"+lastMark+"after\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := putIntoPage(page, "new\n"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(page)
	if want := "before\n" + firstMark + "\nnew\n\n" + lastMark + "after\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}
