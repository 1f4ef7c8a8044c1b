package certs

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// asNobody does something without the rights of root.
func asNobody(t *testing.T, do func()) {
	t.Helper()
	root(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// The calls tell the id of before, and no error.
	_, _ = unix.SetfsgidRetGid(65534)
	_, _ = unix.SetfsuidRetUid(65534)
	defer unix.SetfsgidRetGid(0)
	defer unix.SetfsuidRetUid(0)
	do()
}

// An error about a file says which: "privkey.pem" is the name of a thousand.
func TestErrorsHaveTheWholePath(t *testing.T) {
	root(t)
	dir, err := os.MkdirTemp("/tmp", "arid-certs")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	c, _ := (&Store{Dir: dir + "/certs"}).Certificate("www.example.org")
	m := newAuthority(t).material(t)
	if err := errors.Join(c.StartPending(m.Key, m.CSR), c.SaveOrder(PendingOrder{URL: "u"}), c.SaveRoll(m.Key)); err != nil {
		t.Fatal(err)
	}
	publish(t, c, start, m)
	if err := errors.Join(c.SaveState(&State{CA: "c"}), os.Symlink("ocsp-1.der", c.OCSPPath())); err != nil {
		t.Fatal(err)
	}
	put(t, c.file("ocsp-1.der"), "")
	for _, path := range []string{dir, dir + "/certs", c.Path(), c.file(versionsName), c.file("live"), c.file(pendingName)} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name, at string // what fails; the path that has to be told
		do       func() error
	}{
		{"state", c.file(stateName), func() error { _, err := c.State(); return err }},
		{"live", c.file(versionsName, "1795000000", keyName), func() error { _, err := c.Live(); return err }},
		{"version", c.file(versionsName, "1795000000", keyName), func() error { _, err := c.Set("1795000000"); return err }},
		{"next key", c.file(rollName), func() error { _, err := c.Roll(); return err }},
		{"OCSP", c.OCSPPath(), func() error { _, _, err := c.OCSP(); return err }},
		{"pending", c.file(pendingName, orderName), func() error { _, err := c.Pending(); return err }},
		{"saving state", c.file(stateName), func() error { return c.SaveState(&State{CA: "d"}) }},
		{"saving the next key", c.file(rollName), func() error { return c.SaveRoll(m.Key) }},
		{"dropping the next key", c.file(rollName), c.DropRoll},
		{"saving OCSP", c.OCSPPath(), func() error { _, err := c.SaveOCSP(nil, start); return err }},
		{"an order", c.file(pendingName, orderName), func() error { return c.StartPending(m.Key, m.CSR) }},
		{"saving the order", c.file(pendingName, orderName), func() error { return c.SaveOrder(PendingOrder{URL: "v"}) }},
		{"writing", c.Path(), func() error { _, err := c.Write(start, m); return err }},
	} {
		var err error
		asNobody(t, func() { err = test.do() })
		if !errors.Is(err, fs.ErrPermission) || !strings.HasPrefix(err.Error(), strconv.Quote(test.at)+": ") {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}
