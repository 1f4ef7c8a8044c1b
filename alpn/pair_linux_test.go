package alpn

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"arid/internal/atomicfile"

	"golang.org/x/sys/unix"
)

const (
	name    = "example.org"
	keyAuth = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ.NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
	both    = "example.org.crt.pem example.org.key.pem"
)

func openGroup(t *testing.T, path, group string) *Dir {
	t.Helper()
	d, made, err := OpenDir(path, group)
	if err != nil || made {
		t.Fatal(made, err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func open(t *testing.T, path string) *Dir { t.Helper(); return openGroup(t, path, "") }

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

func mustPut(t *testing.T, d *Dir) {
	t.Helper()
	if err := d.Put(name, keyAuth, now); err != nil {
		t.Fatal(err)
	}
}

// shown fails the test unless the pair is there, alone, with these modes.
func shown(t *testing.T, dir string) {
	t.Helper()
	if got := names(t, dir); got != both {
		t.Errorf("there is %s", got)
	}
	for _, file := range strings.Fields(both) {
		info, err := os.Lstat(filepath.Join(dir, file))
		if err != nil || info.Mode() != 0o640 {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
	}
	answers(t, dir, name, keyAuth)
}

// answers fails the test unless the pair for a name can be read back.
func answers(t *testing.T, dir, name, keyAuth string) {
	t.Helper()
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	found, err := d.Pair(ServerName(name))
	if err != nil {
		t.Error(err)
		return
	}
	digest := sha256.Sum256([]byte(keyAuth))
	if got := extension(found.Leaf, acmeIdentifier).Value; string(got[2:]) != string(digest[:]) || len(found.Certificate) != 1 {
		t.Errorf("%s: another digest: %x", name, got)
	}
}

func TestPutAndRemove(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o077, 0o777} {
		dir := t.TempDir()
		d := open(t, dir)
		old := unix.Umask(umask)
		err := d.Put(name, keyAuth, now)
		unix.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		shown(t, dir)
		mustPut(t, d) // again, in place of its own
		shown(t, dir)
		for range 2 {
			if err := d.Remove(name); err != nil {
				t.Error(err)
			}
		}
		if got := names(t, dir); got != "" {
			t.Errorf("left: %s", got)
		}
	}
}

// The names are those of lighttpd, and of dehydrated.
func TestFileNames(t *testing.T) {
	for _, test := range []struct{ name, stem string }{
		{"Example.ORG", "example.org"},
		{"xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"127.0.0.1", "1.0.0.127.in-addr.arpa"},
		{"::1", "1." + strings.Repeat("0.", 31) + "ip6.arpa"},
		{"2001:db8::", strings.Repeat("0.", 24) + "8.b.d.0.1.0.0.2.ip6.arpa"},
		{"2001:db8::1", "1." + strings.Repeat("0.", 23) + "8.b.d.0.1.0.0.2.ip6.arpa"},
		{longest[6:], longest[6:]}, // as long as a file name can be
	} {
		dir := t.TempDir()
		d := open(t, dir)
		if err := d.Put(test.name, keyAuth, now); err != nil {
			t.Fatal(err)
		}
		if got, want := names(t, dir), test.stem+".crt.pem "+test.stem+".key.pem"; got != want {
			t.Errorf("%s: there is %s, want %s", test.name, got, want)
		}
		answers(t, dir, test.name, keyAuth)
		if err := d.Remove(test.name); err != nil || names(t, dir) != "" {
			t.Errorf("%s: %v, left: %s", test.name, err, names(t, dir))
		}
	}
}

func TestANameLongerThanAFileNameIsAnError(t *testing.T) {
	dir := t.TempDir()
	if err := open(t, dir).Put(longest, keyAuth, now); !errors.Is(err, unix.ENAMETOOLONG) || names(t, dir) != "" {
		t.Errorf("%v, left: %s", err, names(t, dir))
	}
}

func TestDefaultACL(t *testing.T) {
	acl := func(dir, spec string) {
		t.Helper()
		if out, err := exec.Command("setfacl", "-d", "-m", spec, dir).CombinedOutput(); err != nil {
			t.Skipf("%v: %s", err, out)
		}
	}
	mayRead := func(id int, file string) (read bool) {
		as(t, id, func() {
			_, err := os.ReadFile(file)
			read = err == nil
		})
		return read
	}
	for _, test := range []struct {
		what, acl, group string
		id               int
		letsIn           bool
	}{
		{"the admin lets the server in", "u:65534:rx", "", 65534, true},
		{"others in", "o::rwx", "", 65534, false},
		{"more than reading", "u:65534:rwx,g::rwx,o::rwx", "", 65534, true},
		{"the group named is let in, no matter what", "g::---,u:12345:rwx,o::---", "65534", 65534, true},
		{"a user is kept out, his group is named", "u:65534:---", "65534", 65534, true},
	} {
		dir := t.TempDir()
		acl(dir, test.acl)
		mustPut(t, openGroup(t, dir, test.group))
		shown(t, dir)
		for _, file := range strings.Fields(both) {
			file = filepath.Join(dir, file)
			if got := mayRead(test.id, file); got != test.letsIn {
				t.Errorf("%s: %d reads: %v", test.what, test.id, got)
			}
			if mayRead(4711, file) {
				t.Errorf("%s: a stranger reads", test.what)
			}
		}
	}
}

// TestMain makes what other users have to get to: in a place that is open, whatever
// TMPDIR says, and with the usual umask.
func TestMain(m *testing.M) {
	os.Unsetenv("TMPDIR")
	unix.Umask(0o022)
	os.Exit(m.Run())
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

func TestGroups(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, test := range []struct {
		what  string
		mode  fs.FileMode
		gid   int
		group string
		want  int
		modes string
	}{
		{"a setgid directory", 0o750 | fs.ModeSetgid, 65534, "", 65534, "0640 root:nogroup in a directory 2750 root:nogroup"},
		{"not setgid", 0o750, 65534, "", 0, "0640 root:root in a directory 0750 root:nogroup"},
		{"a group by number", 0o750, 0, "4711", 4711, "0640 root:4711 in a directory 0750 root:root"},
		{"a group by name", 0o750 | fs.ModeSetgid, 12, "nogroup", 65534, "0640 root:nogroup in a directory 2750 root:man"},
	} {
		dir := t.TempDir()
		if err := errors.Join(os.Chown(dir, 0, test.gid), os.Chmod(dir, test.mode)); err != nil {
			t.Fatal(err)
		}
		d := openGroup(t, dir, test.group)
		mustPut(t, d)
		shown(t, dir)
		for _, file := range strings.Fields(both) {
			info, err := os.Lstat(filepath.Join(dir, file))
			if err != nil || int(info.Sys().(*syscall.Stat_t).Gid) != test.want {
				t.Errorf("%s: %s: %+v, %v", test.what, file, info.Sys(), err)
			}
		}
		if got := d.Modes(name); got != test.modes {
			t.Errorf("%s: %s", test.what, got)
		}
	}
}

func TestAGroupThatCannotBeSetIsAnError(t *testing.T) {
	dir := t.TempDir()
	as(t, 65534, func() {}) // or skip
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	d := openGroup(t, dir, "4711")
	as(t, 65534, func() {
		err := d.Put(name, keyAuth, now)
		var e *DirError
		want := fmt.Sprintf(`ALPNCERTDIR %q cannot have files of group "4711": operation not permitted`, dir)
		if !errors.As(err, &e) || err.Error() != want || !errors.Is(err, fs.ErrPermission) || !strings.Contains(e.Hint(), "setgid") {
			t.Error(err)
		}
	})
	if got := names(t, dir); got != "" {
		t.Errorf("left: %s", got)
	}
}

func TestModesWithoutAPair(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o2750|fs.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	d := open(t, dir)
	for _, name := range []string{name, "../x"} {
		if got := d.Modes(name); !strings.HasPrefix(got, "no file in a directory 2750 ") {
			t.Error(got)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "example.org.crt.pem")); err != nil {
		t.Fatal(err)
	}
	if got := d.Modes(name); !strings.HasPrefix(got, "a link or special file in a directory ") {
		t.Error(got)
	}
}

// plants are what the directory's owner may put under a name. A device needs root.
var plants = map[string]func(canary, at string) error{
	"link":          os.Symlink,
	"dangling link": func(_, at string) error { return os.Symlink("/nowhere/at/all", at) },
	"loop":          func(_, at string) error { return os.Symlink(filepath.Base(at), at) },
	"hard link":     os.Link,
	"FIFO":          func(_, at string) error { return unix.Mkfifo(at, 0o666) },
	"device":        func(_, at string) error { return unix.Mknod(at, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))) },
	"file":          func(_, at string) error { return os.WriteFile(at, []byte("old"), 0o400) },
}

// eachPlant has each thing planted under each name that Put uses.
func eachPlant(t *testing.T, test func(dir, at string)) {
	f, err := filesOf(name, keyAuth)
	if err != nil {
		t.Fatal(err)
	}
	for what, plant := range plants {
		for _, file := range []string{f.cert, f.key, f.tempCert, f.tempKey} {
			t.Run(what+" at "+file, func(t *testing.T) {
				dir := t.TempDir()
				canary := filepath.Join(t.TempDir(), "canary")
				if err := os.WriteFile(canary, []byte("untouched"), 0o604); err != nil {
					t.Fatal(err)
				}
				at := filepath.Join(dir, file)
				if err := plant(canary, at); err != nil {
					t.Skip(err)
				}
				before, err := os.Lstat(canary)
				if err != nil {
					t.Fatal(err)
				}
				test(dir, at)
				got, err := os.ReadFile(canary)
				after, err2 := os.Lstat(canary)
				if err != nil || err2 != nil || string(got) != "untouched" || after.Mode() != before.Mode() ||
					!after.ModTime().Equal(before.ModTime()) || *owner(after) != *owner(before) {
					t.Errorf("canary: %q, %v, %v", got, after, err)
				}
			})
		}
	}
}

func owner(info fs.FileInfo) *[2]uint32 {
	stat := info.Sys().(*syscall.Stat_t)
	return &[2]uint32{stat.Uid, stat.Gid}
}

func TestWhatIsPlantedIsReplaced(t *testing.T) {
	eachPlant(t, func(dir, at string) {
		d := open(t, dir)
		mustPut(t, d)
		shown(t, dir)
		if err := d.Remove(name); err != nil || names(t, dir) != "" {
			t.Errorf("%v, left: %s", err, names(t, dir))
		}
	})
}

func TestWhatIsPlantedIsNotRead(t *testing.T) {
	eachPlant(t, func(dir, at string) {
		if strings.HasPrefix(filepath.Base(at), ".") {
			return
		}
		d := open(t, dir)
		planted, err := os.Lstat(at)
		if err != nil {
			t.Fatal(err)
		}
		aside := at + ".aside"
		if err := os.Rename(at, aside); err != nil {
			t.Fatal(err)
		}
		mustPut(t, d)
		if err := os.Rename(aside, at); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Pair(name); err == nil {
			t.Error("read")
		}
		if err := d.RemoveStale(name, keyAuth); err != nil {
			t.Error(err)
		}
		if err := d.Remove(name); err != nil {
			t.Error(err)
		}
		if there, err := os.Lstat(at); err != nil || !os.SameFile(there, planted) || names(t, dir) != filepath.Base(at) {
			t.Errorf("left: %s", names(t, dir))
		}
	})
}

func TestALinkToTheRightFileIsNotRead(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	mustPut(t, d)
	for _, file := range strings.Fields(both) {
		at := filepath.Join(dir, file)
		if err := errors.Join(os.Rename(at, at+".real"), os.Symlink(file+".real", at)); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Pair(name); !errors.Is(err, atomicfile.ErrNotRegular) {
			t.Error(err)
		}
		if err := os.Rename(at+".real", at); err != nil {
			t.Fatal(err)
		}
	}
	shown(t, dir)
}

func TestADirectoryUnderANameIsAnError(t *testing.T) {
	f, err := filesOf(name, keyAuth)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{f.cert, f.key, f.tempCert, f.tempKey} {
		for _, inside := range []string{"", "/inside"} {
			dir := t.TempDir()
			if err := os.MkdirAll(filepath.Join(dir, file)+inside, 0o755); err != nil {
				t.Fatal(err)
			}
			d := open(t, dir)
			if err := d.Put(name, keyAuth, now); err == nil {
				t.Errorf("%s: no error", file)
			}
			if _, err := d.Pair(name); err == nil {
				t.Errorf("%s: read", file)
			}
			if err := d.Remove(name); err != nil || names(t, dir) != file {
				t.Errorf("%v, there is %s", err, names(t, dir))
			}
			if err := d.RemoveStale(name, keyAuth); (err != nil) != strings.HasPrefix(file, ".") || names(t, dir) != file {
				t.Errorf("%v, there is %s", err, names(t, dir))
			}
		}
	}
}

func TestHostileNamesReachNoFile(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "a", "alpn")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	mustPut(t, open(t, dir))
	for _, file := range []string{dir + "/.crt.pem", dir + "/.a.crt.pem", dir + "/..crt.pem", filepath.Dir(dir) + "/x.crt.pem"} {
		if err := os.Link(dir+"/example.org.crt.pem", file); err != nil {
			t.Fatal(err)
		}
	}
	before := names(t, dir) + names(t, filepath.Dir(dir)) + names(t, parent)
	d := open(t, dir)
	for _, bad := range append([]string{"../alpn/example.org", "./example.org", "example.org.crt.pem/../example.org"}, hostile...) {
		if err := d.Put(bad, keyAuth, now); err == nil || len(err.Error()) > 500 {
			t.Errorf("%.80q: %v", bad, err)
		}
		if _, err := d.Pair(bad); err == nil || len(err.Error()) > 500 {
			t.Errorf("%.80q: %v", bad, err)
		}
		if err := errors.Join(d.Remove(bad), d.RemoveStale(bad, keyAuth)); err != nil {
			t.Errorf("%.80q: %v", bad, err)
		}
	}
	if got := names(t, dir) + names(t, filepath.Dir(dir)) + names(t, parent); got != before {
		t.Errorf("there is %s", got)
	}
}

func TestPairSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	check := func(what, text string) {
		t.Helper()
		if _, err := d.Pair(name); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", what, err)
		}
	}
	write := func(file string, data []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	digest := sha256.Sum256([]byte(keyAuth))
	cert, key, err := Make(name, digest, now)
	if err != nil {
		t.Fatal(err)
	}
	_, otherKey, err := Make(name, digest, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Pair(name); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	write("example.org.crt.pem", cert)
	if _, err := d.Pair(name); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	write("example.org.key.pem", otherKey)
	check("another key", `"example.org.key.pem": key does not fit the certificate`)
	write("example.org.key.pem", []byte("no key"))
	check("no key", "example.org.key.pem")
	write("example.org.key.pem", key)
	answers(t, dir, name, keyAuth)
	answers(t, dir, "Example.ORG.", keyAuth)
	write("example.org.key.pem", append(make([]byte, maxFile), key...))
	check("a large key", "has more than 16384 bytes")
	write("example.org.key.pem", key)
	write("example.org.crt.pem", append(make([]byte, maxFile), cert...))
	check("a large certificate", "has more than 16384 bytes")
	write("example.org.crt.pem", certificate(t, &x509.Certificate{DNSNames: []string{name}}))
	check("the web server's certificate", `"example.org.crt.pem": no critical acmeIdentifier`)
}

func TestRemoveLetsOthersFilesAlone(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	other := open(t, dir)
	mustPut(t, other)
	if err := d.Remove(name); err != nil || names(t, dir) != both {
		t.Errorf("never put: %v, there is %s", err, names(t, dir))
	}
	mustPut(t, d)
	if err := other.Remove(name); err != nil || names(t, dir) != both {
		t.Errorf("replaced since: %v, there is %s", err, names(t, dir))
	}
	if err := os.Remove(filepath.Join(dir, "example.org.crt.pem")); err != nil {
		t.Fatal(err)
	}
	if err := d.Remove(name); err != nil || names(t, dir) != "" {
		t.Errorf("half gone: %v, left: %s", err, names(t, dir))
	}
}

// A run may be killed before and after each change of a file. What it leaves is
// taken away by the next one, be it that the CA wants to see the pair again or not.
func TestWhatAKilledRunLeft(t *testing.T) {
	f, err := filesOf(name, keyAuth)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := Make(name, sha256.Sum256([]byte(keyAuth)), now)
	if err != nil {
		t.Fatal(err)
	}
	half := key[:len(key)/2]
	for what, left := range map[string]map[string][]byte{
		"half a key":                {f.tempKey: half},
		"a key":                     {f.tempKey: key},
		"half a certificate":        {f.tempKey: key, f.tempCert: cert[:len(cert)/2]},
		"both under way":            {f.tempKey: key, f.tempCert: cert},
		"the key in place":          {f.key: key, f.tempCert: cert},
		"all in place":              {f.key: key, f.cert: cert},
		"the certificate is gone":   {f.key: key, f.tempCert: cert},
		"the key is gone":           {f.tempCert: cert},
		"somebody's key is of half": {f.key: half, f.tempCert: cert},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			fill := func() {
				for file, data := range left {
					if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
			fill()
			d := open(t, dir)
			want := ""
			if string(left[f.key]) == string(half) {
				want = f.key // whose, nobody can tell
			}
			if err := d.RemoveStale(name, keyAuth); err != nil || names(t, dir) != want {
				t.Errorf("%v, left: %s", err, names(t, dir))
			}
			fill()
			mustPut(t, d)
			shown(t, dir)
			if err := d.Remove(name); err != nil || names(t, dir) != "" {
				t.Errorf("%v, left: %s", err, names(t, dir))
			}
		})
	}
}

func TestRemoveStaleLetsOthersAlone(t *testing.T) {
	dir := t.TempDir()
	mustPut(t, open(t, dir))
	d := open(t, dir) // the next run
	for _, other := range [][2]string{{name, keyAuth + "x"}, {"example.com", keyAuth}, {"../" + name, keyAuth}} {
		if err := d.RemoveStale(other[0], other[1]); err != nil || names(t, dir) != both {
			t.Errorf("%q: %v, left: %s", other, err, names(t, dir))
		}
	}
	// The certificate is a killed run's; somebody has put another key beside it.
	_, key, err := Make(name, sha256.Sum256(nil), now)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "example.org.key.pem"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.RemoveStale(name, keyAuth); err != nil || names(t, dir) != "example.org.key.pem" {
		t.Errorf("%v, left: %s", err, names(t, dir))
	}
}

// A server that looks at any instant finds a pair that fits, or no certificate; a
// killed run's successor can tell whose key is left.
func TestTheOrderOfChanges(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	const (
		write   = "key moved to, crt moved to"
		replace = "crt delete, " + write
		remove  = "crt moved from, key delete"
	)
	if got := changes(t, dir, func() { mustPut(t, d) }); got != write {
		t.Errorf("put: %s", got)
	}
	if got := changes(t, dir, func() { mustPut(t, d) }); got != replace {
		t.Errorf("put again: %s", got)
	}
	taking := func() {
		if err := d.Remove(name); err != nil {
			t.Error(err)
		}
	}
	if got := changes(t, dir, taking); got != remove {
		t.Errorf("removed: %s", got)
	}
	mustPut(t, d)
	stale := func() {
		if err := open(t, dir).RemoveStale(name, keyAuth); err != nil {
			t.Error(err)
		}
	}
	if got := changes(t, dir, stale); got != remove {
		t.Errorf("removed by the next run: %s", got)
	}
}

// changes are what f does to the names of a pair, temporary ones left out.
func changes(t *testing.T, dir string, f func()) string {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Skip(err)
	}
	defer unix.Close(fd)
	events := map[uint32]string{
		unix.IN_CREATE: "create", unix.IN_DELETE: "delete", unix.IN_MODIFY: "modify", unix.IN_ATTRIB: "attributes",
		unix.IN_MOVED_FROM: "moved from", unix.IN_MOVED_TO: "moved to",
	}
	var mask uint32
	for event := range events {
		mask |= event
	}
	if _, err := unix.InotifyAddWatch(fd, dir, mask); err != nil {
		t.Fatal(err)
	}
	f()
	buf := make([]byte, 64<<10)
	n, err := unix.Read(fd, buf)
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	for at := 0; at < n; { // inotify(7): wd, mask, cookie, length of the name, name
		length := int(binary.NativeEndian.Uint32(buf[at+12:]))
		name := string(bytes.TrimRight(buf[at+16:at+16+length], "\x00"))
		if part, isPair := strings.CutPrefix(name, "example.org."); isPair {
			seen = append(seen, strings.TrimSuffix(part, ".pem")+" "+events[binary.NativeEndian.Uint32(buf[at+4:])])
		}
		at += 16 + length
	}
	return strings.Join(seen, ", ")
}

func TestManyAtOnce(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	var wait sync.WaitGroup
	for i := range 50 {
		wait.Go(func() {
			name := fmt.Sprintf("host%d.example.org", i)
			if err := d.Put(name, keyAuth, now); err != nil {
				t.Error(err)
			}
			if _, err := d.Pair(name); err != nil {
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
