package alpn

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestADirectoryThatIsMissingIsMade(t *testing.T) {
	root := os.Geteuid() == 0
	for _, test := range []struct {
		what        string
		umask       int
		below       string // in a directory that is there
		group       string
		setgid      bool
		mode, above fs.FileMode
	}{
		{"one", 0o077, "alpn", "", false, 0o750, 0},
		{"with a slash", 0o022, "alpn/", "", false, 0o750, 0},
		{"no umask", 0, "alpn", "", false, 0o750, 0},
		{"BASEDIR too", 0o077, "base/alpn", "", false, 0o750, 0o700},
		{"BASEDIR too, open", 0o022, "base/alpn", "", false, 0o750, 0o755},
		{"for a group", 0o077, "alpn", "65534", false, 0o750, 0},
		{"in a setgid directory", 0o077, "alpn", "", true, 0o750 | fs.ModeSetgid, 0},
		{"in a setgid directory, for a group", 0o077, "alpn", "4711", true, 0o750 | fs.ModeSetgid, 0},
	} {
		if !root && (test.group != "" || test.setgid) {
			continue
		}
		top := t.TempDir()
		wantGroup := os.Getegid()
		if test.setgid {
			wantGroup = 65534
			if err := errors.Join(os.Chown(top, 0, wantGroup), os.Chmod(top, 0o755|fs.ModeSetgid)); err != nil {
				t.Fatal(err)
			}
		}
		if test.group != "" {
			fmt.Sscan(test.group, &wantGroup)
		}
		path := top + "/" + test.below
		if err := CheckDir(path, test.group); err != nil || names(t, top) != "" {
			t.Errorf("%s: %v, there is %s", test.what, err, names(t, top))
		}
		old := unix.Umask(test.umask)
		d, made, err := OpenDir(path, test.group)
		unix.Umask(old)
		if err != nil || !made {
			t.Fatalf("%s: made %v, %v", test.what, made, err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode() != fs.ModeDir|test.mode || int(info.Sys().(*syscall.Stat_t).Gid) != wantGroup {
			t.Errorf("%s: %v, %+v", test.what, info.Mode(), info.Sys())
		}
		if test.above != 0 {
			info, err := os.Stat(filepath.Dir(path))
			if err != nil || info.Mode() != fs.ModeDir|test.above {
				t.Errorf("%s: above: %v", test.what, info.Mode())
			}
		}
		mustPut(t, d)
		shown(t, path)
		d.Close()
		if d, made, err := OpenDir(path, test.group); err != nil || made {
			t.Errorf("%s: again: made %v, %v", test.what, made, err)
		} else {
			d.Close()
		}
	}
}

func TestADefaultACLDoesNotOpenADirectoryThatIsMade(t *testing.T) {
	top := t.TempDir()
	if out, err := exec.Command("setfacl", "-d", "-m", "o::rwx", top).CombinedOutput(); err != nil {
		t.Skipf("%v: %s", err, out)
	}
	d, _, err := OpenDir(top+"/alpn", "")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if info, err := os.Stat(top + "/alpn"); err != nil || info.Mode() != fs.ModeDir|0o750 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestDirErrorsSayWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	file, fifo, closed, link := dir+"/file", dir+"/fifo", dir+"/closed", dir+"/link"
	if err := errors.Join(os.WriteFile(file, nil, 0o644), unix.Mkfifo(fifo, 0o644), os.Mkdir(closed, 0o755), os.Symlink("nowhere", link)); err != nil {
		t.Fatal(err)
	}
	check := func(path, group, text, hint string, is error) {
		t.Helper()
		_, made, err := OpenDir(path, group)
		for _, err := range []error{err, CheckDir(path, group)} {
			var e *DirError
			if !errors.As(err, &e) || err.Error() != fmt.Sprintf("ALPNCERTDIR %q %s", path, text) ||
				!strings.Contains(e.Hint(), hint) || is != nil && !errors.Is(err, is) || made {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
	check("", "", "does not exist", "--alpn", fs.ErrNotExist)
	check(link, "", "is a link that leads nowhere", "--alpn", fs.ErrNotExist)
	check(file, "", "is not a directory", "--alpn", unix.ENOTDIR)
	check(fifo, "", "is not a directory", "--alpn", unix.ENOTDIR)
	check(file+"/below", "", "is not a directory", "--alpn", unix.ENOTDIR)
	check(dir, "no-such-group", `cannot have files of group "no-such-group": there is no such group`, "--alpn-group", nil)
	check(dir, "-1", `cannot have files of group "-1": there is no such group`, "--alpn-group", nil)
	check(dir+"/new", "4294967295", `cannot have files of group "4294967295": there is no such group`, "--alpn-group", nil)
	as(t, 65534, func() {
		check(closed, "", "cannot be written to: permission denied", "", fs.ErrPermission)
		check(closed+"/new", "", "does not exist and cannot be made: permission denied", "--alpn", fs.ErrPermission)
		check(closed+"/new/newer", "", "does not exist and cannot be made: permission denied", "--alpn", fs.ErrPermission)
	})
	if _, err := Open(dir + "/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if got := names(t, dir) + names(t, closed); got != "closed fifo file link" {
		t.Errorf("there is %s", got)
	}
}

func TestADirectoryIsNotMadeForAGroupThatCannotBeSet(t *testing.T) {
	top := t.TempDir()
	as(t, 65534, func() {}) // or skip
	if err := os.Chown(top, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	as(t, 65534, func() {
		_, _, err := OpenDir(top+"/alpn", "4711")
		var e *DirError
		if !errors.As(err, &e) || !strings.Contains(e.Reason, `group "4711": operation not permitted`) || !strings.Contains(e.Hint(), "setgid") {
			t.Error(err)
		}
	})
	if got := names(t, top); got != "" {
		t.Errorf("left: %s", got)
	}
}

func TestTheAdminsOwnLinksAreFollowed(t *testing.T) {
	dir := t.TempDir()
	real := filepath.Join(dir, "real")
	if err := errors.Join(os.Mkdir(real, 0o755), os.Symlink("real", dir+"/link")); err != nil {
		t.Fatal(err)
	}
	mustPut(t, open(t, dir+"/link"))
	shown(t, real)
	d, made, err := OpenDir(dir+"/link/alpn", "")
	if err != nil || !made {
		t.Fatal(made, err)
	}
	defer d.Close()
	mustPut(t, d)
	shown(t, real+"/alpn")
}

func TestADirectorySwappedMeanwhileIsNotFollowed(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	path := filepath.Join(dir, "alpn")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	d := open(t, path)
	if err := errors.Join(os.Rename(path, path+".moved"), os.Symlink(other, path)); err != nil {
		t.Fatal(err)
	}
	mustPut(t, d)
	shown(t, path+".moved")
	if got := names(t, other); got != "" {
		t.Errorf("escaped: %s", got)
	}
	if err := d.Remove(name); err != nil || names(t, path+".moved") != "" {
		t.Errorf("%v, left: %s", err, names(t, path+".moved"))
	}
}

// The owner of the directory above swaps the new one for a link, or for another
// directory, before it gets its mode.
func TestADirectorySwappedWhileBeingMadeIsNotOpenedUp(t *testing.T) {
	top, victim := t.TempDir(), t.TempDir()
	if err := errors.Join(os.Chmod(victim, 0o711), os.WriteFile(victim+"/file", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	path := top + "/alpn"
	stop := make(chan struct{})
	var swaps sync.WaitGroup
	swaps.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if os.Rename(path, top+"/away") != nil {
				continue
			}
			os.Remove(top + "/away")
			if i%2 == 0 {
				os.Symlink(victim, path)
				os.Remove(path)
			} else if os.Rename(victim, path) == nil {
				os.Rename(path, victim)
			}
		}
	})
	for range 1000 {
		if d, _, err := OpenDir(path, ""); err == nil {
			d.Close()
		}
		os.Remove(path)
	}
	close(stop)
	swaps.Wait()
	if info, err := os.Stat(victim); err != nil || info.Mode() != fs.ModeDir|0o711 {
		t.Errorf("%v, %v", info.Mode(), err)
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
		for what, err := range map[string]error{"put": d.Put(name, keyAuth, now), "remove": d.Remove(name)} {
			if !errors.Is(err, fs.ErrPermission) || !strings.HasPrefix(err.Error(), fmt.Sprintf("ALPNCERTDIR %q: ", dir)) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
	if err := d.Remove(name); err != nil || names(t, dir) != "" {
		t.Errorf("afterwards: %v, left: %s", err, names(t, dir))
	}
}
