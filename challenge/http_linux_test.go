package challenge

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func open(t *testing.T, path string) *HTTPDir {
	t.Helper()
	d, err := OpenHTTPDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// names are what a directory holds.
func names(t *testing.T, dir string) string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, entry := range list {
		all = append(all, entry.Name())
	}
	return strings.Join(all, " ")
}

func mustPut(t *testing.T, d *HTTPDir) {
	t.Helper()
	if err := d.Put(token, keyAuth); err != nil {
		t.Fatal(err)
	}
}

func TestModeOfAFile(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	d.Mode = 0o640
	mustPut(t, d)
	if info, err := os.Lstat(filepath.Join(dir, token)); err != nil || info.Mode() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}
}

// TestMain makes what other users have to get to: in a place that is open, whatever
// TMPDIR says, and with the usual umask.
func TestMain(m *testing.M) {
	os.Unsetenv("TMPDIR")
	unix.Umask(0o022)
	os.Exit(m.Run())
}

// shown fails the test unless the file answers for token as the CA wants it.
func shown(t *testing.T, dir string) {
	t.Helper()
	file := filepath.Join(dir, token)
	got, err := os.ReadFile(file)
	if err != nil || string(got) != keyAuth {
		t.Errorf("got %q, %v", got, err)
	}
	info, err := os.Lstat(file)
	if err != nil || info.Mode() != 0o644 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestPutAndRemove(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o077, 0o777} {
		dir := t.TempDir()
		old := unix.Umask(umask)
		d := open(t, dir)
		err := d.Put(token, keyAuth)
		unix.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		shown(t, dir)
		mustPut(t, d) // again, in place of its own
		shown(t, dir)
		if got := names(t, dir); got != token {
			t.Errorf("there is %s", got)
		}
		for range 2 {
			if err := d.Remove(token); err != nil {
				t.Error(err)
			}
		}
		if got := names(t, dir); got != "" {
			t.Errorf("left: %s", got)
		}
	}
}

func TestDefaultACLDoesNotHideATokenFile(t *testing.T) {
	for what, acl := range map[string]string{
		"others nothing":               "u::rwx,g::---,o::---,u:12345:rwx",
		"the web server's group, none": "u::rwx,g::---,o::r-x,u:12345:rwx",
		"the web server itself, none":  "u::rwx,g::r-x,o::r-x,u:65534:---",
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			if out, err := exec.Command("setfacl", "-d", "-m", acl, dir).CombinedOutput(); err != nil {
				t.Skipf("%v: %s", err, out)
			}
			mustPut(t, open(t, dir))
			file := filepath.Join(dir, token)
			if os.Geteuid() == 0 {
				if err := os.Chown(file, 0, 65534); err != nil {
					t.Fatal(err)
				}
			}
			shown(t, dir)
			as(t, 65534, func() {
				if got, err := os.ReadFile(file); err != nil || string(got) != keyAuth {
					t.Errorf("a web server reads %q, %v", got, err)
				}
			})
		})
	}
}

// as runs f with other effective user and group ids, in this thread alone.
func as(t *testing.T, id int, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	set := func(call uintptr, id int) {
		if _, _, errno := unix.RawSyscall(call, ^uintptr(0), uintptr(id), ^uintptr(0)); errno != 0 {
			panic(errno)
		}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for dir := t.TempDir(); dir != filepath.Clean(os.TempDir()) && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	set(unix.SYS_SETRESGID, id)
	defer set(unix.SYS_SETRESGID, 0)
	set(unix.SYS_SETRESUID, id)
	defer set(unix.SYS_SETRESUID, 0)
	f()
}

func TestOpenHTTPDirSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0o755); err != nil {
		t.Fatal(err)
	}
	check := func(path, text, hint string, is error) {
		t.Helper()
		_, err := OpenHTTPDir(path)
		var e *DirError
		if !errors.As(err, &e) || !strings.HasPrefix(err.Error(), fmt.Sprintf("WELLKNOWN %q %s", path, text)) ||
			!strings.Contains(e.Hint(), hint) || !errors.Is(err, is) {
			t.Errorf("%s: %v", path, err)
		}
	}
	check(dir+"/none", "does not exist", "--wellknown", fs.ErrNotExist)
	check("", "does not exist", "--wellknown", fs.ErrNotExist)
	check(file, "is not a directory", "--wellknown", unix.ENOTDIR)
	check(fifo, "is not a directory", "--wellknown", unix.ENOTDIR)
	check(file+"/below", "is not a directory", "--wellknown", unix.ENOTDIR)
	as(t, 65534, func() {
		check(closed, "cannot be written to: permission denied", "", fs.ErrPermission)
	})
	if got := names(t, closed); got != "" {
		t.Errorf("left: %s", got)
	}
}

func TestTheAdminsOwnLinksAreFollowed(t *testing.T) {
	dir := t.TempDir()
	real := filepath.Join(dir, "real")
	if err := os.Mkdir(real, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	mustPut(t, open(t, filepath.Join(dir, "link")))
	shown(t, real)
}

func TestADirectorySwappedMeanwhileIsNotFollowed(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	wellknown := filepath.Join(dir, "wellknown")
	if err := os.Mkdir(wellknown, 0o755); err != nil {
		t.Fatal(err)
	}
	d := open(t, wellknown)
	if err := os.Rename(wellknown, wellknown+".moved"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, wellknown); err != nil {
		t.Fatal(err)
	}
	mustPut(t, d)
	shown(t, wellknown+".moved")
	if got := names(t, other); got != "" {
		t.Errorf("escaped: %s", got)
	}
	if err := d.Remove(token); err != nil || names(t, wellknown+".moved") != "" {
		t.Errorf("%v, left: %s", err, names(t, wellknown+".moved"))
	}
}

func TestWhatIsPlantedAtATokensNameIsReplaced(t *testing.T) {
	for _, c := range []struct {
		what  string
		plant func(canary, at string) error
	}{
		{"link", os.Symlink},
		{"dangling link", func(_, at string) error { return os.Symlink("/nowhere/at/all", at) }},
		{"hard link", os.Link},
		{"FIFO", func(_, at string) error { return unix.Mkfifo(at, 0o666) }},
		{"device", func(_, at string) error { return unix.Mknod(at, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))) }},
		{"file of another mode", func(_, at string) error { return os.WriteFile(at, []byte("old"), 0o400) }},
	} {
		dir := t.TempDir()
		canary := filepath.Join(t.TempDir(), "canary")
		if err := os.WriteFile(canary, []byte("untouched"), 0o600); err != nil {
			t.Fatal(err)
		}
		before, err := os.Lstat(canary)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.plant(canary, filepath.Join(dir, token)); err != nil {
			t.Logf("%s: %v", c.what, err) // a device needs root
			continue
		}
		mustPut(t, open(t, dir))
		shown(t, dir)
		got, err := os.ReadFile(canary)
		after, err2 := os.Lstat(canary)
		if err != nil || err2 != nil || string(got) != "untouched" ||
			after.Mode() != before.Mode() || !after.ModTime().Equal(before.ModTime()) {
			t.Errorf("%s: canary: %q, %v, %v", c.what, got, after, err)
		}
	}
}

func TestADirectoryAtATokensNameIsAnError(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, token), 0o755); err != nil {
		t.Fatal(err)
	}
	d := open(t, dir)
	if err := d.Put(token, keyAuth); err == nil {
		t.Error("no error")
	}
	if got := names(t, dir); got != token {
		t.Errorf("there is %s", got)
	}
	if err := d.Remove(token); err != nil || names(t, dir) != token {
		t.Errorf("%v, there is %s", err, names(t, dir))
	}
}

func TestRemoveLetsOthersFilesAlone(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	file := filepath.Join(dir, token)
	if err := os.WriteFile(file, []byte("not ours"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Remove(token); err != nil || names(t, dir) != token {
		t.Errorf("never put: %v, there is %s", err, names(t, dir))
	}
	mustPut(t, d)
	if err := os.WriteFile(file+".new", []byte("not ours"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	if err := d.Remove(token); err != nil || names(t, dir) != token {
		t.Errorf("replaced since: %v, there is %s", err, names(t, dir))
	}
}

func TestWhatAKilledRunLeftIsUsedUp(t *testing.T) {
	dir := t.TempDir()
	hash := sha256.Sum256([]byte(token))
	half := filepath.Join(dir, ".arid-"+hex.EncodeToString(hash[:13]))
	if err := os.WriteFile(half, []byte("ha"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustPut(t, open(t, dir))
	shown(t, dir)
	if got := names(t, dir); got != token {
		t.Errorf("left: %s", got)
	}
}

func TestRemoveStale(t *testing.T) {
	dir := t.TempDir()
	mustPut(t, open(t, dir))
	d := open(t, dir) // the next run
	for _, bad := range [][2]string{{token, keyAuth + "x"}, {"another-token-of-ours", keyAuth}, {"../" + token, keyAuth}} {
		if err := d.RemoveStale(bad[0], bad[1]); err != nil || d.Empty() {
			t.Errorf("%q: %v, left: %s", bad, err, names(t, dir))
		}
	}
	if err := d.RemoveStale(token, keyAuth); err != nil || !d.Empty() {
		t.Errorf("%v, left: %s", err, names(t, dir))
	}
	if err := os.WriteFile(filepath.Join(dir, "target"), []byte(keyAuth), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("target", filepath.Join(dir, token)); err != nil {
		t.Fatal(err)
	}
	if err := d.RemoveStale(token, keyAuth); err != nil || names(t, dir) == "target" {
		t.Errorf("a link: %v, left: %s", err, names(t, dir))
	}
}

func TestHostileTokensReachNoFile(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "a", "wellknown")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	d := open(t, dir)
	for _, bad := range []string{
		"", ".", "..", "../../../etc/passwd", "../evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ", "/tmp/evaGxfADs6pSRb2LAv9IZf17",
		"evaGxfADs6pSRb2LAv9IZf17/x", "evaGxfADs6pSRb2LAv9IZf17/", "evaGxfADs6pSRb2LAv9IZf17\n", "evaGxfADs6pSRb2LAv9IZf17\x00",
		"evaGxfADs6pSRb2LAv9IZf17=", "evaGxfADs6pSRb2LAv9IZf1+", "$(id)aaaaaaaaaaaaaaaaa", ";touch_xaaaaaaaaaaaaaaaa",
		"..............................", "evaGxfADs6pSRb2", strings.Repeat("a", 257), strings.Repeat("a", 100_000),
		"éaaaaaaaaaaaaaaaaaaaaaaa", "\xffaaaaaaaaaaaaaaaaaaaaaaa", "evaGxfADs6pSRb2L Av9IZf17",
	} {
		err := d.Put(bad, bad+".NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")
		if err == nil || len(err.Error()) > 400 {
			t.Errorf("%.80q: %v", bad, err)
		}
		if err := d.Remove(bad); err != nil {
			t.Errorf("%.80q: %v", bad, err)
		}
	}
	if err := d.Put(token, "other."+keyAuth); err == nil {
		t.Error("a key authorization of another token")
	}
	if names(t, dir)+names(t, filepath.Dir(dir))+names(t, parent) != "wellknowna" {
		t.Error("a file was made")
	}
	for _, good := range []string{"-aaaaaaaaaaaaaaa", "--help__________", strings.Repeat("_", 255)} {
		if err := d.Put(good, good+".x"); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	var wait sync.WaitGroup
	for i := range 50 {
		wait.Go(func() {
			name := fmt.Sprintf("token-number-%05d", i)
			if err := d.Put(name, name+".x"); err != nil {
				t.Error(err)
			}
			if err := d.Remove(name); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if got := names(t, dir); got != "" {
		t.Errorf("left: %s", got)
	}
}

func TestErrorsKeepPermission(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "closed")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	d := open(t, dir)
	mustPut(t, d)
	as(t, 65534, func() {
		for what, err := range map[string]error{"put": d.Put(token, keyAuth), "remove": d.Remove(token)} {
			if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), dir) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}
