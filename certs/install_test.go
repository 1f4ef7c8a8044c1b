package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"arid/internal/atomicfile"
)

// liveSet is what Live would return of material.
func liveSet(m Material) *Live {
	return &Live{Leaf: m.Chain[0], Chain: m.Chain, Key: m.Key}
}

// blocks are the types of PEM blocks, and for certificates which one it is.
func blocks(t *testing.T, data []byte, chain []*x509.Certificate) string {
	t.Helper()
	var words []string
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			if len(data) > 0 {
				t.Errorf("after the last block: %q", data)
			}
			return strings.Join(words, " ")
		}
		word := "key"
		for i, c := range chain {
			if bytes.Equal(c.Raw, block.Bytes) {
				word = fmt.Sprint("cert", i)
			}
		}
		words = append(words, word)
	}
}

func TestAFileHasItsPartsInTheOrderGiven(t *testing.T) {
	m := newAuthority(t).material(t)
	for _, tc := range []struct{ parts, want string }{
		{"key,cert,chain", "key cert0 cert1"},
		{"fullchain,key", "cert0 cert1 key"},
		{"key,fullchain", "key cert0 cert1"},
		{"chain,cert", "cert1 cert0"},
		{"cert", "cert0"},
		{"key", "key"},
	} {
		parts, err := ParseParts(tc.parts)
		if err != nil {
			t.Fatal(err)
		}
		data, err := liveSet(m).Encode(parts)
		if got := blocks(t, data, m.Chain); err != nil || got != tc.want {
			t.Errorf("%s: %s, %v; want %s", tc.parts, got, err, tc.want)
		}
		if bytes.Contains(data, []byte("\r")) || bytes.Contains(data, []byte("\n\n")) || !bytes.HasSuffix(data, []byte("-----\n")) {
			t.Errorf("%s: %q", tc.parts, data)
		}
	}
	for _, bad := range []string{"", "key,", "keys", "key,key", "cert,fullchain", "fullchain,chain", "Key"} {
		if parts, err := ParseParts(bad); err == nil {
			t.Errorf("%q is taken for %v", bad, parts)
		}
	}
}

func TestAPartThatIsNotThereIsAnError(t *testing.T) {
	a := newAuthority(t)
	m, other := a.material(t), a.material(t)
	alone := liveSet(m)
	alone.Chain = alone.Chain[:1]
	if _, err := alone.Encode([]Part{PartChain}); err == nil {
		t.Error("a file with nothing in it")
	}
	if data, err := alone.Encode([]Part{PartKey, PartFullchain}); err != nil || blocks(t, data, m.Chain) != "key cert0" {
		t.Errorf("a leaf alone: %s, %v", data, err)
	}
	keyless := liveSet(m)
	keyless.Key = nil
	if _, err := keyless.Encode([]Part{PartKey, PartCert}); err == nil || !strings.Contains(err.Error(), "elsewhere") {
		t.Errorf("without a key: %v", err)
	}
	mixed := liveSet(m)
	mixed.Key = other.Key
	var unreadable *UnreadableError
	if _, err := mixed.Encode([]Part{PartFullchain, PartKey}); !errors.As(err, &unreadable) {
		t.Errorf("a mixed pair: %v", err)
	}
}

const (
	someKey  = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQ==\n-----END EC PRIVATE KEY-----\n"
	otherKey = "-----BEGIN EC PRIVATE KEY-----\nMHcCAg==\n-----END EC PRIVATE KEY-----\n"
	someCert = "-----BEGIN CERTIFICATE-----\nMHcCAw==\n-----END CERTIFICATE-----\n"
)

func to(path, data string) Destination {
	return Destination{Path: path, Data: []byte(data), UID: -1, GID: -1}
}

func install(t *testing.T, all ...Destination) *Installation {
	t.Helper()
	in, err := Install(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.Close)
	return in
}

// keep installs to the end.
func keep(t *testing.T, all ...Destination) (changed []bool) {
	t.Helper()
	in := install(t, all...)
	for i := range all {
		changed = append(changed, in.Changed(i))
	}
	if err := in.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	return changed
}

func write(t *testing.T, path, text string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func perm(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

func TestModesOfInstalledFiles(t *testing.T) {
	for _, tc := range []struct {
		name   string
		before fs.FileMode // 0: no file
		data   string
		asked  fs.FileMode
		want   fs.FileMode
	}{
		{"a key", 0, someKey, 0, 0o600},
		{"a certificate", 0, someCert, 0, 0o644},
		{"both in one", 0, someCert + someKey, 0, 0o600},
		{"as asked for", 0, someKey, 0o640, 0o640},
		{"as asked for, whatever was there", 0o644, someKey, 0o400, 0o400},
		{"as the file before it", 0o640, someKey, 0, 0o640},
		{"a certificate as the file before it", 0o600, someCert, 0, 0o600},
		{"a key that was open to everybody", 0o644, someKey, 0, 0o640},
	} {
		path := filepath.Join(t.TempDir(), "file.pem")
		if tc.before != 0 {
			write(t, path, otherKey, tc.before)
		}
		d := to(path, tc.data)
		d.Mode = tc.asked
		keep(t, d)
		if got := perm(t, path); got != tc.want || read(t, path) != tc.data {
			t.Errorf("%s: mode %o, want %o", tc.name, got, tc.want)
		}
	}
}

func TestWhatIsAsItShouldBeIsLetAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file.pem")
	same(t, "first", keep(t, to(path, someKey)), []bool{true})
	before, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "again", keep(t, to(path, someKey)), []bool{false})
	if after, _ := os.Lstat(path); !os.SameFile(before, after) || after.ModTime() != before.ModTime() {
		t.Error("the file was written again")
	}
	same(t, "what lies there", list(t, dir), []string{"file.pem"})

	other := to(path, someKey)
	other.Mode = 0o640
	same(t, "another mode", keep(t, other), []bool{true})
	write(t, path, someKey, 0o644)
	same(t, "a key that everybody can read", keep(t, to(path, someKey)), []bool{true})
	if got := perm(t, path); got != 0o640 {
		t.Errorf("mode %o", got)
	}
	same(t, "one of two", keep(t, to(path, someKey), to(filepath.Join(dir, "other.pem"), someCert)), []bool{false, true})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("other.pem", path); err != nil {
		t.Fatal(err)
	}
	same(t, "a link to the very content", keep(t, to(path, someCert)), []bool{true})
	if got := perm(t, path); !got.IsRegular() {
		t.Errorf("mode %v", got)
	}
}

func TestUndoBringsBackWhatWasThere(t *testing.T) {
	for _, tc := range []struct {
		name    string
		prepare func(path string) error
	}{
		{"nothing", func(string) error { return nil }},
		{"a file", func(path string) error { return os.WriteFile(path, []byte(otherKey), 0o600) }},
		{"a link", func(path string) error { return os.Symlink("elsewhere.pem", path) }},
		{"a link that leads nowhere", func(path string) error { return os.Symlink("nowhere", path) }},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "file.pem")
		write(t, filepath.Join(dir, "elsewhere.pem"), otherKey, 0o600)
		if err := tc.prepare(path); err != nil {
			t.Fatal(err)
		}
		before := listing(t, dir)
		in := install(t, to(path, someKey))
		if read(t, path) != someKey || read(t, filepath.Join(dir, "elsewhere.pem")) != otherKey {
			t.Errorf("%s: not in place", tc.name)
		}
		if err := in.Undo(t.Context()); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		same(t, tc.name, listing(t, dir), before)
	}
}

// listing tells names, modes, targets and inodes.
func listing(t *testing.T, dir string) (all []string) {
	t.Helper()
	for _, name := range list(t, dir) {
		path := filepath.Join(dir, name)
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		target, _ := os.Readlink(path)
		all = append(all, fmt.Sprint(name, info.Mode(), target, info.Sys().(*syscall.Stat_t).Ino))
	}
	return all
}

func TestARunThatWasKilledIsFinishedByTheNext(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file.pem")
	write(t, path, otherKey, 0o600)
	install(t, to(path, someKey)) // and no more of it
	in := install(t, to(path, someKey))
	if !in.Changed(0) {
		t.Error("nobody would tell the server")
	}
	if err := in.Undo(t.Context()); err != nil || read(t, path) != otherKey {
		t.Errorf("%v, %s", err, read(t, path))
	}
	install(t, to(path, someKey))
	same(t, "the next run", keep(t, to(path, someKey)), []bool{true})
	same(t, "the one after it", keep(t, to(path, someKey)), []bool{false})
	same(t, "what lies there", list(t, dir), []string{"file.pem"})
}

// What comes back is what the server has: neither half a pair of a run that was
// killed, nor a pair that it was never told of.
func TestWhatAKilledRunHasLeftDoesNotComeBack(t *testing.T) {
	type content struct{ key, cert string }
	const first, second = "first", "second"
	for _, tc := range []struct {
		name        string
		killed      content // what a run that was killed has put in place; "": the old one
		byHand      string  // what somebody wrote over both then
		before, end content
	}{
		{"killed between the two renames", content{key: second}, "", content{first, first}, content{first, first}},
		{"killed before it told the server", content{second, second}, "", content{first, first}, content{first, first}},
		{"killed where there was nothing", content{second, second}, "", content{}, content{}},
		{"mended by hand since", content{second, second}, "by hand", content{first, first}, content{"by hand", "by hand"}},
	} {
		dir := t.TempDir()
		key, cert := filepath.Join(dir, "www.key"), filepath.Join(dir, "www.pem")
		for path, text := range map[string]string{key: tc.before.key, cert: tc.before.cert} {
			if text != "" {
				write(t, path, text, 0o600)
			}
		}
		var killed []Destination
		for _, d := range []Destination{to(key, tc.killed.key), to(cert, tc.killed.cert)} {
			if len(d.Data) > 0 {
				killed = append(killed, d)
			}
		}
		install(t, killed...)
		later := time.Now().Add(time.Minute)
		for _, path := range []string{key, cert} {
			if tc.byHand == "" {
				continue
			}
			write(t, path, tc.byHand, 0o600)
			if err := os.Chtimes(path, later, later); err != nil {
				t.Fatal(err)
			}
		}
		in := install(t, to(key, "third"), to(cert, "third"))
		if err := in.Undo(t.Context()); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		got := map[string]string{}
		for _, name := range list(t, dir) {
			got[name] = read(t, filepath.Join(dir, name))
		}
		want := map[string]string{"www.key": tc.end.key, "www.pem": tc.end.cert}
		if tc.end == (content{}) {
			want = map[string]string{}
		}
		same(t, tc.name, got, want)
	}
}

// A run that finds all as it should be leaves no trace, and needs no right to write.
func TestNothingIsWrittenWhereNothingIsNew(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file.pem")
	keep(t, to(path, someKey))
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(dir, long, long); err != nil {
		t.Fatal(err)
	}
	same(t, "again", keep(t, to(path, someKey)), []bool{false})
	if info, err := os.Stat(dir); err != nil || !info.ModTime().Equal(long) {
		t.Errorf("something was written: %v, %v", info.ModTime(), err)
	}
}

// What another run has put in place meanwhile is neither kept nor undone.
func TestAnotherRunMeanwhile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file.pem")
	write(t, path, someCert, 0o600)
	slow := install(t, to(path, someKey))
	quick := install(t, to(path, otherKey))
	if err := slow.Undo(t.Context()); err != nil || read(t, path) != otherKey {
		t.Errorf("%v; the file is %s", err, read(t, path))
	}
	if err := quick.Undo(t.Context()); err != nil || read(t, path) != someCert {
		t.Errorf("%v; the file is %s", err, read(t, path))
	}
}

func TestNothingChangesWhereOneOfThemCannotBeWritten(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(t *testing.T, dir string) string // the second path
		want  func(error) bool
	}{
		{"a directory in its place", func(t *testing.T, dir string) string {
			if err := os.Mkdir(filepath.Join(dir, "b"), 0o700); err != nil {
				t.Fatal(err)
			}
			return filepath.Join(dir, "b")
		}, func(err error) bool { return errors.Is(err, atomicfile.ErrNotRegular) }},
		{"no such directory", func(_ *testing.T, dir string) string { return filepath.Join(dir, "none", "b") },
			func(err error) bool { return errors.Is(err, fs.ErrNotExist) }},
		{"a name that is too long", func(_ *testing.T, dir string) string { return filepath.Join(dir, strings.Repeat("b", 250)) },
			func(err error) bool { return errors.Is(err, syscall.ENAMETOOLONG) }},
		{"the same file twice", func(t *testing.T, dir string) string {
			if err := os.Symlink(".", filepath.Join(dir, "here")); err != nil {
				t.Fatal(err)
			}
			return filepath.Join(dir, "here", "a")
		}, func(err error) bool { var twice *TwiceError; return errors.As(err, &twice) }},
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "a"), otherKey, 0o600)
		second := tc.spoil(t, dir)
		before := listing(t, dir)
		in, err := Install(t.Context(), []Destination{to(filepath.Join(dir, "a"), someKey), to(second, someCert)})
		if in != nil || err == nil || !tc.want(err) {
			t.Errorf("%s: %v", tc.name, err)
		}
		same(t, tc.name, listing(t, dir), before)
	}
}

func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("ARID_TEST_ALL") != "" {
			t.Fatal("needs root")
		}
		t.Skip("needs root")
	}
}

const nobody = 65534

func TestALinkThatSomebodyElseMayHavePutThereIsNotFollowed(t *testing.T) {
	asRoot(t)
	for _, tc := range []struct {
		name          string
		mode          fs.FileMode // of the directory with the link
		owner, linker int
		want          bool // it is followed
	}{
		{"the admin's, in a closed directory", 0o755, 0, 0, true},
		{"ours, where all can write", 0o777 | fs.ModeSticky, 0, 0, true},
		{"a stranger's, where all can write", 0o777 | fs.ModeSticky, 0, nobody, false},
		{"a stranger's, in his directory", 0o755, nobody, nobody, false},
		{"a stranger's, where his group can write", 0o775, 0, nobody, false},
	} {
		top := t.TempDir()
		open, closed := filepath.Join(top, "open"), filepath.Join(top, "closed")
		for _, dir := range []string{open, closed} {
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		link := filepath.Join(open, "way")
		for _, err := range []error{
			os.Symlink("../closed", link), os.Lchown(link, tc.linker, tc.linker),
			os.Chown(open, tc.owner, -1), os.Chmod(open, tc.mode),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		_, err := Install(t.Context(), []Destination{to(filepath.Join(link, "file.pem"), someKey)})
		var refused *LinkError
		_, there := os.Lstat(filepath.Join(closed, "file.pem"))
		if tc.want != (err == nil) || tc.want != (there == nil) || !tc.want && !errors.As(err, &refused) {
			t.Errorf("%s: %v, %v", tc.name, err, there)
		}
	}
}

func TestOwnersOfInstalledFiles(t *testing.T) {
	asRoot(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "file.pem")
	d := to(path, someKey)
	d.UID, d.GID, d.Mode = nobody, nobody, 0o440
	keep(t, d)
	owner := func() string {
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		stat := info.Sys().(*syscall.Stat_t)
		return fmt.Sprintf("%d:%d %o", stat.Uid, stat.Gid, info.Mode())
	}
	same(t, "as asked for", owner(), "65534:65534 440")
	keep(t, to(path, otherKey))
	same(t, "as before", owner(), "65534:65534 440")
	root := to(path, otherKey)
	root.UID = 0
	same(t, "only the owner changes", keep(t, root), []bool{true})
	same(t, "as asked for", owner(), "0:65534 440")
	// In a directory that others can write to, a file of theirs says nothing.
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	keep(t, to(path, someKey))
	same(t, "a planted file", owner(), "0:0 600")
	if err := errors.Join(os.Remove(path), os.WriteFile(path, []byte(someCert), 0o600), os.Chown(path, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	same(t, "a planted file with the very content", keep(t, to(path, someCert)), []bool{true})
	same(t, "whose it is", owner(), "0:0 644")
	keep(t, to(path, someKey))
	// One that is asked for has a say, though: also in what a run that was killed has left.
	theirs := func(text string) Destination {
		d := to(path, text)
		d.UID, d.GID = nobody, nobody
		return d
	}
	keep(t, theirs(someKey))
	install(t, theirs(otherKey)) // and no more of it
	same(t, "the next run", keep(t, theirs(otherKey)), []bool{true})
	same(t, "the one after it", keep(t, theirs(otherKey)), []bool{false})
	same(t, "as asked for", owner(), "65534:65534 640")
	keep(t, to(path, someKey))
	// Nor does what they say was there before.
	if err := os.WriteFile(filepath.Join(dir, ".file.pem.arid-old"), []byte(someCert), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(dir, ".file.pem.arid-old"), nobody, nobody); err != nil {
		t.Fatal(err)
	}
	_, err := Install(t.Context(), []Destination{to(path, someKey)})
	var refused *LinkError
	if !errors.As(err, &refused) {
		t.Errorf("a planted file from before: %v", err)
	}
}

// A reader sees one whole file or the other, and never one with another mode.
func TestInstallsAtOnceBesideReaders(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file.pem")
	long := strings.Repeat(someCert, 200) + someKey
	d := to(path, long)
	d.Mode = 0o640
	keep(t, d)
	done := make(chan bool)
	var readers, writers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				f, err := os.Open(path)
				if err != nil {
					t.Error(err)
					return
				}
				info, err := f.Stat()
				var b bytes.Buffer
				if err == nil {
					_, err = b.ReadFrom(f)
				}
				f.Close()
				if err != nil || info.Mode() != 0o640 || b.String() != long && b.String() != otherKey {
					t.Errorf("%v, mode %o, %d bytes", err, info.Mode(), b.Len())
				}
			}
		})
	}
	for i := range 8 {
		writers.Go(func() {
			for n := range 20 {
				d := to(path, []string{long, otherKey}[(i+n)%2])
				d.Mode = 0o640
				in, err := Install(t.Context(), []Destination{d})
				if err != nil {
					t.Error(err)
					return
				}
				end := in.Keep
				if n%3 == 0 {
					end = in.Undo
				}
				if err := end(t.Context()); err != nil {
					t.Error(err)
				}
				in.Close()
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	keep(t, d)
	same(t, "what lies there", list(t, dir), []string{"file.pem"})
}
