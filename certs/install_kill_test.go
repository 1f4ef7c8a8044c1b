package certs

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// As in kill_test.go: a process is ended before each call that changes files, or
// that call fails. Here it puts files in place outside the tree.

const deployChild = "ARID_CERTS_DEPLOY_CHILD"

func init() {
	if job, dir, child := strings.Cut(os.Getenv(deployChild), ":"); child {
		runtime.LockOSThread() // strace counts calls by thread
		syscall.Umask(0o077)
		if err := os.Mkdir(filepath.Join(dir, "begin"), 0o700); err != nil {
			panic(err)
		}
		if err := deployJobs[job](dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// next are the files that a job is to put in place: those in the directory "next".
func nextFiles(dir string) (all []Destination, err error) {
	for _, name := range []string{"www.key", "www.pem"} {
		data, err := os.ReadFile(filepath.Join(dir, "next", name))
		if err != nil {
			return nil, err
		}
		all = append(all, Destination{Path: filepath.Join(dir, "desk", name), Data: data, UID: -1, GID: -1})
	}
	return all, nil
}

var deployJobs = map[string]func(dir string) error{
	"install": func(dir string) error { return installJob(dir, (*Installation).Keep) },
	"undo":    func(dir string) error { return installJob(dir, (*Installation).Undo) },
	"stage": func(dir string) error {
		all, err := nextFiles(dir)
		if err == nil {
			_, err = Stage(context.Background(), all)
		}
		return err
	},
	"promote":     func(dir string) error { return promoteJob(dir, false) },
	"self-signed": func(dir string) error { return promoteJob(dir, true) },
}

// installJob tells a server, which is a file that is there if it was told.
func installJob(dir string, end func(*Installation, context.Context) error) error {
	all, err := nextFiles(dir)
	if err != nil {
		return err
	}
	in, err := Install(context.Background(), all)
	if err != nil {
		return err
	}
	if !in.Changed(0) && !in.Changed(1) {
		return nil
	}
	if err := os.WriteFile(filepath.Join(dir, "told"), nil, 0o600); err != nil {
		return err
	}
	return end(in, context.Background())
}

func promoteJob(dir string, selfSigned bool) error {
	p := Promotion{
		Cert: filepath.Join(dir, "desk", "www.pem"), Key: filepath.Join(dir, "desk", "www.key"),
		Backups: 2, SelfSigned: selfSigned,
	}
	_, err := p.Run(context.Background(), time.Now())
	return err
}

// deployment is a directory to be copied for each kill.
type killTable struct {
	name, job string
	desk      map[string]string // what lies there at first
	next      pair
	// check looks after the kill, runs once more, and looks again.
	check func(t *testing.T, at string, dir string, failed error)
}

func TestDeploymentsKilledAtAnyCall(t *testing.T) {
	needs(t, "strace")
	if err := exec.Command("strace", "-o", "/dev/null", "true").Run(); err != nil {
		t.Skipf("strace may not trace here: %v", err)
	}
	a := newAuthority(t)
	one, two, three := newPair(t, a, nil), newPair(t, a, nil), newPair(t, a, nil)
	again := pairOf(t, Material{Key: mustKey(t, two.key), Chain: []*x509.Certificate{a.leaf(t, mustKey(t, two.key).Public(), nil, "www.example.org"), a.intermediate}})
	inPlace := map[string]string{"www.pem": one.cert, "www.key": one.key}
	waiting := map[string]string{"www.pem": one.cert, "www.key": one.key, "www.pem.upd": two.cert, "www.key.upd": two.key}
	backed := map[string]string{"www.pem": one.cert, "www.key": one.key, "www.pem.upd": two.cert, "www.key.upd": two.key, "www.pem.old.0": three.cert, "www.key.old.0": three.key}
	left := map[string]string{"www.key": two.key, ".www.key.arid-old": one.key, "www.pem": one.cert, ".www.pem.arid-old": one.cert}
	for _, table := range []killTable{
		{"install", "install", inPlace, two, checkInstall(one, two, "install")},
		{"install for the first time", "install", nil, two, checkInstall(pair{}, two, "install")},
		{"install and go back", "undo", inPlace, two, checkInstall(one, two, "undo")},
		{"go back to nothing", "undo", nil, two, checkInstall(pair{}, two, "undo")},
		{"install where a run was killed", "install", left, three, checkInstall(one, three, "install", two)},
		{"go back where a run was killed", "undo", left, three, checkInstall(one, three, "undo", two)},
		{"stage", "stage", inPlace, two, checkStaged(two, one, two)},
		{"stage in place of another", "stage", waiting, three, checkStaged(three, one, two, three)},
		{"stage what is in place, while another waits", "stage", waiting, one, checkStaged(one, one, two)},
		{"promote", "promote", waiting, pair{}, checkPromoted(two, one, pair{})},
		{"promote for the first time", "promote", map[string]string{"www.pem.upd": two.cert, "www.key.upd": two.key}, pair{}, checkPromoted(two, pair{}, pair{})},
		{"promote with backups", "promote", backed, pair{}, checkPromoted(two, one, three)},
		{"promote a certificate alone", "promote", map[string]string{"www.pem": again.cert, "www.key": two.key, "www.pem.upd": two.cert}, pair{}, checkPromoted(two, pair{cert: again.cert}, pair{})},
		{"self-signed", "self-signed", nil, pair{}, checkSelfSigned("")},
		{"self-signed for a key", "self-signed", map[string]string{"www.key": one.key}, pair{}, checkSelfSigned("")},
		{"self-signed for a certificate", "self-signed", map[string]string{"www.pem": one.cert}, pair{}, checkSelfSigned(one.cert)},
	} {
		t.Run(table.name, func(t *testing.T) { table.sweep(t) })
	}
}

func (table *killTable) sweep(t *testing.T) {
	top := t.TempDir()
	fresh := func() string {
		dir, err := os.MkdirTemp(top, "run")
		if err != nil {
			t.Fatal(err)
		}
		for name, files := range map[string]map[string]string{"desk": table.desk, "next": {"www.pem": table.next.cert, "www.key": table.next.key}} {
			if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
				t.Fatal(err)
			}
			for file, text := range files {
				path := filepath.Join(dir, name, file)
				write(t, path, text, 0o600)
				earlier := time.Now().Add(-time.Minute) // than what is noted of it
				if err := os.Chtimes(path, earlier, earlier); err != nil {
					t.Fatal(err)
				}
			}
		}
		return dir
	}
	run := func(dir string, args ...string) error {
		command := exec.Command("strace", append(append([]string{"-f", "-qq"}, args...), os.Args[0])...)
		command.Env = append(os.Environ(), deployChild+"="+table.job+":"+dir, "GOMAXPROCS=1")
		command.Stderr = io.Discard
		return command.Run()
	}
	log := filepath.Join(top, "strace.log")
	if err := run(fresh(), "-o", log, "-e", "trace="+changing); err != nil {
		t.Fatalf("the run that is not disturbed: %v", err)
	}
	calls := callsAfter(read(t, log), "/begin\"")
	if len(calls) < 6 {
		t.Fatalf("only %d calls found: %v", len(calls), calls)
	}
	t.Logf("%d calls", len(calls))
	var wait sync.WaitGroup
	slots := make(chan bool, 4)
	for i, c := range calls {
		if testing.Short() && i%7 != 0 {
			continue
		}
		for _, how := range []string{"signal=KILL", "error=ENOSPC"} {
			if how == "error=ENOSPC" && (c.name == "fsync" || c.name == "unlinkat" || c.name == "flock") {
				how = "error=EIO"
			}
			slots <- true
			wait.Go(func() {
				defer func() { <-slots }()
				dir := fresh()
				defer os.RemoveAll(dir)
				err := run(dir, "-o", "/dev/null", "-e", "trace="+c.name, "-e", fmt.Sprintf("inject=%s:%s:when=%d", c.name, how, c.k))
				at := fmt.Sprintf("%s at call %d (%s)", how, i, c.line)
				if err == nil && how == "signal=KILL" {
					t.Errorf("%s: was not killed", at)
				}
				table.check(t, at, dir, err)
			})
		}
	}
	wait.Wait()
}

// callsAfter reads a log of strace, from the line with the mark on.
func callsAfter(log, mark string) (calls []call) {
	counts, thread, begun := map[string]int{}, "", false
	for line := range strings.Lines(log) {
		pid, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest = strings.TrimSpace(rest)
		name, _, isCall := strings.Cut(rest, "(")
		if thread == "" {
			thread = pid
		}
		if pid != thread || !isCall || strings.ContainsAny(rest[:1], "<+-") {
			continue
		}
		counts[name]++
		if begun && (name != "openat" || strings.Contains(rest, "O_CREAT")) {
			calls = append(calls, call{name, counts[name], rest})
		}
		begun = begun || strings.Contains(rest, mark)
	}
	return calls
}

// deskOf is what lies there, without the lock of a run that was killed.
func deskOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := (&desk{t: t, dir: filepath.Join(dir, "desk")}).files()
	delete(files, installLock)
	return files
}

// checkInstall: each file is whole; the next run puts the new ones in place, and
// knows if the server was not told of them.
func checkInstall(old, next pair, job string, left ...pair) func(*testing.T, string, string, error) {
	any := append(left, old, next)
	return func(t *testing.T, at, dir string, failed error) {
		files := deskOf(t, dir)
		for name, part := range map[string]func(pair) string{"www.pem": func(p pair) string { return p.cert }, "www.key": func(p pair) string { return p.key }} {
			if !slices.ContainsFunc(any, func(p pair) bool { return part(p) == files[name] }) {
				t.Errorf("%s: neither old nor new: %s is %q", at, name, files[name])
			}
		}
		if failed == nil {
			want := map[string]string{"www.pem": next.cert, "www.key": next.key}
			if job == "undo" {
				want = map[string]string{}
				if old.cert != "" {
					want = map[string]string{"www.pem": old.cert, "www.key": old.key}
				}
			}
			if fmt.Sprint(files) != fmt.Sprint(want) {
				t.Errorf("%s: success, and there are %v", at, list(t, filepath.Join(dir, "desk")))
			}
		}
		told := filepath.Join(dir, "told")
		_, err := os.Stat(told)
		wasTold := err == nil && job == "install"
		_ = os.Remove(told)
		if err := installJob(dir, (*Installation).Keep); err != nil {
			t.Errorf("%s: the next run: %v", at, err)
		}
		if _, err := os.Stat(told); err != nil && !wasTold {
			t.Errorf("%s: the server is never told", at)
		}
		same(t, at+": in the end", deskOf(t, dir), map[string]string{"www.pem": next.cert, "www.key": next.key})
		for name, mode := range map[string]os.FileMode{"www.key": 0o600} {
			if got := perm(t, filepath.Join(dir, "desk", name)); got != mode {
				t.Errorf("%s: mode of %s %o", at, name, got)
			}
		}
	}
}

// checkStaged: promote comes to a pair, one that was in place or waiting; then to
// stage and promote once more leads to what was wanted.
func checkStaged(next pair, any ...pair) func(*testing.T, string, string, error) {
	return func(t *testing.T, at, dir string, failed error) {
		if err := promoteJob(dir, false); err != nil {
			t.Errorf("%s: promote: %v", at, err)
		}
		files := deskOf(t, dir)
		if !isPair(files, any...) {
			t.Errorf("%s: promote leads to no pair", at)
		}
		if failed == nil && !isPair(files, next) {
			t.Errorf("%s: success, and it is not what was staged", at)
		}
		if err := deployJobs["stage"](dir); err != nil {
			t.Errorf("%s: the next run: %v", at, err)
		}
		if err := promoteJob(dir, false); err != nil || !isPair(deskOf(t, dir), next) {
			t.Errorf("%s: in the end: %v", at, err)
		}
		for name := range deskOf(t, dir) {
			if strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".upd") {
				t.Errorf("%s: %s is left", at, name)
			}
		}
	}
}

func isPair(files map[string]string, any ...pair) bool {
	for _, p := range any {
		if files["www.pem"] == p.cert && files["www.key"] == p.key {
			return true
		}
	}
	return false
}

// checkPromoted: one more run ends well, with everything in its place.
func checkPromoted(next, old, older pair) func(*testing.T, string, string, error) {
	want := map[string]string{"www.pem": next.cert, "www.key": next.key}
	for name, text := range map[string]string{"www.pem.old.0": old.cert, "www.key.old.0": old.key, "www.pem.old.1": older.cert, "www.key.old.1": older.key} {
		if text != "" {
			want[name] = text
		}
	}
	return func(t *testing.T, at, dir string, failed error) {
		if files := deskOf(t, dir); old.cert != "" && (files["www.pem"] == "" || files["www.key"] == "") {
			t.Errorf("%s: a file has vanished: %v", at, list(t, filepath.Join(dir, "desk")))
		}
		if failed == nil {
			same(t, at+": success", deskOf(t, dir), want)
		}
		if files := deskOf(t, dir); old.key != "" && strings.HasPrefix(at, "error=") && !fits([]byte(files["www.pem"]), []byte(files["www.key"])) {
			t.Errorf("%s: the key in place does not fit the certificate", at)
		}
		if err := promoteJob(dir, false); err != nil {
			t.Errorf("%s: once more: %v", at, err)
		}
		same(t, at+": in the end", deskOf(t, dir), want)
	}
}

// checkSelfSigned: one more run ends with a pair, a key that is there is used, and a
// certificate without one is kept.
func checkSelfSigned(old string) func(*testing.T, string, string, error) {
	return func(t *testing.T, at, dir string, _ error) {
		key := deskOf(t, dir)["www.key"]
		if err := promoteJob(dir, true); err != nil {
			t.Errorf("%s: once more: %v", at, err)
		}
		files := deskOf(t, dir)
		kept := files["www.pem.old.0"]
		delete(files, "www.pem.old.0")
		if len(files) != 2 || !fits([]byte(files["www.pem"]), []byte(files["www.key"])) || key != "" && files["www.key"] != key || kept != old {
			t.Errorf("%s: in the end there are %v", at, list(t, filepath.Join(dir, "desk")))
		}
	}
}
