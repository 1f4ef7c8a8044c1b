package account

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func memoryOf(t *testing.T, s *Store) *Memory {
	t.Helper()
	m, err := s.Memory()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMemory(t *testing.T) {
	s := &Store{Dir: t.TempDir(), CA: "https://ca.example/dir"}
	m := memoryOf(t, s)
	if err := m.Hold(noon, "busy"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.Path()); err == nil {
		t.Error("a folder was made for what is remembered")
	}
	if err := s.makeFolder(); err != nil {
		t.Fatal(err)
	}
	const document = `{"newNonce":"https://ca.example/n","x":[1]}`
	if err := m.SaveDirectory([]byte(document), noon); err != nil {
		t.Fatal(err)
	}
	other := memoryOf(t, s)
	if err := m.Hold(noon.Add(time.Hour), "busy"); err != nil {
		t.Fatal(err)
	}
	if err := other.SaveDirectory([]byte(document), noon); err != nil { // on top of the hold
		t.Fatal(err)
	}
	m = memoryOf(t, s)
	for at, want := range map[time.Time]bool{noon: true, noon.Add(59 * time.Minute): true, noon.Add(time.Hour): false} {
		if until, why := m.Held(at); !until.Equal(noon.Add(time.Hour)) == want || (why == "busy") != want {
			t.Errorf("held at %s: %s %q", at, until, why)
		}
	}
	for at, want := range map[time.Time]bool{noon.Add(-time.Second): false, noon: true, noon.Add(24 * time.Hour): true, noon.Add(25 * time.Hour): false} {
		got := strings.Join(strings.Fields(string(m.Directory(at))), "")
		if (got == document) != want || !want && got != "" {
			t.Errorf("at %s: %s", at, got)
		}
	}
}

func TestNoAnswer(t *testing.T) {
	s := &Store{Dir: t.TempDir(), CA: "https://ca.example/dir"}
	if err := s.makeFolder(); err != nil {
		t.Fatal(err)
	}
	m := memoryOf(t, s)
	if !m.MayAsk(noon) {
		t.Error("before the first question")
	}
	if err := m.NoAnswer(noon); err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Time]bool{noon: false, noon.Add(59 * time.Minute): false, noon.Add(time.Hour): true} {
		if memoryOf(t, s).MayAsk(at) != want || m.MayAsk(at) != want {
			t.Errorf("at %s it is not %v", at, want)
		}
	}
}

func TestMemoryIsNeverInTheWay(t *testing.T) {
	s := &Store{Dir: t.TempDir(), CA: "https://ca.example/dir"}
	if err := s.makeFolder(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(s.Path(), memoryName)
	for _, text := range []string{"", "{", `{"schema":1,"hold":7}`, `{"schema":1,"directory":{"fetched":"soon"}}`} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := s.Memory()
		if !errors.As(err, new(*MemoryError)) || m.Directory(noon) != nil {
			t.Errorf("%q: %v", text, err)
		}
		if err := m.Hold(noon, "busy"); err != nil {
			t.Errorf("%q: it is not written anew: %v", text, err)
		}
		memoryOf(t, s)
	}
	newer := `{"schema":2,"hold":[],"more":1}`
	if err := os.WriteFile(file, []byte(newer), 0o600); err != nil {
		t.Fatal(err)
	}
	m := memoryOf(t, s)
	if err := m.Hold(noon, "busy"); err != nil {
		t.Error(err)
	}
	if text, _ := os.ReadFile(file); string(text) != newer {
		t.Errorf("a newer one's was written: %s", text)
	}
	if _, why := m.Held(noon.Add(-1)); why != "busy" {
		t.Error("it is not remembered in the run itself")
	}
}

// A CA's directory is the CA's: what is remembered of it must stay readable.
func TestHugeDirectoryIsNotRemembered(t *testing.T) {
	for name, document := range map[string]string{
		"long":   `{"x":[` + strings.Repeat("1,", 400_000) + `1]}`,
		"nested": `{"x":` + strings.Repeat("[", 60) + strings.Repeat("1,", 3_900) + "1" + strings.Repeat("]", 60) + "}",
	} {
		s := &Store{Dir: t.TempDir(), CA: "https://ca.example/dir"}
		if err := s.makeFolder(); err != nil {
			t.Fatal(err)
		}
		m := memoryOf(t, s)
		if err := m.Hold(noon, "busy"); err != nil {
			t.Fatal(err)
		}
		if err := m.SaveDirectory([]byte(document), noon); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		m = memoryOf(t, s)
		if until, _ := m.Held(noon.Add(-time.Hour)); !until.Equal(noon) {
			t.Errorf("%s: the hold is forgotten", name)
		}
		if info, err := os.Stat(s.inFolder(memoryName)); err != nil || info.Size() > 1<<20 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}
