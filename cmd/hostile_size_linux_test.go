package cmd_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"arid/internal/fakeca"
)

// TestAGigabyteOfAnything runs the real binary against replies of 1 GB, and
// wants little of them taken and less of them kept.
func TestAGigabyteOfAnything(t *testing.T) {
	if file := os.Getenv("ARID_TEST_MEASURE"); file != "" {
		measure(file)
	}
	type row struct {
		kind, head string
		status     int // HTTP
		says       string
		length     bool // announced
		mode       []fakeca.Mode
	}
	const object, pem = `{"huge":"`, "-----BEGIN CERTIFICATE-----\n"
	rows := []row{
		{kind: fakeca.Certificate, head: pem, status: 200, says: "certificate"},
		{kind: fakeca.Certificate, head: pem, status: 200, says: "certificate", mode: []fakeca.Mode{fakeca.HTTP1}},
		{kind: fakeca.Certificate, head: pem, status: 200, says: "certificate", length: true},
		{kind: fakeca.Directory, head: object, status: 200, says: "directory", mode: []fakeca.Mode{fakeca.HTTP1}},
		{kind: fakeca.Directory, head: object, status: 200, says: "directory", length: true},
		{kind: fakeca.NewOrder, head: `{"type":"malformed","detail":"`, status: 403, says: "new order"},
		{kind: fakeca.NewOrder, head: "<html>", status: 502, says: "new order"},
		{kind: fakeca.Directory, head: strings.Repeat("[", 1<<10), status: 200, says: "directory"},
	}
	for _, o := range objects {
		rows = append(rows, row{kind: o.kind, head: object, status: 200, says: o.what})
	}
	for _, r := range rows {
		t.Run(fmt.Sprint(r.kind, r.status, r.length, len(r.mode)), func(t *testing.T) {
			w := newWorld(t)
			if r.mode != nil {
				w.ca = fakeca.New(t, r.mode...)
				w.env = append(w.env, "ARID_CA="+w.ca.URL(), "ARID_CA_BUNDLE="+w.file("other-tls.pem", string(w.ca.RootsPEM()), 0o644))
			}
			if r.kind != fakeca.NewAccount {
				w.must(0, "register", "--accept-terms")
			}
			var sent atomic.Int64
			w.ca.On(r.kind, func(rw http.ResponseWriter, _ *http.Request) bool {
				if r.length {
					rw.Header().Set("Content-Length", fmt.Sprint(1<<30))
				}
				rw.WriteHeader(r.status)
				piece := []byte(r.head)
				for left := 1 << 30; left > 0; left -= len(piece) {
					n, err := rw.Write(piece[:min(left, len(piece))])
					if sent.Add(int64(n)); err != nil {
						break
					}
					piece = bytes.Repeat([]byte("A"), 32<<10)
				}
				return true
			})
			before := snapshot(t, w.webroot)
			status, memory, talk := w.measured("sign", "--accept-terms", "a.test")
			t.Logf("status %d, %d KiB of memory, %d KiB sent\n%s", status, memory, sent.Load()>>10, talk)
			if status != 76 || !strings.Contains(talk, r.says) || !strings.Contains(talk, "larger than 1024 KiB") || len(talk) > 1000 {
				t.Errorf("status %d, stderr %q", status, talk)
			}
			if memory > 64<<10 {
				t.Errorf("%d KiB of memory", memory)
			}
			most := int64(1<<20 + 256<<10)
			if r.mode != nil {
				most = 16 << 20 // what the system's buffers hold
			}
			if sent.Load() > most {
				t.Errorf("%d bytes taken", sent.Load())
			}
			if after := snapshot(t, w.webroot); len(after) != len(before) {
				t.Errorf("left in the webroot: %v", after)
			}
		})
	}
}

// measured runs the binary and gives the most memory it had, in KiB. A process
// in between starts it: what a child is said to have used is at least what its
// parent, these tests, has.
func (w *world) measured(args ...string) (status, memory int, stderr string) {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "measured")
	var talk bytes.Buffer
	c := exec.Command(os.Args[0], append([]string{"-test.run=^TestAGigabyteOfAnything$", binary(w.t)}, args...)...)
	c.Env, c.Dir, c.Stderr = append([]string{"ARID_TEST_MEASURE=" + file}, w.env...), w.dir, &talk
	if err := c.Run(); err != nil {
		w.t.Fatalf("%v\n%s", err, talk.String())
	}
	data, err := os.ReadFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := fmt.Sscan(string(data), &status, &memory); err != nil {
		w.t.Fatalf("%q: %v", data, err)
	}
	return status, memory, talk.String()
}

// measure is the process in between.
func measure(file string) {
	os.Unsetenv("ARID_TEST_MEASURE")
	c := exec.Command(os.Args[2], os.Args[3:]...)
	c.Stderr = os.Stderr
	_ = c.Run()
	usage := c.ProcessState.SysUsage().(*syscall.Rusage)
	text := fmt.Sprintln(c.ProcessState.ExitCode(), usage.Maxrss)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}
