package atomicfile

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestMain(m *testing.M) {
	syscall.Umask(0o077)
	os.Exit(m.Run())
}

func open(t *testing.T) (*os.Root, string) {
	t.Helper()
	path := t.TempDir()
	dir, err := os.OpenRoot(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	return dir, path
}

func names(t *testing.T, path string) string {
	t.Helper()
	entries, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func TestWriteModes(t *testing.T) {
	for _, test := range []struct {
		umask int
		o     Options
		want  fs.FileMode
	}{
		{0o077, Options{}, 0o600},
		{0o022, Options{}, 0o644},
		{0o000, Options{}, 0o666},
		{0o000, Options{Perm: 0o600}, 0o600},
		{0o022, Options{Perm: 0o600}, 0o600},
		{0o077, Options{Mode: 0o644}, 0o644},
		{0o077, Options{Mode: 0o640}, 0o640},
		{0o077, Options{Like: &Attributes{UID: os.Geteuid(), GID: os.Getegid(), Mode: 0o440}}, 0o440},
		{0o077, Options{Like: &Attributes{UID: os.Geteuid(), GID: os.Getegid(), Mode: 0o440}, Mode: 0o604}, 0o604},
		{0o000, Options{Like: (Attributes{UID: os.Geteuid(), GID: os.Getegid(), Mode: 0o666}).WithoutOthers()}, 0o660},
	} {
		dir, path := open(t)
		old := syscall.Umask(test.umask)
		err := Write(dir, "x", []byte("text"), test.o)
		syscall.Umask(old)
		info, statErr := os.Lstat(filepath.Join(path, "x"))
		if err != nil || statErr != nil || info.Mode() != test.want {
			t.Errorf("umask %o, %+v: %v, %v, %v; want %v", test.umask, test.o, info.Mode(), err, statErr, test.want)
		}
		if names(t, path) != "x" {
			t.Errorf("left: %s", names(t, path))
		}
	}
}

func TestWriteReplacesWhatIsPlanted(t *testing.T) {
	dir, path := open(t)
	outside := filepath.Join(t.TempDir(), "canary")
	for kind, plant := range map[string]func(at string) error{
		"link":          func(at string) error { return os.Symlink(outside, at) },
		"hard link":     func(at string) error { return os.Link(outside, at) },
		"FIFO":          func(at string) error { return syscall.Mkfifo(at, 0o666) },
		"loop":          func(at string) error { return os.Symlink(filepath.Base(at), at) },
		"file":          func(at string) error { return os.WriteFile(at, []byte("longer than what comes"), 0o666) },
		"dangling link": func(at string) error { return os.Symlink(outside+"-not", at) },
	} {
		if err := os.WriteFile(outside, []byte("canary"), 0o604); err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(path, strings.ReplaceAll(kind, " ", "-"))
		if err := plant(at); err != nil {
			t.Fatal(err)
		}
		if err := Write(dir, filepath.Base(at), []byte("new"), Options{}); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		info, err := os.Lstat(at)
		if text, _ := os.ReadFile(at); err != nil || !info.Mode().IsRegular() || string(text) != "new" {
			t.Errorf("%s: %v %q %v", kind, info.Mode(), text, err)
		}
		if text, _ := os.ReadFile(outside); string(text) != "canary" || names(t, filepath.Dir(outside)) != "canary" {
			t.Errorf("%s: written to: %q", kind, text)
		}
	}
}

func TestWriteThatFailsLeavesWhatWas(t *testing.T) {
	dir, path := open(t)
	if err := Write(dir, "x", []byte("old"), Options{}); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(path, "d"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, "d", nil, Options{}); err == nil {
		t.Error("a directory was replaced")
	}
	if err := Symlink(dir, "x", "d"); err == nil {
		t.Error("a directory was replaced by a link")
	}
	for _, name := range []string{"", ".", "..", "a/b", "x/", "/x", "../y", "a\x00b"} {
		if err := Write(dir, name, nil, Options{}); err == nil {
			t.Errorf("%q was written", name)
		}
		if err := Symlink(dir, "x", name); err == nil {
			t.Errorf("%q was linked", name)
		}
		if _, err := Subdir(dir, name); err == nil {
			t.Errorf("%q was opened", name)
		}
	}
	if err := Create(dir, "x", nil, Options{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("created twice: %v", err)
	}
	if text, _ := os.ReadFile(filepath.Join(path, "x")); string(text) != "old" || names(t, path) != "d x" {
		t.Errorf("%q, %s", text, names(t, path))
	}
}

func TestWriteFileFollowsDirectoriesOnly(t *testing.T) {
	_, path := open(t)
	os.Mkdir(filepath.Join(path, "real"), 0o700)
	os.Symlink("real", filepath.Join(path, "link"))
	if err := WriteFile(filepath.Join(path, "link", "x"), []byte("text"), Options{}); err != nil {
		t.Fatal(err)
	}
	if names(t, filepath.Join(path, "real")) != "x" {
		t.Error("not there")
	}
	if err := WriteFile(filepath.Join(path, "none", "x"), nil, Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestNewFileTakesNobodysPlace(t *testing.T) {
	_, path := open(t)
	file := filepath.Join(path, "x")
	if err := NewFile(file, []byte("text"), Options{Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	os.Symlink("nowhere", filepath.Join(path, "link"))
	for _, name := range []string{"x", "link"} {
		if err := NewFile(filepath.Join(path, name), []byte("more"), Options{}); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	data, err := os.ReadFile(file)
	info, _ := os.Stat(file)
	if err != nil || string(data) != "text" || info.Mode() != 0o600 || names(t, path) != "link x" {
		t.Errorf("%q, %v, %v; %s", data, info.Mode(), err, names(t, path))
	}
}

func TestAFIFOForADirectoryIsNotWaitedFor(t *testing.T) {
	_, path := open(t)
	at := filepath.Join(path, "f")
	if err := syscall.Mkfifo(at, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(filepath.Join(at, "name"), nil, Options{}); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("writing below it: %v", err)
	}
	_, err := OpenDir(at)
	var p *fs.PathError
	if !errors.As(err, &p) || p.Path != at || p.Err != syscall.ENOTDIR {
		t.Errorf("opening it: %v", err)
	}
	if _, err := OpenDir(""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opening nothing: %v", err)
	}
}

func TestSymlink(t *testing.T) {
	dir, path := open(t)
	for _, target := range []string{"a", "b/c", "/etc/passwd"} {
		if err := Symlink(dir, target, "l"); err != nil {
			t.Fatal(err)
		}
		if got, err := os.Readlink(filepath.Join(path, "l")); got != target || names(t, path) != "l" {
			t.Errorf("%q, %v, %s", got, err, names(t, path))
		}
	}
}

func TestSubdirIsNoLink(t *testing.T) {
	dir, path := open(t)
	os.Mkdir(filepath.Join(path, "d"), 0o700)
	os.Symlink("d", filepath.Join(path, "l"))
	syscall.Mkfifo(filepath.Join(path, "f"), 0o600)
	sub, err := Subdir(dir, "d")
	if err != nil {
		t.Fatal(err)
	}
	sub.Close()
	for _, name := range []string{"l", "f"} {
		if _, err := Subdir(dir, name); !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Subdir(dir, "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestMakeDir(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b")
	for range 2 {
		if err := MakeDir(path); err != nil {
			t.Fatal(err)
		}
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o700 {
		t.Error(info.Mode())
	}
	os.WriteFile(path+"/f", nil, 0o600)
	if err := MakeDir(path + "/f"); !errors.Is(err, syscall.ENOTDIR) {
		t.Error(err)
	}
	if err := MakeDir(path + "/f/g"); err == nil {
		t.Error("made below a file")
	}
	os.Symlink("none", path+"/dangling")
	if err := MakeDir(path + "/dangling"); err == nil {
		t.Error("made through a link that leads nowhere")
	}
}

func TestSweepTakesOurLeftoversOnly(t *testing.T) {
	dir, path := open(t)
	for _, name := range []string{".arid-ABCDEFGHIJKLMNOPQRSTUVWXYZ", ".arid-notes", ".arid.lock", "x"} {
		os.WriteFile(filepath.Join(path, name), nil, 0o600)
	}
	os.Symlink("x", filepath.Join(path, ".arid-BBCDEFGHIJKLMNOPQRSTUVWXYZ"))
	if err := Sweep(dir); err != nil {
		t.Fatal(err)
	}
	if got := names(t, path); got != ".arid-notes .arid.lock x" {
		t.Error(got)
	}
}

func TestReadFile(t *testing.T) {
	dir, path := open(t)
	at := func(name string) string { return filepath.Join(path, name) }
	os.WriteFile(at("x"), []byte("12345"), 0o600)
	os.Symlink("x", at("l"))
	os.Symlink("/etc/hostname", at("out"))
	os.Mkdir(at("d"), 0o700)
	syscall.Mkfifo(at("f"), 0o600)
	for _, test := range []struct {
		name string
		max  int64
		want error // nil: read
	}{
		{"x", 5, nil}, {"x", 6, nil}, {"l", 5, nil}, {"x", 4, &TooLargeError{}}, {"d", 5, ErrNotRegular},
		{"f", 5, ErrNotRegular}, {"none", 5, fs.ErrNotExist},
	} {
		for _, read := range []func() ([]byte, error){
			func() ([]byte, error) { return ReadFile(at(test.name), test.max) },
			func() ([]byte, error) { return ReadIn(dir, test.name, test.max) },
		} {
			data, err := read()
			var large *TooLargeError
			switch {
			case test.want == nil && (err != nil || string(data) != "12345"):
				t.Errorf("%s: %q, %v", test.name, data, err)
			case test.want != nil && !errors.Is(err, test.want) && !errors.As(err, &large):
				t.Errorf("%s: %v, want %v", test.name, err, test.want)
			}
		}
	}
	if _, err := ReadIn(dir, "out", 100); err == nil {
		t.Error("a link out of the directory was followed")
	}
	if _, err := ReadFile("/dev/zero", 5); !errors.Is(err, ErrNotRegular) {
		t.Error(err)
	}
}

func TestReadInputTakesPipes(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	w.WriteString("piped")
	w.Close()
	data, err := ReadInput("/proc/self/fd/"+strconv.Itoa(int(r.Fd())), 10)
	if string(data) != "piped" {
		t.Errorf("%q, %v", data, err)
	}
	var large *TooLargeError
	if _, err := ReadInput("/dev/zero", 10); !errors.As(err, &large) {
		t.Errorf("without end: %v", err)
	}
	if _, err := ReadInput(t.TempDir(), 10); !errors.Is(err, ErrNotRegular) {
		t.Errorf("a directory: %v", err)
	}
	r.Close()
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := Lock(t.Context(), path, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Lock(t.Context(), path, 20*time.Millisecond)
	var locked *LockedError
	if !errors.As(err, &locked) || locked.PID != os.Getpid() || locked.Path != path {
		t.Errorf("locked twice: %v", err)
	}
	if got := err.Error(); !strings.Contains(got, "locked by process") {
		t.Error(got)
	}
	// Not passed on to children, also not those that live on.
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Wait()
	defer child.Process.Kill()
	unlock()
	if unlock, err = Lock(t.Context(), path, 0); err != nil {
		t.Fatal(err)
	}
	unlock()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() != 0 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestLockWaitsAsLongAsAsked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	synctest.Test(t, func(t *testing.T) {
		unlock, err := Lock(t.Context(), path, 0)
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		var locked *LockedError
		if _, err := Lock(t.Context(), path, time.Hour); !errors.As(err, &locked) || time.Since(begin) != time.Hour {
			t.Errorf("after %s: %v", time.Since(begin), err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("told to stop")
		time.AfterFunc(time.Minute, func() { cancel(stop) })
		begin = time.Now()
		if _, err := Lock(ctx, path, time.Hour); !errors.Is(err, stop) || time.Since(begin) != time.Minute {
			t.Errorf("after %s: %v", time.Since(begin), err)
		}
		time.AfterFunc(time.Minute, unlock)
		begin = time.Now()
		unlock, err = Lock(t.Context(), path, time.Hour)
		if err != nil || time.Since(begin) > time.Minute+time.Second {
			t.Fatalf("after %s: %v", time.Since(begin), err)
		}
		unlock()
	})
}

func TestLockRefusesWhatIsPlanted(t *testing.T) {
	_, path := open(t)
	at := filepath.Join(path, "lock")
	canary := filepath.Join(t.TempDir(), "canary")
	os.WriteFile(canary, []byte("canary"), 0o600)
	os.Symlink(canary, at)
	if _, err := Lock(t.Context(), at, 0); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("link: %v", err)
	}
	os.Remove(at)
	syscall.Mkfifo(at, 0o600)
	if _, err := Lock(t.Context(), at, 0); !errors.Is(err, ErrNotRegular) {
		t.Errorf("FIFO: %v", err)
	}
	// A hard link locks, and stays as it is: it may be of a backup, too.
	os.Remove(at)
	os.Link(canary, at)
	unlock, err := Lock(t.Context(), at, 0)
	if err != nil {
		t.Fatal(err)
	}
	var locked *LockedError
	if _, err := Lock(t.Context(), at, 0); !errors.As(err, &locked) {
		t.Errorf("locked twice: %v", err)
	}
	unlock()
	if text, _ := os.ReadFile(canary); string(text) != "canary" {
		t.Errorf("%q", text)
	}
}

func TestAttributesOfAnother(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	dir, path := open(t)
	at := filepath.Join(path, "before")
	os.WriteFile(at, nil, 0o600)
	os.Chown(at, 65534, 12)
	os.Chmod(at, 0o640)
	if _, err := exec.LookPath("setfacl"); err == nil {
		if out, err := exec.Command("setfacl", "-m", "u:65533:r,o::r", at).CombinedOutput(); err != nil {
			t.Logf("no ACL: %s", out)
		}
	} else if os.Getenv("ARID_TEST_ALL") != "" {
		t.Fatal(err)
	}
	before, err := ReadAttributes(at)
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, "after", []byte("x"), Options{Like: before}); err != nil {
		t.Fatal(err)
	}
	after, err := ReadAttributes(filepath.Join(path, "after"))
	if err != nil || after.UID != 65534 || after.GID != 12 || after.Mode != before.Mode || string(after.acl) != string(before.acl) {
		t.Errorf("%+v, want %+v; %v", after, before, err)
	}
	if before.acl == nil {
		return
	}
	if err := Write(dir, "closed", []byte("x"), Options{Like: before.WithoutOthers()}); err != nil {
		t.Fatal(err)
	}
	closed, _ := ReadAttributes(filepath.Join(path, "closed"))
	if closed.Mode != before.Mode&^0o007 || len(closed.acl) != len(before.acl) {
		t.Errorf("%+v", closed)
	}
}

func TestLockInADirectoryThatIsOpen(t *testing.T) {
	dir, path := open(t)
	unlock, err := LockIn(t.Context(), dir, "lock", 0)
	if err != nil {
		t.Fatal(err)
	}
	var locked *LockedError
	for name, again := range map[string]func() error{
		"in it":   func() error { _, err := LockIn(t.Context(), dir, "lock", 0); return err },
		"by path": func() error { _, err := Lock(t.Context(), filepath.Join(path, "lock"), 0); return err },
	} {
		if err := again(); !errors.As(err, &locked) || locked.PID != os.Getpid() {
			t.Errorf("locked twice, %s: %v", name, err)
		}
	}
	unlock()
	for _, plant := range []error{os.WriteFile(filepath.Join(path, "text"), []byte("text"), 0o600), os.Symlink("text", filepath.Join(path, "link"))} {
		if plant != nil {
			t.Fatal(plant)
		}
	}
	if _, err := LockIn(t.Context(), dir, "link", time.Second); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("a link: %v", err)
	}
	if text, _ := os.ReadFile(filepath.Join(path, "text")); string(text) != "text" {
		t.Errorf("written to: %q", text)
	}
}
