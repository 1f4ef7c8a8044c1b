package cmd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"arid/cmd"
	"arid/internal/fakeca"
	"arid/respond"
)

// world is a home, a webroot with a real web server, and a CA that fetches
// http-01 from it.
type world struct {
	t       *testing.T
	ca      *fakeca.CA
	dir     string // home and working directory
	base    string // BASEDIR
	webroot string // WELLKNOWN
	port    int    // of the web server
	env     []string
	stdin   string
	http    http.RoundTripper // nil: the network
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, ca: fakeca.New(t), dir: t.TempDir()}
	w.base, w.webroot = filepath.Join(w.dir, "base"), filepath.Join(w.dir, "webroot")
	if err := os.Mkdir(w.webroot, 0o755); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(respond.HTTP01(w.webroot))
	t.Cleanup(web.Close)
	w.port = web.Listener.Addr().(*net.TCPAddr).Port
	w.ca.ValidateHTTP(w.port)
	w.env = []string{
		"HOME=" + w.dir, "PATH=" + os.Getenv("PATH"), "ARID_CONFIG=/dev/null", // whatever this host has
		"ARID_BASEDIR=" + w.base, "ARID_WELLKNOWN=" + w.webroot,
		"ARID_DNS_RESOLVER=127.0.0.1:9", // nobody: looks end at once
		"ARID_CA=" + w.ca.URL(), "ARID_CA_BUNDLE=" + w.file("ca-tls.pem", string(w.ca.RootsPEM()), 0o644),
	}
	return w
}

// file writes a file into the home and returns its path.
func (w *world) file(name, text string, mode os.FileMode) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		w.t.Fatal(err)
	}
	return path
}

// run is one command line, in this process.
func (w *world) run(args ...string) (status int, stdout, stderr string) {
	w.t.Helper()
	return w.runContext(context.Background(), args...)
}

func (w *world) runContext(ctx context.Context, args ...string) (status int, stdout, stderr string) {
	w.t.Helper()
	var out, err stream
	status = cmd.Main(ctx, &cmd.Process{
		Args: append([]string{"arid"}, args...), Env: w.env, Dir: w.dir, UID: os.Getuid(),
		Stdin: strings.NewReader(w.stdin), Stdout: &out, Stderr: &err, HTTP: w.http,
	})
	return status, out.String(), err.String()
}

// stream takes what arid and its hooks write, as a file would: both at once.
type stream struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *stream) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// must runs a command line that has to end with this status.
func (w *world) must(status int, args ...string) (stdout, stderr string) {
	w.t.Helper()
	got, stdout, stderr := w.run(args...)
	if got != status {
		w.t.Fatalf("arid %s: status %d, want %d\nstdout: %s\nstderr: %s", strings.Join(args, " "), got, status, stdout, stderr)
	}
	return stdout, stderr
}

// posts counts the requests that change something at the CA.
func (w *world) posts() (n int) {
	for _, r := range w.ca.Requests() {
		if r.Method == http.MethodPost {
			n++
		}
	}
	return n
}

// tree lists the files below a folder with mode and content, to be compared.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		b.WriteString(info.Mode().String() + " " + rel)
		switch {
		case info.Mode()&os.ModeSymlink != 0:
			target, _ := os.Readlink(path)
			b.WriteString(" -> " + target)
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			b.WriteString(" " + info.ModTime().String() + " " + string(data))
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return b.String()
}

// later lets the time be over that arid waits after failures, or that a CA asked for.
func (w *world) later() {
	w.t.Helper()
	later(w.t, w.base)
}

func later(t *testing.T, base string) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(base, "certs/*/state.json"))
	for _, file := range files {
		data, err := os.ReadFile(file)
		var state map[string]any
		if err == nil {
			err = json.Unmarshal(data, &state)
		}
		if err != nil {
			t.Fatal(err)
		}
		delete(state, "failed")
		delete(state, "hold")
		if owed, ok := state["owed"].(map[string]any); ok {
			delete(owed, "failed")
		}
		if data, err = json.Marshal(state); err == nil {
			err = os.WriteFile(file, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// forget lets the CA be new: what was remembered of it goes.
func (w *world) forget() {
	files, _ := filepath.Glob(filepath.Join(w.base, "accounts/*/state.json"))
	for _, file := range files {
		if err := os.Remove(file); err != nil {
			w.t.Fatal(err)
		}
	}
}
