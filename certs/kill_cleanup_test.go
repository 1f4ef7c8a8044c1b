package certs

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// killTask is work that is killed before each call that changes a file.
type killTask struct {
	build func(t *testing.T, c *Certificate, a *authority)
	run   func(c *Certificate, archive string) error
	check func(t *testing.T, at string, before *Certificate, c *Certificate, archive string)
	calls int // at least
}

// A child of these tests does one task, and no run.
func init() {
	task, found := killTasks[os.Getenv("ARID_CERTS_TASK")]
	dir := os.Getenv("ARID_CERTS_CHILD")
	if !found || dir == "" {
		return
	}
	syscall.Umask(0o077)
	c, archive := killPlace(dir)
	err := os.Mkdir(filepath.Join(dir, "begin"), 0o700)
	if err == nil {
		err = task.run(c, archive)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func killPlace(dir string) (c *Certificate, archive string) {
	c, _ = (&Store{Dir: filepath.Join(dir, "certs")}).Certificate("www.example.org")
	archive = filepath.Join(dir, "archive")
	if elsewhere := os.Getenv("ARID_CERTS_ELSEWHERE"); elsewhere != "" {
		archive = filepath.Join(elsewhere, filepath.Base(dir))
	}
	return c, archive
}

var killTasks = map[string]killTask{
	"clean-up, archived":           {buildToClean, runCleanup, checkCleaned, 15},
	"clean-up, archived elsewhere": {buildToClean, runCleanup, checkCleaned, 40},
	"clean-up, deleted": {buildToClean, func(c *Certificate, _ string) error {
		return runCleanup(c, "")
	}, checkShown, 15},
	"forgotten, archived":           {buildToClean, runForget, checkForgotten, 4},
	"forgotten, archived elsewhere": {buildToClean, runForget, checkForgotten, 20},
	"LOCKFILE":                      {buildToClean, runLockFile, checkLockFile, 5},
	"LOCKFILE, stale": {func(t *testing.T, c *Certificate, a *authority) {
		buildToClean(t, c, a)
		put(t, filepath.Join(c.store.Dir, "lock"), "arid 4711\n")
	}, runLockFile, checkLockFile, 6},
	"revoked": {buildToClean, func(c *Certificate, _ string) error {
		_, err := MarkRevoked(c.file(certName))
		return err
	}, checkRevoked, 4},
}

func buildToClean(t *testing.T, c *Certificate, a *authority) {
	dehydratedTree(t, c, 1_690_000_000, a.material(t))
	publish(t, c, start, a.material(t))
	publish(t, c, start, a.material(t))
	remove(t, c, "cert-1795000000.pem") // one that only the version has
}

func runCleanup(c *Certificate, archive string) error {
	return c.store.Cleanup(context.Background(), CleanupOptions{Archive: archive})
}

func runForget(c *Certificate, archive string) error {
	return c.Forget(context.Background(), archive)
}

func runLockFile(c *Certificate, _ string) error {
	unlock, _, err := LockFile(context.Background(), filepath.Join(c.store.Dir, "lock"), 0)
	if err == nil {
		unlock()
	}
	return err
}

func checkShown(t *testing.T, at string, before, c *Certificate, _ string) {
	same(t, at+": shown", content(t, c), content(t, before))
	if err := runCleanup(c, ""); err != nil {
		t.Errorf("%s: the next run: %v", at, err)
	}
	same(t, at+": shown after the next run", content(t, c), content(t, before))
	same(t, at+": versions", list(t, c.file(versionsName)), []string{"1795000001"})
	same(t, at+": files", len(list(t, c.Path())), 5+5+3)
}

// texts are the different contents of the files below some directories.
func texts(t *testing.T, dirs ...string) []string {
	all := map[string]bool{}
	for _, dir := range dirs {
		for name, text := range contents(t, dir) {
			// What was killed while it was written, or has been copied, is no content.
			if !strings.HasPrefix(text, "-> ") && !isTemp(filepath.Base(name)) {
				all[text] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func checkCleaned(t *testing.T, at string, before, c *Certificate, archive string) {
	same(t, at+": shown", content(t, c), content(t, before))
	same(t, at+": contents", texts(t, c.Path(), archive), texts(t, before.Path()))
	if err := runCleanup(c, archive); err != nil {
		t.Errorf("%s: the next run: %v", at, err)
	}
	same(t, at+": shown after the next run", content(t, c), content(t, before))
	same(t, at+": contents after the next run", texts(t, c.Path(), archive), texts(t, before.Path()))
	var want []string
	for _, id := range []string{"1690000000", "1795000000"} {
		for _, name := range fileNames() {
			want = append(want, c.Alias+"/"+flat(name, id))
		}
	}
	slices.Sort(want)
	same(t, at+": archive", tree(t, archive), want)
	same(t, at+": versions", list(t, c.file(versionsName)), []string{"1795000001"})
}

func checkForgotten(t *testing.T, at string, before, c *Certificate, archive string) {
	whole := contents(t, before.Path())
	check := func(what string) (kept int) {
		for _, dir := range []string{c.store.Dir, archive} {
			entries, err := os.ReadDir(dir)
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			for _, e := range entries {
				if isTemp(e.Name()) {
					continue
				}
				same(t, at+": "+what, contents(t, filepath.Join(dir, e.Name())), whole)
				kept++
			}
		}
		return kept
	}
	if check("whole") == 0 {
		t.Errorf("%s: it is lost", at)
	}
	if _, err := os.Lstat(c.Path()); err != nil {
		return // done
	}
	if err := runForget(c, archive); err != nil {
		t.Errorf("%s: the next run: %v", at, err)
	}
	if _, err := os.Lstat(c.Path()); !os.IsNotExist(err) || check("whole after the next run") == 0 {
		t.Errorf("%s: after the next run: %v", at, err)
	}
}

func checkLockFile(t *testing.T, at string, _, c *Certificate, archive string) {
	if err := runLockFile(c, archive); err != nil {
		t.Errorf("%s: the next run: %v", at, err)
	}
	same(t, at+": directory", list(t, c.store.Dir), []string{c.Alias})
}

func checkRevoked(t *testing.T, at string, before, c *Certificate, _ string) {
	want := content(t, before)
	got := content(t, c)
	if got[certName] == want[certName] {
		same(t, at+": shown", got, want)
		if _, err := MarkRevoked(c.file(certName)); err != nil {
			t.Errorf("%s: the next run: %v", at, err)
		}
	}
	delete(want, certName)
	same(t, at+": shown afterwards", content(t, c), want)
	same(t, at+": revoked", read(t, c.file("cert-1795000001.pem-revoked")), content(t, before)[certName])
}

func TestCleanupKilledAtAnyCall(t *testing.T) {
	needs(t, "strace")
	if err := exec.Command("strace", "-o", "/dev/null", "true").Run(); err != nil {
		t.Skipf("strace may not trace here: %v", err)
	}
	a := newAuthority(t)
	for _, name := range slices.Sorted(maps.Keys(killTasks)) {
		task := killTasks[name]
		t.Run(name, func(t *testing.T) {
			t.Setenv("ARID_CERTS_TASK", name)
			if strings.HasSuffix(name, "elsewhere") {
				t.Setenv("ARID_CERTS_ELSEWHERE", otherFileSystem(t))
			}
			k := &killer{template: t.TempDir()}
			before, _ := killPlace(k.template)
			task.build(t, before, a)
			calls := countCalls(t, k.copy(t))
			if len(calls) < task.calls {
				t.Fatalf("only %d calls found: %v", len(calls), calls)
			}
			t.Logf("%d calls", len(calls))
			var wait sync.WaitGroup
			slots := make(chan bool, 4)
			for i, call := range calls {
				for _, how := range []string{"signal=KILL", "error=EIO"} {
					if testing.Short() && i%7 != 0 || how == "error=EIO" && strings.HasSuffix(name, "elsewhere") {
						continue
					}
					slots <- true
					wait.Go(func() {
						defer func() { <-slots }()
						dir := k.copy(t)
						defer os.RemoveAll(dir)
						at := fmt.Sprintf("%s at call %d (%s %d: %s)", how, i, call.name, call.k, call.line)
						err := straced(t, dir, "-o", "/dev/null", "-e", "trace="+call.name,
							"-e", fmt.Sprintf("inject=%s:%s:when=%d", call.name, how, call.k))
						if err == nil && how == "signal=KILL" {
							t.Errorf("%s: was not killed", at)
						}
						c, archive := killPlace(dir)
						task.check(t, at, before, c, archive)
					})
				}
			}
			wait.Wait()
		})
	}
}

func TestWithoutHardLinks(t *testing.T) {
	needs(t, "strace")
	if err := exec.Command("strace", "-o", "/dev/null", "true").Run(); err != nil {
		t.Skipf("strace may not trace here: %v", err)
	}
	a := newAuthority(t)
	for _, name := range []string{"clean-up, archived", "clean-up, archived elsewhere", "LOCKFILE", "LOCKFILE, stale"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("ARID_CERTS_TASK", name)
			inject := "inject=linkat:error=EPERM"
			if strings.HasSuffix(name, "elsewhere") {
				t.Setenv("ARID_CERTS_ELSEWHERE", otherFileSystem(t))
				inject += ":when=2+2" // the first of each pair finds the other file system
			}
			k := &killer{template: t.TempDir()}
			before, _ := killPlace(k.template)
			killTasks[name].build(t, before, a)
			dir := k.copy(t)
			if err := straced(t, dir, "-o", "/dev/null", "-e", "trace=linkat", "-e", inject); err != nil {
				t.Fatal(err)
			}
			c, archive := killPlace(dir)
			killTasks[name].check(t, name, before, c, archive)
		})
	}
}
