package certs

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func root(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
}

func wantMode(t *testing.T, path string, mode fs.FileMode, uid, gid int) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	if info.Mode().Perm() != mode || int(stat.Uid) != uid || int(stat.Gid) != gid {
		t.Errorf("%s has %o %d:%d, want %o %d:%d", path, info.Mode().Perm(), stat.Uid, stat.Gid, mode, uid, gid)
	}
}

func setfacl(t *testing.T, args ...string) {
	t.Helper()
	needs(t, "setfacl")
	if out, err := exec.Command("setfacl", args...).CombinedOutput(); err != nil {
		if strings.Contains(string(out), "not supported") {
			t.Skip("no ACLs on this file system")
		}
		t.Fatalf("%s: %v", out, err)
	}
}

func getfacl(t *testing.T, path string) string {
	t.Helper()
	out, err := exec.Command("getfacl", "-cpn", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(out)), " ")
}

func TestKeyModeAndGroupOpenTheWay(t *testing.T) {
	root(t)
	c, a := newCertificate(t), newAuthority(t)
	publish(t, c, start, a.material(t)) // closed, by an earlier run without the settings
	wantMode(t, c.file(keyName), 0o600, 0, 0)
	c.store.KeyGroup = "65534"
	publish(t, c, start, a.material(t))
	for _, name := range fileNames() {
		wantMode(t, c.file(name), 0o640, 0, 65534)
	}
	for _, dir := range []string{c.store.Dir, c.Path(), c.file(versionsName), c.file(liveName)} {
		wantMode(t, dir, 0o710, 0, 65534)
	}
	c.store.KeyMode = 0o600
	publish(t, c, start, a.material(t))
	wantMode(t, c.file(keyName), 0o600, 0, 65534)
	wantMode(t, c.file(certName), 0o640, 0, 65534) // it was so before

	// A group that has rights on the way already keeps them.
	c.store.KeyMode = 0
	os.Chown(c.Path(), 0, 12)
	os.Chmod(c.Path(), 0o750)
	publish(t, c, start, a.material(t))
	wantMode(t, c.Path(), 0o750, 0, 12)
	wantMode(t, c.file(keyName), 0o640, 0, 65534)
}

func TestKeyModeForAll(t *testing.T) {
	c := newCertificate(t)
	c.store.KeyMode = 0o444
	publish(t, c, start, newAuthority(t).material(t))
	wantMode(t, c.file(keyName), 0o444, os.Geteuid(), os.Getegid())
	wantMode(t, c.Path(), 0o701, os.Geteuid(), os.Getegid())
}

func TestAVersionKeepsWhatItFollows(t *testing.T) {
	root(t)
	for _, tree := range []string{"arid's", "dehydrated's"} {
		t.Run(tree, func(t *testing.T) {
			c, a := newCertificate(t), newAuthority(t)
			if tree == "arid's" {
				publish(t, c, start, a.material(t))
			} else {
				dehydratedTree(t, c, 1_690_000_000, a.material(t))
			}
			for path, mode := range map[string]fs.FileMode{c.Path(): 0o750 | fs.ModeSetgid, c.file(keyName): 0o640, c.file(certName): 0o644} {
				if err := os.Chown(path, 0, 12); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(path, mode); err != nil {
					t.Fatal(err)
				}
			}
			os.Chown(c.file(chainName), 65534, 65534)
			publish(t, c, start, a.material(t))
			wantMode(t, c.file(keyName), 0o640, 0, 12)
			wantMode(t, c.file(certName), 0o644, 0, 12)
			wantMode(t, c.file(chainName), 0o600, 65534, 65534)
			wantMode(t, c.file(liveName), 0o750, 0, 12)
			if info, _ := os.Stat(c.file(liveName)); info.Mode()&fs.ModeSetgid == 0 {
				t.Error("setgid is lost")
			}
			// Open to all is a slip that a key does not keep.
			os.Chmod(c.file(keyName), 0o644)
			publish(t, c, start, a.material(t))
			wantMode(t, c.file(keyName), 0o640, 0, 12)
		})
	}
}

func TestAPlantedPredecessorIsNotGivenTheKey(t *testing.T) {
	root(t)
	c, a := newCertificate(t), newAuthority(t)
	publish(t, c, start, a.material(t))
	os.Chmod(c.Path(), 0o770|fs.ModeSticky)
	os.Chown(c.Path(), 0, 12)
	// Somebody of the group has put a file of theirs there.
	remove(t, c, keyName)
	if err := os.WriteFile(c.file(keyName), []byte("mine"), 0o666); err != nil {
		t.Fatal(err)
	}
	os.Chmod(c.file(keyName), 0o666)
	os.Chown(c.file(keyName), 65534, 12)
	v, err := c.Write(start, a.material(t))
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(v.Paths.Key); info.Mode().Perm() != 0o600 || info.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("the key has %v, owner %d", info.Mode(), info.Sys().(*syscall.Stat_t).Uid)
	}
}

func TestAPlantedLinkOpensTheKeyToNobody(t *testing.T) {
	root(t)
	c, a := newCertificate(t), newAuthority(t)
	publish(t, c, start, a.material(t))
	os.Chmod(c.Path(), 0o770)
	os.Chown(c.Path(), 0, 12)
	// A file of root's that a group may read, as there are many in /var/log.
	log := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(log, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	os.Chmod(log, 0o640)
	os.Chown(log, 0, 65534)
	remove(t, c, keyName)
	if err := os.Symlink(log, c.file(keyName)); err != nil {
		t.Fatal(err)
	}
	v, err := c.Write(start, a.material(t))
	if err != nil {
		t.Fatal(err)
	}
	wantMode(t, v.Paths.Key, 0o600, 0, 0)
}

func TestDefaultACLDecides(t *testing.T) {
	c, a := newCertificate(t), newAuthority(t)
	if err := os.MkdirAll(c.Path(), 0o700); err != nil {
		t.Fatal(err)
	}
	setfacl(t, "-d", "-m", "u:65534:rX", c.Path())
	setfacl(t, "-m", "u:65534:x", c.Path())
	publish(t, c, start, a.material(t))
	for _, name := range fileNames() {
		if acl := getfacl(t, c.file(name)); !strings.Contains(acl, "user:65534:r-x #effective:r--") {
			t.Errorf("%s: %s", name, acl)
		}
		wantOthersOut(t, c.file(name))
	}
	if acl := getfacl(t, c.file(liveName)); !strings.Contains(acl, "default:user:65534:r-x") {
		t.Errorf("version: %s", acl)
	}
	// The next version too, and where the ACL stands on a file alone.
	setfacl(t, "-k", c.Path())
	setfacl(t, "-b", c.file(certName))
	setfacl(t, "-m", "u:65533:r", c.file(keyName))
	publish(t, c, start, a.material(t))
	if acl := getfacl(t, c.file(keyName)); !strings.Contains(acl, "user:65533:r--") || !strings.Contains(acl, "user:65534:r-x") {
		t.Errorf("key: %s", acl)
	}
	wantOthersOut(t, c.file(keyName))
	if acl := getfacl(t, c.file(liveName)); strings.Contains(acl, "default:user:65534") {
		t.Log("version: " + acl) // versions/ was made while the folder had the default
	}
}

func wantOthersOut(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o007 != 0 {
		t.Errorf("%s is open to others: %v, %v", path, info.Mode(), err)
	}
}

// TestAsAnotherUser is a whole run without the rights of root.
func TestAsAnotherUser(t *testing.T) {
	root(t)
	dir, err := os.MkdirTemp("/tmp", "arid-certs")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	c, _ := (&Store{Dir: dir + "/certs"}).Certificate("www.example.org")
	a := newAuthority(t)
	dehydratedTree(t, c, 1_690_000_000, a.material(t))
	m := a.material(t)
	writeMaterial(t, dir+"/material.json", m)
	// A folder of the user's, with a key that the user gave to a group that is
	// not the user's own.
	for _, path := range append([]string{dir, dir + "/certs", c.Path(), dir + "/material.json"}, flats(t, c)...) {
		if err := os.Lchown(path, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(c.file(keyName), 65534, 12); err != nil {
		t.Fatal(err)
	}
	os.Chmod(c.file(keyName), 0o640)
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/test", self, 0o755); err != nil {
		t.Fatal(err)
	}
	os.Chmod(dir+"/test", 0o755)
	child := exec.Command(dir + "/test")
	child.Env = append(os.Environ(), "ARID_CERTS_CHILD="+dir)
	child.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	same(t, "content", content(t, c), encoded(t, m))
	// The group could not be kept: then it, and the user's own, get nothing.
	wantMode(t, c.file(keyName), 0o600, 65534, 65534)
}

func flats(t *testing.T, c *Certificate) (paths []string) {
	for _, name := range list(t, c.Path()) {
		paths = append(paths, fmt.Sprintf("%s/%s", c.Path(), name))
	}
	return paths
}
