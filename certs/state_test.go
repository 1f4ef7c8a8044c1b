package certs

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"arid/internal/atomicfile"
	"arid/internal/statefile"
	"arid/keys"
)

func TestStateRoundTrip(t *testing.T) {
	c := newCertificate(t)
	s, err := c.State()
	if err != nil || s.Schema != 1 || s.Owed != nil {
		t.Fatalf("no folder: %+v, %v", s, err)
	}
	s.Names, s.CA, s.TestCA = []string{"b.example", "*.a.example"}, "https://ca.example/dir?a=<b>&c", true
	s.Profile, s.Leaf, s.Revoked = "short", "ab12", true
	s.Owed = &Owed{Version: "1795000000", Step: OwedDeploy}
	if err := c.SaveState(s); err != nil {
		t.Fatal(err)
	}
	text := read(t, c.file(stateName))
	if !strings.Contains(text, `"https://ca.example/dir?a=<b>&c"`) || !strings.HasSuffix(text, "}\n") {
		t.Error(text)
	}
	back, err := c.State()
	if err != nil {
		t.Fatal(err)
	}
	same(t, "owed", *back.Owed, *s.Owed)
	back.Owed, s.Owed, back.file, s.file = nil, nil, statefile.File{}, statefile.File{}
	same(t, "state", *back, *s)
}

func TestStateKeepsWhatItDoesNotKnow(t *testing.T) {
	c := newCertificate(t)
	text := `{"schema":1,"ca":"https://a.example/","later":{"deep":[1,{"x":12345678901234567890}]},
		"owed":{"version":"7","step":"sync","tries":3},"big":1.50}`
	if err := os.MkdirAll(c.Path(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.file(stateName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := c.State()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SaveState(s); err != nil {
		t.Fatal(err)
	}
	same(t, "the file, nothing changed", read(t, c.file(stateName)), text)
	s.CA = "https://b.example/"
	if err := c.SaveState(s); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"12345678901234567890", `"tries": 3`, `"big": 1.50`, "https://b.example/"} {
		if !strings.Contains(read(t, c.file(stateName)), want) {
			t.Errorf("%s is lost in %s", want, read(t, c.file(stateName)))
		}
	}
	s.Owed = nil
	if err := c.SaveState(s); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(read(t, c.file(stateName)), "owed") {
		t.Error("what is done is still owed")
	}
	before, _ := os.Stat(c.file(stateName))
	if err := c.SaveState(s); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.Stat(c.file(stateName)); !os.SameFile(before, after) {
		t.Error("written again though nothing changed")
	}
}

func TestStateOfANewerAridIsNeverWritten(t *testing.T) {
	for _, text := range []string{`{"schema":2,"ca":"https://a.example/"}`, `{"schema":3,"names":{"now":"an object"}}`} {
		c := newCertificate(t)
		os.MkdirAll(c.Path(), 0o700)
		if err := os.WriteFile(c.file(stateName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := c.State()
		if err != nil || !s.ReadOnly || s.Schema < 2 {
			t.Fatalf("%s: %+v, %v", text, s, err)
		}
		s.CA = "changed"
		if err := c.SaveState(s); err != nil {
			t.Fatal(err)
		}
		same(t, "file", read(t, c.file(stateName)), text)
	}
}

func TestDamagedStateIsEmpty(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "cut": `{"schema":1,"ca":"htt`, "array": "[]", "null": "null", "two": "{}{}", "no number": `{"schema":"x"}`,
		"negative": `{"schema":-1}`, "wrong type": `{"schema":1,"names":"x"}`, "huge": strings.Repeat(" ", statefile.Max+1),
		"deep": strings.Repeat(`{"a":`, 20000), "binary": "\x00\xff\x1b",
	} {
		t.Run(name, func(t *testing.T) {
			c := newCertificate(t)
			os.MkdirAll(c.Path(), 0o700)
			if err := os.WriteFile(c.file(stateName), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := c.State()
			var warning *StateWarning
			if !errors.As(err, &warning) || s == nil || s.CA != "" || s.ReadOnly {
				t.Fatalf("%+v, %v", s, err)
			}
			s.CA = "https://a.example/"
			if err := c.SaveState(s); err != nil {
				t.Fatal(err)
			}
			if s, err := c.State(); err != nil || s.CA == "" {
				t.Errorf("after saving: %+v, %v", s, err)
			}
		})
	}
}

func TestPending(t *testing.T) {
	c, a := newCertificate(t), newAuthority(t)
	m := a.material(t)
	none := func(when string) {
		t.Helper()
		if p, err := c.Pending(); p != nil || err != nil {
			t.Errorf("%s: %+v, %v", when, p, err)
		}
	}
	none("no folder")
	if err := c.DropPending(); err != nil {
		t.Error(err)
	}
	if err := c.SaveOrder(PendingOrder{URL: "x"}); err == nil {
		t.Error("an order without key and CSR was saved")
	}
	if err := c.StartPending(newKey(t), m.CSR); err == nil {
		t.Error("a key that is not the CSR's was taken")
	}
	c.store.KeyGroup = "no-such-group"
	if err := c.StartPending(m.Key, m.CSR); err == nil || !strings.Contains(err.Error(), "KEY_GROUP") {
		t.Errorf("unknown group: %v", err)
	}
	c.store.KeyGroup = ""
	if err := c.StartPending(m.Key, m.CSR); err != nil {
		t.Fatal(err)
	}
	none("no order yet")
	order := PendingOrder{URL: "https://ca.example/order/1", CA: "https://ca.example/", Names: []string{"www.example.org"}, NotAfter: "2027-01-01T00:00:00Z"}
	if err := c.SaveOrder(order); err != nil {
		t.Fatal(err)
	}
	p, err := c.Pending()
	if err != nil || !keys.Fits(m.Key.Public(), p.Key) || !bytes.Equal(p.CSR, m.CSR) {
		t.Fatalf("%+v, %v", p, err)
	}
	order.Schema = 1
	same(t, "order", p.Order, order)
	for _, name := range []string{keyName, csrName, orderName} {
		if info, err := os.Stat(c.file(pendingName, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}

	// A second order never meets the first one's URL.
	second := a.material(t)
	if err := c.StartPending(nil, second.CSR); err != nil {
		t.Fatal(err)
	}
	none("started anew")
	if err := c.SaveOrder(order); err != nil {
		t.Fatal(err)
	}
	if p, err := c.Pending(); err != nil || p == nil || p.Key != nil {
		t.Errorf("CSR from elsewhere: %+v, %v", p, err)
	}
	if err := c.DropPending(); err != nil {
		t.Fatal(err)
	}
	none("dropped")
	same(t, "folder", list(t, c.Path()), []string{})
}

func TestHalfAPendingOrderIsNone(t *testing.T) {
	a := newAuthority(t)
	for name, change := range map[string]func(c *Certificate) error{
		"no CSR":  func(c *Certificate) error { return os.Remove(c.file(pendingName, csrName)) },
		"CSR cut": func(c *Certificate) error { return os.Truncate(c.file(pendingName, csrName), 100) },
		"CSR of another": func(c *Certificate) error {
			return os.WriteFile(c.file(pendingName, csrName), encodeCSR(a.material(t).CSR), 0o600)
		},
		"key cut":      func(c *Certificate) error { return os.Truncate(c.file(pendingName, keyName), 100) },
		"order empty":  func(c *Certificate) error { return os.Truncate(c.file(pendingName, orderName), 0) },
		"order no URL": func(c *Certificate) error { return os.WriteFile(c.file(pendingName, orderName), []byte("{}"), 0o600) },
		"order a FIFO": func(c *Certificate) error {
			os.Remove(c.file(pendingName, orderName))
			return syscall.Mkfifo(c.file(pendingName, orderName), 0o600)
		},
		"order too large": func(c *Certificate) error { return os.Truncate(c.file(pendingName, orderName), statefile.Max+1) },
	} {
		t.Run(name, func(t *testing.T) {
			c, m := newCertificate(t), a.material(t)
			for _, err := range []error{c.StartPending(m.Key, m.CSR), c.SaveOrder(PendingOrder{URL: "https://ca.example/1"}), change(c)} {
				if err != nil {
					t.Fatal(err)
				}
			}
			if p, err := c.Pending(); p != nil || err != nil {
				t.Errorf("%+v, %v", p, err)
			}
			if err := c.StartPending(m.Key, m.CSR); err != nil {
				t.Errorf("starting over it: %v", err)
			}
		})
	}
}

func TestLockIsMadeWithTheFolderAndHeld(t *testing.T) {
	c := newCertificate(t)
	unlock, err := c.Lock(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Lock(t.Context(), 0)
	var locked *atomicfile.LockedError
	if !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Errorf("locked twice: %v", err)
	}
	// No child has it.
	if err := exec.Command("flock", "-n", c.file(lockName), "true").Run(); err == nil {
		t.Error("the lock is none")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stopped")
	cancel(stop)
	if _, err := c.Lock(ctx, time.Hour); !errors.Is(err, stop) {
		t.Errorf("cancelled: %v", err)
	}
	unlock()
	if unlock, err = c.Lock(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	unlock()
	if _, err := os.Stat(c.file(lockName)); err != nil {
		t.Error(err)
	}
}

// A process that has no descriptor left has not lost what it remembers.
func TestStateWithoutDescriptors(t *testing.T) {
	c := newCertificate(t)
	if err := c.SaveState(&State{Owed: &Owed{Version: "1795000000", Step: OwedDeploy}}); err != nil {
		t.Fatal(err)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	for free := range 4 {
		next, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		lower := syscall.Rlimit{Cur: uint64(next.Fd()) + uint64(free), Max: limit.Max}
		next.Close()
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lower); err != nil {
			t.Fatal(err)
		}
		s, err := c.State()
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		if err == nil && s.Owed == nil || err != nil && (s != nil || !errors.Is(err, syscall.EMFILE)) {
			t.Errorf("with %d free: %+v, %v", free, s, err)
		}
	}
}
