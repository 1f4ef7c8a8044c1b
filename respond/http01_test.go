package respond

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

const token = "DGyRejmCefe7v4NfDGDKfA_-0123456789"

func TestHTTP01(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret-secret-secret")
	write(t, outside, "secret")
	dir := t.TempDir()
	write(t, filepath.Join(dir, token), token+".thumbprint")
	write(t, filepath.Join(dir, "index.html-index.html"), "page")
	write(t, filepath.Join(dir, "short"), "short")
	most := "exactly-four-KiB." + strings.Repeat("x", 4096-len("exactly-four-KiB."))
	write(t, filepath.Join(dir, "exactly-four-KiB"), most)
	write(t, filepath.Join(dir, "more-than-four-KiB"), "more-than-four-KiB."+strings.Repeat("x", 4096))
	write(t, filepath.Join(dir, "with-a-line-feed"), "with-a-line-feed.thumbprint\r\n")
	write(t, filepath.Join(dir, "authorized_keys_2"), "ssh-ed25519 AAAA")
	write(t, filepath.Join(dir, "begins_with_its_name"), "begins_with_its_name.conf = secret")
	write(t, filepath.Join(dir, "without_a_thumbprint"), "without_a_thumbprint.")
	write(t, filepath.Join(dir, "an_empty_file_here"), "")
	long := strings.Repeat("l", 255) // as long as a file name can be
	write(t, filepath.Join(dir, long), long+".thumbprint")
	for _, err := range []error{
		os.Symlink(outside, filepath.Join(dir, "link-to-the-outside")),
		os.Symlink(token, filepath.Join(dir, "link-to-the-inside")),
		syscall.Mkfifo(filepath.Join(dir, "a-fifo-nobody-writes"), 0o644),
		os.Mkdir(filepath.Join(dir, "directory-directory"), 0o755),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}

	const under = "/.well-known/acme-challenge/"
	tests := []struct {
		what, method, path string
		body               string // "" = 404
	}{
		{"a token", "GET", under + token, token + ".thumbprint"},
		{"a token with a query", "GET", under + token + "?a=b", token + ".thumbprint"},
		{"the longest file name", "GET", under + long, long + ".thumbprint"},
		{"the largest file", "GET", under + "exactly-four-KiB", most},
		{"a line feed after it", "GET", under + "with-a-line-feed", "with-a-line-feed.thumbprint\r\n"},
		{"another file", "GET", under + "authorized_keys_2", ""},
		{"another file that begins alike", "GET", under + "begins_with_its_name", ""},
		{"no thumbprint", "GET", under + "without_a_thumbprint", ""},
		{"an empty file", "GET", under + "an_empty_file_here", ""},
		{"one byte too large", "GET", under + "more-than-four-KiB", ""},
		{"no such token", "GET", under + "0123456789abcdef", ""},
		{"posting", "POST", under + token, ""},
		{"options", "OPTIONS", under + token, ""},
		{"an unknown method", "BREW", under + token, ""},
		{"a name with a dot", "GET", under + "index.html-index.html", ""},
		{"a name too short for a token", "GET", under + "short", ""},
		{"a name too long for a token", "GET", under + strings.Repeat("l", 257), ""},
		{"a name too long for the file system", "GET", under + strings.Repeat("l", 256), ""},
		{"the directory", "GET", under, ""},
		{"the directory without slash", "GET", strings.TrimSuffix(under, "/"), ""},
		{"a directory below", "GET", under + "directory-directory", ""},
		{"a slash at the end", "GET", under + token + "/", ""},
		{"upwards", "GET", under + "../acme-challenge/" + token, ""},
		{"upwards, escaped", "GET", under + "..%2facme-challenge%2f" + token, ""},
		{"a letter escaped", "GET", under + strings.Replace(token, "D", "%44", 1), ""},
		{"the prefix escaped", "GET", "/%2ewell-known/acme-challenge/" + token, ""},
		{"a NUL", "GET", under + token + "%00", ""},
		{"slashes doubled", "GET", "/" + under + token, ""},
		{"another case", "GET", "/.Well-Known/acme-challenge/" + token, ""},
		{"the root", "GET", "/", ""},
		{"a link to the outside", "GET", under + "link-to-the-outside", ""},
		{"a link to the inside", "GET", under + "link-to-the-inside", ""},
		{"a FIFO", "GET", under + "a-fifo-nobody-writes", ""},
	}
	h := HTTP01(dir)
	for _, tt := range tests {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(tt.method, "http://any.example.test/", nil)
		u, err := url.Parse("http://any.example.test" + tt.path)
		if err != nil {
			t.Fatal(err)
		}
		r.URL = u
		h.ServeHTTP(w, r)
		status, body := http.StatusOK, tt.body
		if tt.body == "" {
			status, body = http.StatusNotFound, "not found\n"
		}
		if w.Code != status || w.Body.String() != body {
			t.Errorf("%s: %s %s: %d %.60q, want %d %.60q", tt.what, tt.method, tt.path, w.Code, w.Body, status, body)
		}
	}
}

func TestIsToken(t *testing.T) {
	tests := []struct {
		s    string
		want bool
	}{
		{strings.Repeat("a", 15), false},
		{strings.Repeat("a", 16), true},
		{strings.Repeat("a", 256), true},
		{strings.Repeat("a", 257), false},
		{"azAZ09_-azAZ09_-", true},
		{"azAZ09+/azAZ09+/", false},
		{"azAZ09_-azAZ09_=", false},
		{"azAZ09_-azAZ09_\n", false},
		{"azAZ09_-azAZ09é", false},
	}
	for _, tt := range tests {
		if got := isToken(tt.s); got != tt.want {
			t.Errorf("%.40q: %v, want %v", tt.s, got, tt.want)
		}
	}
}

func TestHTTP01DirectoryMadeLater(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	s := httptest.NewServer(HTTP01(dir))
	defer s.Close()
	address := s.URL + "/.well-known/acme-challenge/" + token
	if status, _ := get(t, address); status != 404 {
		t.Errorf("no directory: status %d, want 404", status)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, token), keyAuth)
	if status, body := get(t, address); status != 200 || body != keyAuth {
		t.Errorf("directory made: %d %q, want 200", status, body)
	}
}

// What the server says on the wire, to requests no client library makes.
func TestServeHTTP01(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, token), keyAuth)
	address, stop := serve(t, dir)

	tests := []struct {
		what, request string
		status        int
		body          string
	}{
		{"HTTP/1.0 without Host", "GET /.well-known/acme-challenge/" + token + " HTTP/1.0\r\n\r\n", 200, keyAuth},
		{"a proxy's request", "GET http://x.test/.well-known/acme-challenge/" + token + " HTTP/1.1\r\nHost: x.test\r\nConnection: close\r\n\r\n", 200, keyAuth},
		{"upwards", "GET /.well-known/acme-challenge/../acme-challenge/" + token + " HTTP/1.1\r\nHost: x.test\r\nConnection: close\r\n\r\n", 404, "not found\n"},
		{"options of the server", "OPTIONS * HTTP/1.1\r\nHost: x.test\r\nConnection: close\r\n\r\n", 404, "not found\n"},
		{"a path that is markup", "GET /<script>alert(1)</script> HTTP/1.1\r\nHost: <b>\r\nConnection: close\r\n\r\n", 400, "400 Bad Request: malformed Host header"},
		{"a large header", "GET / HTTP/1.1\r\nHost: x.test\r\nX: " + strings.Repeat("x", 16<<10) + "\r\n\r\n", 431, "431 Request Header Fields Too Large"},
	}
	for _, tt := range tests {
		c := dial(t, address)
		if _, err := io.WriteString(c, tt.request); err != nil {
			t.Fatalf("%s: %v", tt.what, err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("%s: %v", tt.what, err)
		}
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != tt.status || string(body) != tt.body {
			t.Errorf("%s: %d %q, want %d %q", tt.what, resp.StatusCode, body, tt.status, tt.body)
		}
		c.Close()
	}

	resp, err := http.Head("http://" + address + "/.well-known/acme-challenge/" + token)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 || resp.ContentLength != int64(len(keyAuth)) || resp.Header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("HEAD: %d, length %d, %q", resp.StatusCode, resp.ContentLength, resp.Header)
	}

	if err := stop(); err != nil {
		t.Errorf("stopped by its context: %v, want nil", err)
	}
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Error("still listening after its end")
	}
}

// One that connects and says nothing must not hold up the end.
func TestServeHTTP01EndsWithIdlePeers(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := newPipes()
		ended := make(chan error, 1)
		go func() { ended <- ServeHTTP01(ctx, l, dir) }()
		c := l.dial()
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\n"); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		cancel()
		if err := <-ended; err != nil || time.Since(begin) != time.Second {
			t.Errorf("after %s: %v", time.Since(begin), err)
		}
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the connection outlives the server: %v", err)
		}
	})
}

func TestServeHTTP01ListenerFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := ServeHTTP01(t.Context(), l, t.TempDir()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v, want net.ErrClosed", err)
	}
}

// FuzzHTTP01 looks for a path that answers with anything but the one token.
func FuzzHTTP01(f *testing.F) {
	dir := f.TempDir()
	if err := os.WriteFile(filepath.Join(dir, token), []byte(keyAuth), 0o644); err != nil {
		f.Fatal(err)
	}
	h := HTTP01(dir)
	f.Add("/.well-known/acme-challenge/" + token)
	f.Add("/.well-known/acme-challenge/../" + token)
	f.Fuzz(func(t *testing.T, path string) {
		r := httptest.NewRequest("GET", "http://any.example.test/", nil)
		u, err := url.Parse("http://any.example.test" + path)
		if err != nil {
			return
		}
		r.URL = u
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		right := u.EscapedPath() == "/.well-known/acme-challenge/"+token
		if (w.Code == 200) != right || (w.Code != 200 && w.Code != 404) {
			t.Errorf("%q: %d", path, w.Code)
		}
	})
}

func serve(t *testing.T, dir string) (address string, stop func() error) {
	t.Helper()
	return serveBy(t, dir, ServeHTTP01)
}

// serveBy serves a directory until stop is called, which gives serve's error.
func serveBy(t *testing.T, dir string, serve func(context.Context, net.Listener, string) error) (address string, stop func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, l, dir) }()
	return l.Addr().String(), func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(10 * time.Second):
			return fmt.Errorf("not ended 10 s after its context")
		}
	}
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func write(t *testing.T, file, data string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestAFIFOForTheDirectoryIsNotWaitedFor(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(dir, 0o644); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	HTTP01(dir).ServeHTTP(w, httptest.NewRequest("GET", "/.well-known/acme-challenge/0123456789abcdef", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("status %d", w.Code)
	}
}
