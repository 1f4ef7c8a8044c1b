package cmd_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arid/internal/atomicfile"
)

// superseded is a world with a certificate of four versions.
func superseded(t *testing.T) (w *world, folder string) {
	t.Helper()
	w = newWorld(t)
	for range 4 {
		w.must(0, "sign", "--accept-terms", "-x", "a.test")
	}
	return w, filepath.Join(w.base, "certs", "a.test")
}

func entries(t *testing.T, dir string) string {
	t.Helper()
	found, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range found {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestCleanup(t *testing.T) {
	w, folder := superseded(t)
	live, shown := entries(t, folder+"/versions"), readFile(t, folder+"/privkey.pem")
	live = live[strings.LastIndex(live, " ")+1:]
	requests := len(w.ca.Requests())
	if out, talk := w.must(0, "cleanup"); out+talk != "" {
		t.Errorf("stdout %q, stderr %q", out, talk)
	}
	if got := entries(t, folder+"/versions"); got != live {
		t.Errorf("versions %s, want %s", got, live)
	}
	if readFile(t, folder+"/privkey.pem") != shown {
		t.Error("another key is shown")
	}
	archived := entries(t, filepath.Join(w.base, "archive", "a.test"))
	if n := strings.Count(archived, "privkey-"); n != 2 || strings.Contains(archived, live) {
		t.Errorf("archive: %s", archived)
	}
	if len(w.ca.Requests()) != requests {
		t.Error("the CA was asked")
	}
	if out, talk := w.must(0, "cleanup", "-v"); out+talk != "" {
		t.Errorf("nothing to do: stdout %q, stderr %q", out, talk)
	}
	w.must(0, "sign", "-x", "a.test")
	if _, talk := w.must(0, "cleanup", "-v", "--delete"); strings.Count(talk, ": deleted\n") != 5 || !strings.Contains(talk, "a.test/privkey-"+live+".pem: deleted") {
		t.Errorf("deleted: %q", talk)
	}
	if got := entries(t, filepath.Join(w.base, "archive", "a.test")); got != archived {
		t.Errorf("archive: %s, was %s", got, archived)
	}
}

func TestCleanupOfWhatIsLocked(t *testing.T) {
	w, folder := superseded(t)
	for range 2 {
		w.must(0, "sign", "-x", "b.test")
		w.must(0, "sign", "-x", "c.test")
	}
	for _, name := range []string{"a.test", "c.test"} {
		unlock, err := atomicfile.Lock(t.Context(), filepath.Join(filepath.Dir(folder), name, ".arid.lock"), 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unlock()
	}
	if out, talk := w.must(75, "cleanup"); out+talk != "" {
		t.Errorf("stdout %q, stderr %q", out, talk)
	}
	if got := entries(t, filepath.Join(w.base, "archive")); got != "b.test" {
		t.Errorf("archive: %s", got)
	}
	_, talk := w.must(75, "cleanup", "-v")
	if strings.Count(talk, "\n") != 2 || !strings.Contains(talk, "a.test, c.test: left alone") || strings.Count(talk, "hint: ") != 1 {
		t.Errorf("stderr %q", talk)
	}
	if _, talk := w.must(75, "cleanup", "-v", "--forget", "a.test"); strings.Count(talk, "hint: ") != 1 || entries(t, folder) == "" {
		t.Errorf("stderr %q", talk)
	}
}

func TestCleanupGoesOnAfterAFailure(t *testing.T) {
	w, folder := superseded(t)
	for range 2 {
		w.must(0, "sign", "-x", "b.test")
	}
	// A file where the archive's folder would be.
	if err := os.MkdirAll(filepath.Join(w.base, "archive"), 0o700); err != nil {
		t.Fatal(err)
	}
	w.file("base/archive/a.test", "", 0o600)
	unlock, err := atomicfile.Lock(t.Context(), filepath.Join(filepath.Dir(folder), "b.test", ".arid.lock"), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if _, talk := w.must(1, "cleanup"); !strings.Contains(talk, "arid: a.test: ") || !strings.Contains(talk, "arid: b.test: left alone: ") {
		t.Errorf("stderr %q", talk)
	}
}

func TestForget(t *testing.T) {
	w, folder := superseded(t)
	for _, c := range []struct {
		status int
		name   string
	}{{65, "b.test"}, {65, "../certs"}, {64, ""}} {
		if _, talk := w.must(c.status, "cleanup", "--forget", c.name); talk == "" {
			t.Errorf("%q: nothing said", c.name)
		}
	}
	key := readFile(t, folder+"/privkey.pem")
	if out, talk := w.must(0, "cleanup", "--forget", "a.test"); out+talk != "" {
		t.Errorf("stdout %q, stderr %q", out, talk)
	}
	if _, err := os.Lstat(folder); !os.IsNotExist(err) {
		t.Errorf("the folder: %v", err)
	}
	if readFile(t, filepath.Join(w.base, "archive", "a.test", "privkey.pem")) != key {
		t.Error("the archive has another key")
	}
	w.file("base/domains.txt", "other.test\nx.test > a.test\n", 0o600)
	w.must(0, "sign", "--alias", "c.test", "c.test")
	w.must(0, "cleanup", "--forget", "c.test", "--delete")
	if got := entries(t, filepath.Join(w.base, "archive")); got != "a.test" {
		t.Errorf("archive: %s", got)
	}
	w.must(0, "sign", "--alias", "x", "x.test")
	if err := os.Rename(filepath.Join(w.base, "certs", "x"), folder); err != nil {
		t.Fatal(err)
	}
	if _, talk := w.must(0, "cleanup", "--forget", "a.test"); !strings.Contains(talk, "domains.txt:2: ") {
		t.Errorf("stderr %q", talk)
	}
}
