package cmd_test

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"arid/internal/fakeca"
	"arid/keys"
)

// eavesdropper is a transport that notes what must not be told.
type eavesdropper struct {
	http.RoundTripper
	mu      sync.Mutex
	secrets map[string]bool
}

func (e *eavesdropper) note(secrets ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range secrets {
		if len(s) >= 8 { // else it is an empty payload
			e.secrets[s] = true
		}
	}
}

func (e *eavesdropper) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPost {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		var jws struct{ Protected, Payload, Signature string }
		if err := json.Unmarshal(body, &jws); err != nil {
			return nil, err
		}
		e.note(jws.Protected, jws.Payload, jws.Signature)
		payload, _ := base64.RawURLEncoding.DecodeString(jws.Payload)
		var account struct {
			Binding struct{ Protected, Payload, Signature string } `json:"externalAccountBinding"`
		}
		if json.Unmarshal(payload, &account) == nil {
			e.note(account.Binding.Protected, account.Binding.Payload, account.Binding.Signature)
		}
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	response, err := e.RoundTripper.RoundTrip(r)
	if err == nil {
		e.note(response.Header.Get("Replay-Nonce"))
	}
	return response, err
}

// forms are the ways in which a secret may be written.
func forms(secret string) []string {
	raw := []byte(secret)
	all := []string{secret, base64.RawStdEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw), hex.EncodeToString(raw)}
	if decoded, err := base64.RawURLEncoding.DecodeString(secret); err == nil && len(decoded) >= 8 {
		all = append(all, string(decoded), base64.RawStdEncoding.EncodeToString(decoded), hex.EncodeToString(decoded))
	}
	return all
}

// privateKey is the secret number of the key in a file.
func privateKey(t *testing.T, file string) string {
	t.Helper()
	key, err := keys.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	number, err := key.(*ecdsa.PrivateKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return string(number)
}

// traced reads the lines of a trace.
func traced(t *testing.T, file string) (lines []map[string]any) {
	t.Helper()
	for line := range strings.Lines(readFile(t, file)) {
		var o map[string]any
		if err := json.Unmarshal([]byte(line), &o); err != nil || !strings.HasPrefix(line, `{"schema":1,"time":"`) {
			t.Fatalf("%v: %q", err, line)
		}
		lines = append(lines, o)
	}
	return lines
}

func TestNoSecretIsInATrace(t *testing.T) {
	w := newWorld(t)
	const hmac = "0123456789abcdefghijklmnopqrstuv"
	w.ca.ExternalAccountRequired().EAB("key-id-of-mine", []byte(hmac)).RejectNonces(2)
	ear := &eavesdropper{RoundTripper: w.ca.HTTPClient().Transport, secrets: map[string]bool{}}
	w.http = ear
	log := filepath.Join(w.dir, "log")
	hook := w.file("hook", "#!/bin/sh\nprintf '%s\\n' \"$@\" >>"+log+"\n", 0o700)
	hmacFile := w.file("hmac", base64.RawURLEncoding.EncodeToString([]byte(hmac)), 0o600)
	w.domains("a.test www.a.test", "b.test", "c.test")
	w.env = append(w.env, "ARID_HOOK="+hook, "ARID_DNS_KEY=hmac-sha256:k:c2VjcmV0IHNlY3JldA==")
	file := filepath.Join(w.dir, "trace")
	args := []string{"renew", "--accept-terms", "--trace", file, "--eab-kid", "key-id-of-mine", "--eab-hmac-file", hmacFile}
	w.must(0, args...)

	// A CA that repeats all it has heard.
	w.ca.On(fakeca.NewOrder, func(rw http.ResponseWriter, r *http.Request) bool {
		body, _ := io.ReadAll(r.Body)
		ear.mu.Lock()
		detail := fmt.Sprintf("kid key-id-of-mine; %s; nonces", body)
		for s := range ear.secrets {
			detail = s + " " + detail
		}
		ear.mu.Unlock()
		rw.Header().Set("Content-Type", "application/problem+json")
		rw.WriteHeader(400)
		_ = json.NewEncoder(rw).Encode(map[string]string{"type": "urn:ietf:params:acme:error:malformed", "detail": "kid key-id-of-mine " + detail})
		return true
	})
	w.must(1, append(args, "-x", "b.test")...)

	for line := range strings.Lines(readFile(t, log)) { // tokens and key authorizations
		if word := strings.TrimSpace(line); len(word) >= 40 && !strings.Contains(word, "/") {
			ear.note(word)
			token, thumbprint, _ := strings.Cut(word, ".")
			ear.note(token, thumbprint)
		}
	}
	ear.note(hmac, "key-id-of-mine", "secret secret", privateKey(t, filepath.Join(w.accountFolder(), "account_key.pem")),
		privateKey(t, filepath.Join(w.base, "certs/a.test/privkey.pem")))
	trace := readFile(t, file)
	if len(ear.secrets) < 50 || !strings.Contains(trace, `"request":"new order"`) || !strings.Contains(trace, "kid … …") || !strings.Contains(trace, `"hook":"deploy_challenge"`) {
		t.Fatalf("%d secrets; trace:\n%s", len(ear.secrets), trace)
	}
	for secret := range ear.secrets {
		for _, form := range forms(secret) {
			if strings.Contains(trace, form) {
				t.Errorf("%q is in the trace", form)
			}
		}
	}
}

func TestATraceTellsEachRequest(t *testing.T) {
	w := newWorld(t)
	w.domains("a.test", "b.test", "c.test", "d.test", "e.test")
	file := filepath.Join(w.dir, "trace")
	w.must(0, "renew", "--accept-terms", "--trace", "trace") // in the working directory
	lines := traced(t, file)
	has(t, lines[0], map[string]any{"arid": "dev", "go": some, "platform": some, "ca": w.ca.URL()})
	asked := w.ca.Requests()
	if len(lines)-1 != len(asked) {
		t.Errorf("%d lines for %d requests", len(lines)-1, len(asked))
	}
	connections := 0
	for _, l := range lines[1:] {
		has(t, l, map[string]any{"request": some, "method": some, "url": words("^" + w.ca.Base()), "status": words("^20"), "duration": some, "protocol": "HTTP/2"})
		if l["new_connection"] == true {
			connections++
		}
	}
	if connections != 1 {
		t.Errorf("%d new connections are told", connections)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	w.ca.Problem(fakeca.NewOrder, 429, "rateLimited", "too many: see https://ca.test/limits", -1, "Retry-After: 36000")
	w.must(75, "renew", "-x", "a.test", "--trace", file) // appended
	more := traced(t, file)[len(lines):]
	has(t, more[0], map[string]any{"arid": "dev"})
	has(t, more[len(more)-1], map[string]any{"request": "new order", "status": 429, "retry_after": "36000",
		"problem": words("rateLimited$"), "detail": "too many: see https://ca.test/limits"})
}

func TestATraceOfEveryCommandThatTalksToACA(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(w.dir, "trace")
	next := func(what, status string, words ...string) {
		t.Helper()
		w.forget()
		w.must(0, append(words, "--trace", file)...)
		for _, l := range traced(t, file) {
			if l["request"] == what {
				has(t, l, map[string]any{"status": status})
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
				return
			}
		}
		t.Errorf("%v: no %q in the trace", words, what)
	}
	next("new account", "201", "register", "--accept-terms")
	next("finalize", "200", "sign", "a.test")
	next("account", "200", "account", "show")
	next("account update", "200", "account", "update", "--contact", "a@example.org")
	next("key change", "200", "account", "rollover")
	next("revocation", "200", "revoke", "a.test")
	next("account deactivation", "200", "account", "deactivate", "--yes")
	next("finalize", "200", "rehearse", "a.test")
}

func TestATraceOfACommandThatAsksNobody(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(w.dir, "trace")
	w.must(0, "version", "--trace", file)
	lines := traced(t, file)
	if len(lines) != 1 || lines[0]["ca"] != nil {
		t.Errorf("%v", lines)
	}
	has(t, lines[0], map[string]any{"arid": "dev"})
	if _, talk := w.must(74, "version", "--trace", "/dev/full"); strings.Count(talk, "--trace: write /dev/full") != 1 {
		t.Errorf("%q", talk)
	}
}

func TestATraceOfWhatLiesBesideTheCA(t *testing.T) {
	w := newWorld(t)
	withOCSP(t, w)
	w.env = append(w.env, "ARID_OCSP_FETCH=yes")
	file := filepath.Join(w.dir, "trace")
	w.must(0, "sign", "--accept-terms", "--trace", file, "a.test")
	lines := traced(t, file)
	has(t, lines[len(lines)-1], map[string]any{"request": "beside the CA", "method": "POST", "url": words("/ocsp$"), "status": 200, "sent": some, "received": some})
}

func TestATraceThatCannotBeWritten(t *testing.T) {
	w := newWorld(t)
	if err := syscall.Mkfifo(filepath.Join(w.dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(w.dir, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o1777); err != nil {
		t.Fatal(err)
	}
	target := w.file("target", "", 0o600)
	if err := os.Symlink(target, filepath.Join(open, "link")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		file   string
		status int
		says   string
	}{
		{"-", 64, `--trace: "-" is no file`},
		{"no-such-dir/trace", 74, "--trace: open " + w.dir + "/no-such-dir/trace: no such file or directory"},
		{".", 74, "--trace: open " + w.dir + ": is a directory"},
		{"/dev/full", 74, "--trace: write /dev/full: no space left on device"},
		{"pipe", 74, "--trace: open "}, // nobody reads it
		{"open/link", 74, "--trace: open "},
	} {
		out, talk := w.must(c.status, "sign", "--accept-terms", "--trace", c.file, "a.test")
		if !strings.HasPrefix(talk, "arid: "+c.says) || out != "" || strings.Count(talk, "--trace") != 1 {
			t.Errorf("%s: %q", c.file, talk)
		}
	}
	if n := len(w.ca.Requests()); n > 0 || readFile(t, target) != "" {
		t.Errorf("%d requests", n)
	}
	// A link where nobody else could have put it is followed.
	if err := os.Symlink(target, filepath.Join(w.dir, "link")); err != nil {
		t.Fatal(err)
	}
	w.must(0, "sign", "--accept-terms", "--trace", "link", "a.test")
	if len(traced(t, target)) < 5 {
		t.Error("nothing is in the file of the link")
	}
}

// The disk fills up while the run goes on: the certificate is made all the same.
func TestATraceThatFailsLater(t *testing.T) {
	w := newWorld(t)
	pipe := filepath.Join(w.dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	w.ca.On(fakeca.NewOrder, func(http.ResponseWriter, *http.Request) bool {
		reader.Close() // a second time does nothing
		return false
	})
	_, talk := w.must(74, "sign", "--accept-terms", "--trace", pipe, "a.test")
	if strings.Count(talk, "warning: --trace: write "+pipe+": broken pipe\n") != 1 || !strings.Contains(talk, "a.test: issued") {
		t.Errorf("%q", talk)
	}
	w.checkSet("a.test", "a.test")
}

func TestATraceTellsEachHookCall(t *testing.T) {
	w := newWorld(t)
	w.domains("a.test", "b.test")
	w.env = append(w.env, "ARID_HOOK="+w.file("hook", "#!/bin/sh\n[ \"$1 $2\" != 'deploy_cert a.test' ] || exit 3\n[ \"$1 $2\" != 'deploy_cert b.test' ] || kill -USR1 $$\n", 0o700))
	file := filepath.Join(w.dir, "trace")
	w.must(10, "renew", "--accept-terms", "--trace", file)
	calls := map[string]int{}
	ended := ""
	for _, l := range traced(t, file) {
		event, isHook := l["hook"].(string)
		if !isHook {
			continue
		}
		calls[event]++
		has(t, l, map[string]any{"program": filepath.Join(w.dir, "hook"), "duration": some, "request": nil, "error": nil})
		switch event {
		case "deploy_challenge":
			has(t, l, map[string]any{"arguments": 3, "status": 0, "signal": nil})
		case "deploy_cert":
			has(t, l, map[string]any{"arguments": 6})
			ended += fmt.Sprint(l["status"], l["signal"], ";")
		}
	}
	if calls["startup_hook"] != 1 || calls["exit_hook"] != 1 || calls["generate_csr"] != 2 || calls["deploy_challenge"] != 2 || calls["clean_challenge"] != 2 || calls["sync_cert"] != 2 {
		t.Errorf("%v", calls)
	}
	if !strings.Contains(ended, "3 <nil>;") || !strings.Contains(ended, "0SIGUSR1;") {
		t.Errorf("%q", ended)
	}
}
