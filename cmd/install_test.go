package cmd_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"arid/cmd"
)

// tlsServer serves what a file has, as it was when the server was last told to read
// it: by a file beside it, whose name ends with ".told", as reload makes it.
type tlsServer struct {
	t          *testing.T
	cert, key  string
	addr, told string

	mu   sync.Mutex
	pair tls.Certificate
	lazy int // how often it shows what it had before after it was told
}

// serve starts one. mail makes it one that wants to hear STARTTLS.
func serveFiles(t *testing.T, cert, key string, mail bool) *tlsServer {
	t.Helper()
	s := &tlsServer{t: t, cert: cert, key: key, told: cert + ".told"}
	if err := s.read(); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s.addr = l.Addr().String()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if mail && !starts(conn) {
					return
				}
				inner := tls.Server(conn, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.current(), nil }})
				_, _ = io.Copy(io.Discard, inner)
			}()
		}
	}()
	return s
}

// starts is SMTP as far as TLS.
func starts(conn net.Conn) bool {
	buf := make([]byte, 512)
	for _, say := range []string{"220 mail\r\n", "250-mail\r\n250 STARTTLS\r\n", "220 go\r\n"} {
		if _, err := io.WriteString(conn, say); err != nil {
			return false
		}
		if strings.HasPrefix(say, "220 go") {
			return true
		}
		if _, err := conn.Read(buf); err != nil {
			return false
		}
	}
	return false
}

func (s *tlsServer) read() error {
	pair, err := tls.LoadX509KeyPair(s.cert, s.key)
	if err == nil {
		s.pair = pair
	}
	return err
}

func (s *tlsServer) current() *tls.Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := os.Stat(s.told); err == nil && s.lazy > 0 {
		s.lazy--
	} else if os.Remove(s.told) == nil {
		if err := s.read(); err != nil {
			s.t.Errorf("the server cannot use its files: %v", err)
		}
	}
	pair := s.pair
	return &pair
}

// reload is what tells it.
func (s *tlsServer) reload() string { return "touch " + s.told }

// serves is what a client sees: the DER of the leaf.
func (s *tlsServer) serves() string {
	s.t.Helper()
	conn, err := tls.Dial("tcp", s.addr, &tls.Config{InsecureSkipVerify: true, ServerName: "a.test"})
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	return string(conn.ConnectionState().PeerCertificates[0].Raw)
}

// liveLeaf is the leaf that the tree shows.
func (w *world) liveLeaf(alias string) string {
	w.t.Helper()
	return firstBlock(w.t, filepath.Join(w.base, "certs", alias, "cert.pem"))
}

func firstBlock(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		t.Fatalf("%s: %q", path, data)
	}
	return string(block.Bytes)
}

// signed gets certificates, each for a name.
func (w *world) signed(names ...string) {
	w.t.Helper()
	for _, name := range names {
		w.must(0, "sign", "--accept-terms", "-x", name)
	}
}

func (w *world) text(name string) string {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil && !os.IsNotExist(err) {
		w.t.Fatal(err)
	}
	return string(data)
}

// deployWorld is one with a certificate in place, and a server that serves it.
func deployWorld(t *testing.T) (*world, *tlsServer, []string) {
	t.Helper()
	w := newWorld(t)
	w.signed("a.test")
	key, cert := filepath.Join(w.dir, "a.key"), filepath.Join(w.dir, "a.pem")
	files := []string{"install", "a.test", "--parts", "key", "--to", key, "--parts", "fullchain", "--to", cert}
	if _, talk := w.must(0, files...); talk != fmt.Sprintf("arid: a.test: installed: %s, %s\n", key, cert) {
		t.Errorf("said %q", talk)
	}
	return w, serveFiles(t, cert, key, false), files
}

func TestTheNewCertificateIsServed(t *testing.T) {
	w, s, files := deployWorld(t)
	files = append(files, "--preflight", "[ -n \"$ARID_HOOK_FILES\" ]", "--reload", "echo told >>"+w.dir+"/log; "+s.reload(), "--verify", s.addr)
	before := s.serves()
	if out, talk := w.must(0, files...); out != "" || talk != "" || w.text("log") != "" {
		t.Errorf("nothing was new: %q, %q, %q", out, talk, w.text("log"))
	}
	w.signed("a.test")
	if _, talk := w.must(0, files...); !strings.HasPrefix(talk, "arid: a.test: installed: ") {
		t.Errorf("said %q", talk)
	}
	if now := s.serves(); now == before || now != w.liveLeaf("a.test") {
		t.Error("the server does not show the new certificate")
	}
	w.must(0, files...)
	if w.text("log") != "told\n" {
		t.Errorf("told %q", w.text("log"))
	}
}

// In a rehearsal the hooks are the user's own, and the certificate is nobody's.
func TestARehearsalInstallsNothing(t *testing.T) {
	w, s, files := deployWorld(t)
	before := s.serves()
	w.signed("a.test")
	w.env = append(w.env, "ARID_HOOK_REHEARSAL=yes")
	_, talk := w.must(0, append(files, "--reload", "echo told >>"+w.dir+"/log; "+s.reload())...)
	if talk != "arid: a rehearsal: nothing is installed\n" || w.text("log") != "" || s.serves() != before {
		t.Errorf("said %q, told %q", talk, w.text("log"))
	}
	if firstBlock(t, filepath.Join(w.dir, "a.pem")) == w.liveLeaf("a.test") {
		t.Error("the file is another one")
	}
}

func TestADeploymentThatFailsIsTakenBack(t *testing.T) {
	for _, tc := range []struct {
		name      string
		preflight string
		reload    string // RELOAD is what tells the server
		verify    bool
		told      string // how often
		why       string
		hint      string
	}{
		{"preflight", "exit 3", "echo told >>log; RELOAD", true, "", `"exit 3" --preflight: exit status 3`, "what was there before is back in place"},
		{"preflight, killed", "kill -9 $$", "echo told >>log; RELOAD", true, "", `--preflight: killed by SIGKILL`, "what was there before is back in place"},
		{"reload", "true", "echo told >>log; RELOAD; [ $(wc -l <log) -gt 1 ]", true, "told\ntold\n", "--reload: exit status 1", "and the server was told again"},
		{"verify", "true", "echo told >>log", true, "told\ntold\n", "a.test: --verify 127.0.0.1:", "and the server was told again"},
		{"verify without a reload", "true", "", true, "", "shows another certificate, for a.test, until ", "what was there before is back in place"},
		{"the server cannot be told again", "true", "echo told >>log; exit 1", false, "told\ntold\n", "--reload: exit status 1", "but the server could not be told"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, s, files := deployWorld(t)
			before := s.serves()
			files = append(files, "--preflight", tc.preflight, "--verify-wait", "0")
			if tc.reload != "" {
				files = append(files, "--reload", "cd "+w.dir+"; "+strings.ReplaceAll(tc.reload, "RELOAD", s.reload()))
			}
			if tc.verify {
				files = append(files, "--verify", s.addr)
			}
			w.signed("a.test")
			listed := tree(t, w.dir)
			out, talk := w.must(10, files...)
			if out != "" || !strings.Contains(talk, tc.why) || !strings.Contains(talk, "arid: hint: ") || !strings.Contains(talk, tc.hint) {
				t.Errorf("said %q, %q", out, talk)
			}
			if s.serves() != before || firstBlock(t, s.cert) != before || w.liveLeaf("a.test") == before {
				t.Error("what was there before is not back")
			}
			if got := w.text("log"); got != tc.told {
				t.Errorf("told %q", got)
			}
			os.Remove(filepath.Join(w.dir, "log"))
			os.Remove(s.told)
			if now := tree(t, w.dir); now != listed {
				t.Errorf("left behind:\n%s\nwas\n%s", now, listed)
			}
			// It is tried again, not taken for done.
			if got, _, _ := w.run(files...); got != 10 {
				t.Errorf("the next run: status %d", got)
			}
		})
	}
}

func TestOneReloadForManyCertificates(t *testing.T) {
	w := newWorld(t)
	w.signed("a.test", "b.test", "c.test")
	dir := filepath.Join(w.dir, "tls")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	note := `printf '%s|%s\n' "$ARID_HOOK_CHANGED" "$ARID_HOOK_FILES" >>` + w.dir + "/log"
	files := []string{"install", "a.test", "c.test", "b.test", "a.test", "--parts", "key,fullchain", "--to", "tls/{name}.pem", "--reload", note}
	_, talk := w.must(0, files...)
	if want := fmt.Sprintf("a.test c.test b.test|%s/a.test.pem\n%s/c.test.pem\n%s/b.test.pem\n", dir, dir, dir); w.text("log") != want {
		t.Errorf("told %q, want %q", w.text("log"), want)
	}
	if strings.Count(talk, "installed") != 3 {
		t.Errorf("said %q", talk)
	}
	os.Remove(filepath.Join(w.dir, "log"))
	w.signed("c.test")
	w.must(0, files...)
	if want := fmt.Sprintf("c.test|%s/c.test.pem\n", dir); w.text("log") != want {
		t.Errorf("told %q, want %q", w.text("log"), want)
	}
}

// What is new is told in the environment. A name is nothing that a shell reads.
func TestNoNameComesIntoAShellLine(t *testing.T) {
	w := newWorld(t)
	const alias = "a.test;touch${IFS}owned;$(touch${IFS}owned)"
	w.must(0, "sign", "--accept-terms", "--alias", alias, "a.test")
	w.must(0, "install", alias, "--parts", "fullchain", "--to", "{name}.pem", "--reload", `printf %s "$ARID_HOOK_CHANGED" >`+w.dir+"/log")
	if w.text("log") != alias {
		t.Errorf("told %q", w.text("log"))
	}
	for _, dir := range []string{w.dir, "."} {
		if _, err := os.Stat(filepath.Join(dir, "owned")); err == nil {
			t.Error("a name was run")
		}
	}
	if firstBlock(t, filepath.Join(w.dir, alias+".pem")) != w.liveLeaf(alias) {
		t.Error("not installed")
	}
}

func TestWhichCertificateIsInstalled(t *testing.T) {
	w := newWorld(t)
	w.must(0, "sign", "--accept-terms", "--alias", "one", "a.test", "b.test")
	w.must(0, "sign", "--accept-terms", "--alias", "two", "b.test", "BÜCHER.test")
	for _, tc := range []struct {
		word   string
		status int
		alias  string
		says   string
	}{
		{"one", 0, "one", ""},
		{"a.test", 0, "one", ""},
		{"A.TEST", 0, "one", ""},
		{"bücher.test", 0, "two", ""},
		{"b.test", 65, "", `"one" and "two" are for it`},
		{"c.test", 65, "", "there is no certificate for it"},
		{"../certs/one", 65, "", "there is no certificate for it"},
	} {
		os.Remove(filepath.Join(w.dir, "file.pem"))
		_, talk := w.must(tc.status, "install", tc.word, "--parts", "cert", "--to", "file.pem")
		if tc.status != 0 {
			if !strings.Contains(talk, tc.says) {
				t.Errorf("%s: %q", tc.word, talk)
			}
			continue
		}
		if firstBlock(t, filepath.Join(w.dir, "file.pem")) != w.liveLeaf(tc.alias) {
			t.Errorf("%s is another certificate", tc.word)
		}
	}
}

func TestInstallRefusesWhatMakesNoSense(t *testing.T) {
	w := newWorld(t)
	w.signed("a.test", "b.test")
	for _, tc := range []struct {
		args   string
		status int
		says   string
	}{
		{"", 64, "no name given"},
		{"a.test", 64, "--to: no file given"},
		{"a.test --to x", 64, "what is to be in it?"},
		{"a.test --parts key --to dir/", 64, "names no file"},
		{"a.test --parts keys --to x", 64, "none of key, cert, chain, fullchain"},
		{"a.test --parts key --to x --parts cert --to y --mode 0600", 64, "--mode stands after the last --to"},
		{"a.test b.test --parts key --to x", 64, "one file for 2 names"},
		{"a.test --parts key --to x --mode 0644", 64, "lets every user of this host read the private key"},
		{"a.test --parts cert --to x --mode 0666", 64, "lets every user of this host write"},
		{"a.test --parts cert --to x --mode rw", 64, "no mode like 0640"},
		{"a.test --parts cert --to x --owner no-such-user", 64, `there is no user "no-such-user"`},
		{"a.test --parts cert --to x --group no-such-group", 64, `there is no group "no-such-group"`},
		{"a.test --parts cert --to x --owner root:root --group daemon", 64, "which group?"},
		{"a.test --parts cert --to x --as root", 64, "--as is for --preflight"},
		{"a.test --parts cert --to x --preflight true --as no-such-user", 64, `there is no user "no-such-user"`},
		{"a.test --parts cert --to x --stage --reload true", 64, "--stage"},
		{"a.test --parts cert --to x --verify host", 64, "no HOST:PORT"},
		{"a.test --parts cert --to x --to ./x", 64, "written twice"},
		{"a.test --parts cert --to none/x", 74, `/none": no such file or directory` + "\narid: hint: directories for keys are not made here: make it first"},
		{"a.test --parts cert --to webroot/x/y", 74, `/webroot/x": no such file or directory`},
		{"a.test --parts cert --to webroot", 65, "is not a regular file"},
	} {
		if _, talk := w.must(tc.status, append([]string{"install"}, strings.Fields(tc.args)...)...); !strings.Contains(talk, tc.says) {
			t.Errorf("%s: %q", tc.args, talk)
		}
	}
	// Where there is one file, it does not matter what comes first.
	w.must(0, "install", "a.test", "--to", "x", "--mode", "0640", "--parts", "key")
	if info, err := os.Stat(filepath.Join(w.dir, "x")); err != nil || info.Mode() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}
	// What was said before the first --to holds for all.
	w.must(0, "install", "a.test", "--mode", "0400", "--parts", "key", "--to", "y", "--parts", "cert", "--to", "z")
	for _, name := range []string{"y", "z"} {
		if info, err := os.Stat(filepath.Join(w.dir, name)); err != nil || info.Mode() != 0o400 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

func TestPreflightAsAnotherUser(t *testing.T) {
	w := newWorld(t)
	w.signed("a.test")
	args := []string{"install", "a.test", "--parts", "cert", "--to", "x", "--as", "nobody", "--reload", "id -un", "--preflight", "id -un; id -Gn; echo $USER $LOGNAME"}
	if os.Getuid() != 0 {
		if _, talk := w.must(77, args...); !strings.Contains(talk, "only root") {
			t.Errorf("said %q", talk)
		}
		return
	}
	if _, talk := w.must(0, args...); !strings.HasPrefix(talk, "nobody\nnogroup\nnobody nobody\nroot\narid: a.test: installed") {
		t.Errorf("ran as %q", talk)
	}
}

// Told to end before anything was done: nothing is.
func TestInstallThatIsToldToEndAtOnce(t *testing.T) {
	w, s, files := deployWorld(t)
	before := s.serves()
	w.signed("a.test")
	ctx, end := context.WithCancelCause(t.Context())
	end(&cmd.SignalError{Signal: syscall.SIGTERM})
	status, _, talk := w.runContext(ctx, append(files, "--reload", "echo told >>"+w.dir+"/log")...)
	if status != 128+15 || firstBlock(t, s.cert) != before || w.text("log") != "" {
		t.Errorf("status %d, %q, told %q", status, talk, w.text("log"))
	}
}

// A command of the user's has no end, reads, or talks without end.
func TestCommandsThatMisbehave(t *testing.T) {
	w, s, files := deployWorld(t)
	before := s.serves()
	w.signed("a.test")
	config := w.file("config", "HOOK_TIMEOUT=1\n", 0o600)
	for _, tc := range []struct {
		name, flag, line string
		status           int
		says             string
	}{
		{"a preflight without end", "--preflight", "exec sleep 600", 10, "--preflight: ended after 1s, its time limit"},
		{"a reload without end", "--reload", "echo told >>" + w.dir + "/log; [ $(wc -l <" + w.dir + "/log) -gt 1 ] || exec sleep 600", 10, "--reload: ended after 1s, its time limit"},
		{"one that reads", "--preflight", "cat; read line; [ -z \"$line\" ]", 0, "installed"},
	} {
		args := append(files, tc.flag, tc.line, "--verify-wait", "0")
		if strings.Contains(tc.says, "time limit") { // which may be too short for a command that ends, where much goes on
			args = append(args, "--config", config)
		}
		_, talk := w.must(tc.status, args...)
		if !strings.Contains(talk, tc.says) {
			t.Errorf("%s: said %q", tc.name, talk)
		}
		if back := firstBlock(t, s.cert) == before; back != (tc.status != 0) {
			t.Errorf("%s: what was there before is back: %v", tc.name, back)
		}
	}
	w.signed("a.test")
	_, talk := w.must(0, append(files, "--reload", "head -c 3000000 /dev/zero | tr '\\0' x; seq 100000")...)
	if !strings.Contains(talk, "\n100000\n") || !strings.Contains(talk, "installed") {
		t.Errorf("%d bytes", len(talk))
	}
	w.signed("a.test")
	listed := tree(t, w.dir)
	_, talk = w.must(78, append(files, "--config", w.file("bad", "HOOK_TIMEOUT=soon\n", 0o600), "--preflight", "true")...)
	os.Remove(filepath.Join(w.dir, "bad"))
	if now := tree(t, w.dir); !strings.Contains(talk, "HOOK_TIMEOUT") || now != listed {
		t.Errorf("said %q, and left\n%s", talk, now)
	}
}

// All servers that use a certificate are told, whatever one of them says.
func TestOneCertificateForSeveralServers(t *testing.T) {
	w, _, files := deployWorld(t)
	w.signed("a.test")
	note := func(word string) string { return "echo " + word + " >>" + w.dir + "/log" }
	told := func() string {
		text := w.text("log")
		os.Remove(filepath.Join(w.dir, "log"))
		return strings.Join(strings.Fields(text), " ")
	}
	_, talk := w.must(10, append(files, "--preflight", note("look"), "--reload", note("one")+"; exit 3", "--reload", note("two"), "--reload", note("three")+"; exit 4")...)
	if got := told(); got != "look one two three one two three" || !strings.Contains(talk, "--reload: exit status 3") || !strings.Contains(talk, "warning: ") || !strings.Contains(talk, "--reload: exit status 4") {
		t.Errorf("told %q, said %q", got, talk)
	}
	w.must(10, append(files, "--preflight", note("look")+"; exit 3", "--preflight", note("no more"), "--reload", note("one"))...)
	if got := told(); got != "look" {
		t.Errorf("told %q", got)
	}
	w.must(0, append(files, "--reload", note("one"), "--reload", note("two"))...)
	if got := told(); got != "one two" {
		t.Errorf("told %q", got)
	}
}

func TestOwnersWithoutAName(t *testing.T) {
	w := newWorld(t)
	w.signed("a.test")
	status := 0
	if os.Getuid() != 0 {
		status = 77
	}
	w.must(status, "install", "a.test", "--parts", "cert", "--owner", "4123:4124", "--to", "x")
	info, err := os.Lstat(filepath.Join(w.dir, "x"))
	if status != 0 {
		if err == nil {
			t.Error("it was installed")
		}
		return
	}
	if stat := info.Sys().(*syscall.Stat_t); stat.Uid != 4123 || stat.Gid != 4124 {
		t.Errorf("%d:%d", stat.Uid, stat.Gid)
	}
	for _, bad := range []string{"-1", "4123x", "4294967296", "root:-1"} {
		w.must(64, "install", "a.test", "--parts", "cert", "--owner", bad, "--to", "x")
	}
}

func TestInstallThatIsToldToEnd(t *testing.T) {
	for _, tc := range []struct {
		flag string
		old  bool // is back
	}{
		{"--preflight", true},
		{"--reload", false},
	} {
		w, s, files := deployWorld(t)
		before := s.serves()
		w.signed("a.test")
		ctx, end := context.WithCancelCause(t.Context())
		fifo := filepath.Join(w.dir, "fifo")
		if err := syscall.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = os.ReadFile(fifo) // until the command has begun
			end(&cmd.SignalError{Signal: syscall.SIGTERM})
		}()
		status, _, talk := w.runContext(ctx, append(files, tc.flag, "echo >"+fifo+"; exec sleep 60")...)
		if status != 128+15 {
			t.Errorf("%s: status %d, %q", tc.flag, status, talk)
		}
		if back := firstBlock(t, s.cert) == before; back != tc.old {
			t.Errorf("%s: what was there before is back: %v", tc.flag, back)
		}
		w.must(0, append(files, "--reload", s.reload(), "--verify", s.addr)...)
		if s.serves() != w.liveLeaf("a.test") {
			t.Errorf("%s: the next run does not finish it", tc.flag)
		}
	}
}

func TestInstallVerifiesAMailServer(t *testing.T) {
	w := newWorld(t)
	w.signed("a.test")
	both := filepath.Join(w.dir, "both.pem")
	files := []string{"install", "a.test", "--parts", "fullchain,key", "--to", both}
	w.must(0, files...)
	s := serveFiles(t, both, both, true)
	w.signed("a.test")
	w.must(0, append(files, "--reload", s.reload(), "--verify", s.addr+"/smtp")...)
	w.signed("a.test")
	if _, talk := w.must(10, append(files, "--reload", s.reload(), "--verify", s.addr, "--verify-wait", "0")...); !strings.Contains(talk, "which is no TLS") {
		t.Errorf("said %q", talk)
	}
	if _, talk := w.must(10, append(files, "--verify", "127.0.0.1:1", "--verify-wait", "0")...); !strings.Contains(talk, "connection refused") {
		t.Errorf("said %q", talk)
	}
}

// A server that takes its time to read its files is looked at again.
func TestInstallWaitsForTheServer(t *testing.T) {
	w, s, files := deployWorld(t)
	w.signed("a.test")
	s.lazy = 3
	w.must(0, append(files, "--reload", s.reload(), "--verify", s.addr)...)
	if s.lazy != 0 || s.serves() != w.liveLeaf("a.test") {
		t.Errorf("looked at %d times too few", s.lazy)
	}
}

func TestStageAndPromote(t *testing.T) {
	w := newWorld(t)
	w.signed("a.test")
	args := []string{"install", "a.test", "--stage", "--parts", "fullchain", "--to", "a.pem", "--parts", "key", "--to", "a.key"}
	promote := []string{"promote", "a.pem", "a.key"}
	if _, talk := w.must(65, promote...); !strings.Contains(talk, "left alone: ") || !strings.Contains(talk, "there are none") {
		t.Errorf("said %q", talk)
	}
	if _, talk := w.must(0, append(promote, "--or-self-signed")...); !strings.Contains(talk, "self-signed") {
		t.Errorf("said %q", talk)
	}
	_, talk := w.must(0, args...)
	if want := fmt.Sprintf("arid: a.test: staged: %s/a.pem.upd, %s/a.key.upd\n", w.dir, w.dir); talk != want {
		t.Errorf("said %q", talk)
	}
	if _, talk := w.must(0, args...); talk != "" {
		t.Errorf("said %q", talk)
	}
	if _, talk := w.must(0, promote...); !strings.HasPrefix(talk, "arid: a.pem: promoted, for a.test, until ") {
		t.Errorf("said %q", talk)
	}
	if _, talk := w.must(0, promote...); talk != "" {
		t.Errorf("said %q", talk)
	}
	if firstBlock(t, filepath.Join(w.dir, "a.pem")) != w.liveLeaf("a.test") {
		t.Error("not in place")
	}
	w.signed("a.test")
	w.must(0, args...)
	if _, talk := w.must(0, append(promote, "--grace", "100h", "-v")...); !strings.Contains(talk, "waits until") {
		t.Errorf("said %q", talk)
	}
	w.file("a.key.upd", "-----BEGIN", 0o600)
	if _, talk := w.must(65, promote...); !strings.Contains(talk, "left alone: ") || !strings.Contains(talk, "a.key.upd") {
		t.Errorf("said %q", talk)
	}
	for _, bad := range [][]string{{"promote"}, {"promote", "a.pem"}, {"promote", "a.pem", "a.pem"}, {"promote", "a", "b", "c"}, append(promote, "--backups", "-1"), append(promote, "--grace", "-1s")} {
		w.must(64, bad...)
	}
}

func TestPromoteLooksAtTheDirectories(t *testing.T) {
	w := newWorld(t)
	w.signed("a.test")
	dir, err := os.MkdirTemp("/tmp", "arid-promote") // nothing above it is closed
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	cert, key := filepath.Join(dir, "a.pem"), filepath.Join(dir, "a.key")
	w.must(0, "install", "a.test", "--stage", "--parts", "fullchain", "--to", cert, "--parts", "key", "--to", key)
	for _, tc := range []struct {
		mode   os.FileMode
		strict bool
		status int
		warns  string
	}{
		{0o755, true, 77, "arid: "},
		{0o755, false, 0, "arid: warning: "},
		{0o755, false, 0, ""}, // nothing is done any more
		{0o700, true, 0, ""},
	} {
		if err := os.Chmod(dir, tc.mode); err != nil {
			t.Fatal(err)
		}
		args := []string{"promote", cert, key}
		if tc.strict {
			args = append(args, "--strict-perms")
		}
		_, talk := w.must(tc.status, args...)
		if want := tc.warns + fmt.Sprintf("%q: no directory above it is closed to others", key); strings.Contains(talk, want) != (tc.warns != "") {
			t.Errorf("%o, strict %v: said %q", tc.mode, tc.strict, talk)
		}
	}
}

func TestInstallInJSON(t *testing.T) {
	w, s, files := deployWorld(t)
	files = append(files, "--json", "--verify-wait", "0")
	results := func(status int, more ...string) (words []string) {
		t.Helper()
		out, _ := w.must(status, append(files, more...)...)
		for line := range strings.Lines(out) {
			var o struct {
				Schema                    int
				Name, File, Result, Error string
				Parts                     []string
				Status                    int
			}
			if err := json.Unmarshal([]byte(line), &o); err != nil || o.Schema != 1 {
				t.Fatalf("%s: %v", line, err)
			}
			words = append(words, fmt.Sprint(o.Name, filepath.Base(o.File), o.Parts, o.Result, o.Status, o.Error != ""))
		}
		return words
	}
	expect := func(got []string, result string, status int) {
		t.Helper()
		var want []string
		for _, part := range []string{"a.key[key]", "a.pem[fullchain]"} {
			want = append(want, fmt.Sprint("a.test", part, result, status, status != 0))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	expect(results(0), "unchanged", 0)
	w.signed("a.test")
	expect(results(10, "--preflight", "false"), "restored", 10)
	expect(results(10, "--verify", s.addr), "restored", 10)
	expect(results(0, "--reload", s.reload(), "--verify", s.addr), "installed", 0)
	out, _ := w.must(0, "promote", "--json", "a.pem", "a.key")
	var o struct{ Cert, Key, Result string }
	if err := json.Unmarshal([]byte(out), &o); err != nil || o.Cert != "a.pem" || o.Key != "a.key" || o.Result != "unchanged" {
		t.Errorf("%s: %v", out, err)
	}
}

// The key of a certificate that was made for a CSR is elsewhere.
func TestInstallWithoutAKey(t *testing.T) {
	w := newWorld(t)
	w.signed("a.test")
	dir := filepath.Join(w.base, "certs", "a.test")
	if err := errors.Join(os.Remove(filepath.Join(dir, "privkey.pem"))); err != nil {
		t.Fatal(err)
	}
	w.must(0, "install", "a.test", "--parts", "fullchain", "--to", "x.pem")
	if _, talk := w.must(65, "install", "a.test", "--parts", "fullchain,key", "--to", "x.pem"); !strings.Contains(talk, "no private key") {
		t.Errorf("said %q", talk)
	}
}
