//go:build linux

package cmd_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A cron line that fires on a hundred containers with one directory.
func TestHundredAtOnce(t *testing.T) {
	for _, tc := range []struct {
		name string
		wait string // --lock-wait
		busy bool   // those who find another at work say so
	}{
		{"not waiting", "0", true},
		{"waiting", "10m", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t)
			b.args = append(b.args, "--accept-terms", "--lock-wait", tc.wait)
			b.child(b.args...).command(t, false) // built
			before, start := b.counts(), time.Now()
			var all sync.WaitGroup
			endings := make([]*ending, 100)
			for i := range endings {
				all.Go(func() { endings[i] = b.child(b.args...).run(t) })
			}
			all.Wait()
			took := time.Since(start)
			statuses := map[int]int{}
			for _, e := range endings {
				statuses[e.status]++
				if e.status != 0 && (e.status != 75 || !tc.busy) {
					t.Errorf("%s", e)
				}
			}
			if statuses[0] == 0 {
				t.Errorf("statuses %v after %s", statuses, took)
			}
			if n := b.counts().since(before); n != (counts{1, 1, 1}) {
				t.Errorf("made %+v", n)
			}
			b.recover()
			b.checkDeployed()
			b.checkLitter()
			if now, err := b.shown(); now == nil || err != nil || len(b.problems) > 0 {
				t.Errorf("%v %q", err, b.problems)
			}
			if n := b.counts().since(before); n.orders != 1 {
				t.Errorf("%d orders after the next run", n.orders)
			}
			log, _ := os.ReadFile(b.hookLog)
			if n := strings.Count(string(log), "deploy_cert"); n != 1 {
				t.Errorf("deployed %d times", n)
			}
			t.Logf("statuses %v in %s", statuses, took.Round(time.Millisecond))
		})
	}
}

// Where nothing is due, nothing is written and nobody asked.
func TestIdleRunTouchesNothing(t *testing.T) {
	for _, name := range []string{"renewal", "folder of dehydrated's", "CSR"} {
		b := situations[name](t)
		var changes, connects []string
		watch := func(c *call) verdict {
			switch {
			case c.name == "connect":
				connects = append(connects, c.String())
			case c.changesFile():
				changes = append(changes, c.String())
			}
			return carryOut
		}
		if e := b.child(b.args...).trap(t, watch); e.status != 0 {
			t.Fatal(e)
		}
		if len(changes) < 40 || len(connects) == 0 {
			t.Errorf("%s: the trap saw %d changes and %d connects of a run that had work", name, len(changes), len(connects))
		}
		changes, connects = nil, nil
		if e := b.child(b.args...).trap(t, watch); e.status != 0 || e.stdout+e.stderr != "" {
			t.Errorf("%s: %s", name, e)
		}
		if len(changes)+len(connects) > 0 {
			t.Errorf("%s: with nothing due: %q, %q", name, changes, connects)
		}
	}
}

// No byte of a key goes into a file that others may open, whatever the umask.
func TestKeysAreBornClosed(t *testing.T) {
	for _, mask := range []string{"000", "002", "022", "027", "077", "777"} {
		b := newBench(t)
		c := b.child(append(b.args, "--accept-terms")...)
		c.umask = mask
		written := 0
		e := c.trap(t, func(c *call) verdict {
			if c.hook || !c.toFile() || !strings.Contains(string(c.data()), "PRIVATE KEY") {
				return carryOut
			}
			written++
			if mode := c.fileMode(); mode&0o077 != 0 {
				t.Errorf("umask %s: a key is written to %s with mode %04o", mask, c.file, mode)
			}
			return carryOut
		})
		if e.status != 0 {
			t.Errorf("umask %s: %s", mask, e)
		}
		if written < 3 { // of the account, of the order, of the version
			t.Errorf("umask %s: only %d keys were seen", mask, written)
		}
		err := filepath.WalkDir(b.base(), func(path string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err == nil && info.Mode()&os.ModeSymlink == 0 && info.Mode()&0o077 != 0 {
				t.Errorf("umask %s: %s has mode %v", mask, path, info.Mode())
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// fileMode is that of the file that the call's descriptor is open on.
func (c *call) fileMode() uint32 {
	var s unix.Stat_t
	if err := unix.Stat(c.descriptor(), &s); err != nil {
		return 0o7777
	}
	return s.Mode & 0o7777
}
