package certs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"arid/internal/atomicfile"
)

func lockPath(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "lock")
}

// locked takes the lock, which must be free.
func locked(t testing.TB, path string) (unlock func(), stale *StaleLock) {
	t.Helper()
	unlock, stale, err := LockFile(context.Background(), path, 0)
	if err != nil {
		t.Fatal(err)
	}
	return unlock, stale
}

func TestLockFileIsThereWhileItIsHeld(t *testing.T) {
	path := lockPath(t)
	unlock, stale := locked(t, path)
	same(t, "content", read(t, path), fmt.Sprintf("arid %d\n", os.Getpid()))
	same(t, "directory", list(t, filepath.Dir(path)), []string{"lock"})
	if info, err := os.Lstat(path); err != nil || info.Mode() != 0o600 || stale != nil {
		t.Errorf("%v, %v, %v", info, err, stale)
	}
	var busy *atomicfile.LockedError
	if _, _, err := LockFile(t.Context(), path, 0); !errors.As(err, &busy) || busy.PID != os.Getpid() || busy.Path != path {
		t.Errorf("a second one: %v", err)
	}
	unlock()
	same(t, "directory", list(t, filepath.Dir(path)), []string(nil))
	unlock, stale = locked(t, path)
	if stale != nil {
		t.Errorf("stale: %v", stale)
	}
	unlock()
}

func TestStaleLockFilesAreTakenOver(t *testing.T) {
	long := time.Unix(1_000_000_000, 0)
	for _, test := range []struct {
		name, text string
		made       time.Time // zero: now
		pid        int
		stale      bool
	}{
		{"an arid that was killed", "arid 4711\n", time.Time{}, 4711, true},
		{"an arid before the last start of the machine", "arid 4711\n", long, 4711, true},
		{"dehydrated before the last start of the machine", "Sat Sep  8 21:46:40 EDT 2001\n", long, 0, true},
		{"dehydrated that had not written yet, before that", "", long, 0, true},
		{"dehydrated", "Sat Nov 21 16:02:08 UTC 2026\n", time.Time{}, 0, false},
		{"dehydrated that has not written yet", "", time.Time{}, 0, false},
		{"half a mark", "arid \n", time.Time{}, 0, false},
		{"somebody's words", "arid 47 is great\n", time.Time{}, 0, false},
		{"a large file", "arid 1" + strings.Repeat("1", 1<<16), time.Time{}, 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := lockPath(t)
			put(t, path, test.text)
			if !test.made.IsZero() {
				if err := os.Chtimes(path, test.made, test.made); err != nil {
					t.Fatal(err)
				}
			}
			unlock, stale, err := LockFile(t.Context(), path, 0)
			if !test.stale {
				var foreign *ForeignLockError
				if !errors.As(err, &foreign) || foreign.Path != path || foreign.Age > time.Minute {
					t.Errorf("error: %v", err)
				}
				same(t, "content", read(t, path), test.text)
				same(t, "directory", list(t, filepath.Dir(path)), []string{"lock"})
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if stale == nil || stale.PID != test.pid || stale.Path != path || !test.made.IsZero() && stale.Age < 24*time.Hour {
				t.Errorf("stale: %+v", stale)
			}
			same(t, "content", read(t, path), fmt.Sprintf("arid %d\n", os.Getpid()))
			unlock()
			same(t, "directory", list(t, filepath.Dir(path)), []string(nil))
		})
	}
}

func TestLockFileErrors(t *testing.T) {
	for name, build := range map[string]func(t *testing.T, path string) (target string, want error){
		"a link": func(t *testing.T, path string) (string, error) {
			target := filepath.Join(t.TempDir(), "target")
			put(t, target, "arid 1\n")
			link(t, target, path)
			return target, atomicfile.ErrNotRegular
		},
		"a link that leads nowhere": func(t *testing.T, path string) (string, error) {
			link(t, filepath.Join(t.TempDir(), "none"), path)
			return "", atomicfile.ErrNotRegular
		},
		"a FIFO": func(t *testing.T, path string) (string, error) {
			if err := syscall.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
			return "", atomicfile.ErrNotRegular
		},
		"a directory": func(t *testing.T, path string) (string, error) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
			return "", atomicfile.ErrNotRegular
		},
		"no directory": func(t *testing.T, path string) (string, error) {
			if err := os.Remove(filepath.Dir(path)); err != nil {
				t.Fatal(err)
			}
			return "", fs.ErrNotExist
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := lockPath(t)
			target, want := build(t, path)
			_, _, err := LockFile(t.Context(), path, time.Hour)
			var p *fs.PathError
			if !errors.Is(err, want) || !errors.As(err, &p) {
				t.Errorf("error: %v", err)
			}
			if target != "" {
				same(t, "target", read(t, target), "arid 1\n")
			}
		})
	}
}

func TestALockThatCameInPlaceOfAStaleOneIsLeft(t *testing.T) {
	path := lockPath(t)
	put(t, path, "arid 4711\n")
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	unlock, _ := locked(t, path) // by another that found it stale too
	defer unlock()
	dir, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := (&lockFile{dir: dir, path: path, name: "lock"}).remove(f, info, 4711); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error: %v", err)
	}
	same(t, "content", read(t, path), fmt.Sprintf("arid %d\n", os.Getpid()))
}

func TestADirectoryThatGoesMeanwhileIsMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "lock")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	dir, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	remove := os.Remove(filepath.Dir(path))
	err = (&lockFile{dir: dir, path: path, name: "lock"}).try()
	var p *fs.PathError
	if remove != nil || !errors.As(err, &p) || p.Path != path || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, %v", remove, err)
	}
}

func TestALockWithAnotherNameIsNotWrittenTo(t *testing.T) {
	path := lockPath(t)
	victim := filepath.Join(filepath.Dir(path), "victim")
	put(t, victim, "arid 4711\n")
	if err := os.Link(victim, path); err != nil {
		t.Fatal(err)
	}
	unlock, stale := locked(t, path)
	if stale == nil {
		t.Error("not stale")
	}
	unlock()
	same(t, "victim", read(t, victim), "arid 4711\n")
}

func TestUnlockLeavesTheLockOfAnother(t *testing.T) {
	path := lockPath(t)
	unlock, _ := locked(t, path)
	if err := os.Remove(path); err != nil { // as a user told by a forum
		t.Fatal(err)
	}
	put(t, path, "Sat Nov 21 16:02:08 UTC 2026\n")
	unlock()
	same(t, "content", read(t, path), "Sat Nov 21 16:02:08 UTC 2026\n")
}

func TestLockFileSweepsWhatKilledRunsLeft(t *testing.T) {
	path := lockPath(t)
	dir := filepath.Dir(path)
	for _, name := range []string{".lock.arid-OLD", ".lock.arid-HELD", ".other.arid-OLD"} {
		put(t, filepath.Join(dir, name), "arid 1\n")
	}
	f, err := os.Open(filepath.Join(dir, ".lock.arid-HELD"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := atomicfile.Flock(f); err != nil {
		t.Fatal(err)
	}
	unlock, _ := locked(t, path)
	defer unlock()
	same(t, "directory", list(t, dir), []string{".lock.arid-HELD", ".other.arid-OLD", "lock"})
}

func TestLockFileWaits(t *testing.T) {
	for _, who := range []string{"arid", "dehydrated"} {
		t.Run(who, func(t *testing.T) {
			path := lockPath(t)
			synctest.Test(t, func(t *testing.T) {
				unlock := func() { os.Remove(path) }
				if who == "arid" {
					unlock, _ = locked(t, path)
				} else {
					put(t, path, "Sat Nov 21 16:02:08 UTC 2026\n")
				}
				if _, _, err := LockFile(t.Context(), path, 10*time.Second); !isHeld(err) {
					t.Errorf("too short: %v", err)
				}
				ctx, cancel := context.WithCancelCause(t.Context())
				why := errors.New("told to end")
				time.AfterFunc(time.Second, func() { cancel(why) })
				if _, _, err := LockFile(ctx, path, time.Hour); !errors.Is(err, why) {
					t.Errorf("told to end: %v", err)
				}
				time.AfterFunc(time.Minute, unlock)
				again, stale, err := LockFile(t.Context(), path, time.Hour)
				if err != nil || stale != nil {
					t.Fatalf("%v, %v", err, stale)
				}
				again()
			})
		})
	}
}

func TestManyLockFilesAtOnce(t *testing.T) {
	path := lockPath(t)
	for range 100 {
		put(t, path, "arid 4711\n") // stale to the first
		var wait sync.WaitGroup
		var inside, most, stales int
		var mu sync.Mutex
		count := func(n int) {
			mu.Lock()
			defer mu.Unlock()
			inside += n
			most = max(most, inside)
		}
		for range 10 {
			wait.Go(func() {
				unlock, stale, err := LockFile(t.Context(), path, 0)
				if stale != nil {
					mu.Lock()
					stales++
					mu.Unlock()
				}
				if err != nil {
					if !isHeld(err) {
						t.Error(err)
					}
					return
				}
				count(+1)
				runtime.Gosched()
				count(-1)
				unlock()
			})
		}
		wait.Wait()
		if most != 1 || stales != 1 {
			t.Fatalf("%d held it at once, %d found it stale", most, stales)
		}
		same(t, "directory", list(t, filepath.Dir(path)), []string(nil))
	}
}

func TestLockFileAsAnotherUser(t *testing.T) {
	root(t)
	dir, err := os.MkdirTemp("/tmp", "arid-certs")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir+"/test", string(self))
	for _, path := range []string{dir, dir + "/test"} {
		if err := errors.Join(os.Chown(path, 65534, 65534), os.Chmod(path, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	c, _ := killPlace(dir)
	if err := errors.Join(os.Mkdir(c.store.Dir, 0o755), os.Chmod(c.store.Dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(c.store.Dir, "lock")
	try := func() string {
		_ = os.Remove(dir + "/begin")
		child := exec.Command(dir + "/test")
		child.Env = append(os.Environ(), "ARID_CERTS_CHILD="+dir, "ARID_CERTS_TASK=LOCKFILE")
		child.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, _ := child.CombinedOutput()
		return string(out)
	}
	same(t, "a directory of root's", try(), fmt.Sprintf("lock %s: permission denied\n", path))
	// One that cannot be read may be anybody's.
	unlock, _ := locked(t, path)
	defer unlock()
	if out := try(); !strings.HasPrefix(out, fmt.Sprintf("%q: another program has held this lock for ", path)) {
		t.Errorf("root's: %s", out)
	}
}

// dehydratedAt prepares a run of the real one in the tree of c.
func dehydratedAt(t *testing.T, c *Certificate, ca string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	needs(t, "dehydrated")
	base := filepath.Dir(c.store.Dir)
	put(t, filepath.Join(base, "config"), fmt.Sprintf(
		"CA=%q\nCURL_OPTS=-k\nKEYSIZE=2048\nBASEDIR=%q\nCERTDIR=%q\nWELLKNOWN=%q\n", ca, base, c.store.Dir, base))
	out := &bytes.Buffer{}
	command := exec.Command("dehydrated", append(args, "--config", filepath.Join(base, "config"))...)
	command.Env = append(os.Environ(), "HOME="+base, "no_proxy=*")
	command.Stdout, command.Stderr = out, out
	return command, out
}

func TestRealDehydratedDoesNotRunWhileAridHoldsLOCKFILE(t *testing.T) {
	c := newCertificate(t)
	if err := os.MkdirAll(c.store.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(filepath.Dir(c.store.Dir), "lock")
	unlock, _ := locked(t, path)
	defer unlock()
	command, out := dehydratedAt(t, c, "https://127.0.0.1:1/", "--cron")
	var exit *exec.ExitError
	if err := command.Run(); !errors.As(err, &exit) || exit.ExitCode() != 1 ||
		!strings.Contains(out.String(), "Lock file '"+path+"' present, aborting.") {
		t.Errorf("%v: %s", err, out)
	}
	same(t, "content", read(t, path), fmt.Sprintf("arid %d\n", os.Getpid()))
}

func TestAridDoesNotRunWhileRealDehydratedHoldsLOCKFILE(t *testing.T) {
	c := newCertificate(t)
	if err := os.MkdirAll(c.store.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	// A CA that takes the connection and does not answer: dehydrated has the lock by then.
	ca, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ca.Close()
	command, out := dehydratedAt(t, c, "http://"+ca.Addr().String()+"/", "--cron")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	_ = ca.(*net.TCPListener).SetDeadline(time.Now().Add(time.Minute))
	connection, err := ca.Accept()
	if err != nil {
		_ = command.Process.Kill()
		_ = command.Wait()
		t.Fatalf("dehydrated asks nothing: %v\n%s", err, out)
	}
	path := filepath.Join(filepath.Dir(c.store.Dir), "lock")
	before := read(t, path)
	_, _, err = LockFile(t.Context(), path, 0)
	var foreign *ForeignLockError
	if !errors.As(err, &foreign) || foreign.Path != path || foreign.Age > time.Minute {
		t.Errorf("error: %v", err)
	}
	same(t, "content", read(t, path), before)

	// It ends, and removes its lock: who waits has it then.
	ca.Close()
	connection.Close()
	unlock, stale, err := LockFile(t.Context(), path, time.Minute)
	if err != nil || stale != nil {
		t.Fatalf("%v, %v", err, stale)
	}
	unlock()
	_ = command.Wait()
}
