package cmd_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"arid/internal/fakeca"
)

// freePort is an address of this host where nobody listens, and which nobody else is
// given until the test ends: a socket is bound to it. Whoever names it may still listen.
func freePort(t *testing.T) string {
	t.Helper()
	s, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(s) })
	syscall.CloseOnExec(s)
	err = errors.Join(
		syscall.SetsockoptInt(s, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1),
		syscall.Bind(s, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	if err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(s)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(at.(*syscall.SockaddrInet4).Port))
}

// closed fails the test if somebody listens there.
func closed(t *testing.T, address string) {
	t.Helper()
	if c, err := net.Dial("tcp4", address); err == nil {
		c.Close()
		t.Errorf("%s is still open", address)
	}
}

// listenWorld is one whose CA comes to a port where nobody is but --listen, and that has
// no directories.
func listenWorld(t *testing.T) (w *world, address string) {
	w = newWorld(t)
	address = freePort(t)
	w.ca.ValidateHTTP(portOf(t, address))
	w.ca.ValidateALPN(portOf(t, address))
	w.env = append(w.env, "ARID_WELLKNOWN="+w.dir+"/none", "ARID_ALPNCERTDIR="+w.dir+"/none")
	return w, address
}

func portOf(t *testing.T, address string) int {
	t.Helper()
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return int(at.Port())
}

// csr is a file with a request for one name.
func (w *world) csr(name string) string {
	s := siege{world: w, attack: attack{names: []string{name}}}
	return w.file(name+".csr", s.csr(), 0o644)
}

func TestSignListens(t *testing.T) {
	for _, typ := range []string{"http-01", "tls-alpn-01", "a.test:http-01 tls-alpn-01"} {
		w, address := listenWorld(t)
		// The hook is called while it listens, and finds no directory.
		hook := w.file("hook", "#!/bin/sh\n[ \"$1\" != deploy_challenge ] || ls "+w.dir+" >>"+w.dir+"/seen\n", 0o755)
		_, talk := w.must(0, "sign", "--accept-terms", "-v", "-t", typ, "-k", hook, "--listen", address, "a.test", "b.test")
		if !strings.Contains(talk, "arid: listens on "+address+"\n") || !strings.Contains(talk, "-01: answered") {
			t.Errorf("%s: %s", typ, talk)
		}
		closed(t, address)
		if seen, err := os.ReadFile(w.dir + "/seen"); err != nil || strings.Contains(string(seen), "none") {
			t.Errorf("%s: the hook saw %q, %v", typ, seen, err)
		}
		// Nothing is due: nobody listens, so that the address may be taken.
		taken, err := net.Listen("tcp4", address)
		if err != nil {
			t.Fatal(err)
		}
		if _, talk := w.must(0, "sign", "-t", typ, "--listen", address, "a.test", "b.test"); talk != "" {
			t.Errorf("%s: %s", typ, talk)
		}
		taken.Close()
	}
}

func TestSignListensForACSR(t *testing.T) {
	w, address := listenWorld(t)
	out, _ := w.must(0, "sign", "--accept-terms", "-t", "tls-alpn-01", "--listen", address, "--csr", w.csr("a.test"))
	if !strings.HasPrefix(out, "-----BEGIN CERTIFICATE-----\n") {
		t.Errorf("%q", out)
	}
	closed(t, address)
}

// What cannot be listened on is told before the CA hears anything, and a failure leaves no
// socket open.
func TestSignCannotListen(t *testing.T) {
	w, address := listenWorld(t)
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct {
		status int
		args   string
		want   string
	}{
		{64, "--listen 80 a.test", `arid: --listen "80": "80" is not ADDRESS:PORT, [ADDRESS]:PORT or :PORT`},
		{64, "--listen :80 --listen localhost:80 a.test", `arid: --listen ":80 localhost:80": "localhost:80" is not ADDRESS:PORT`},
		{64, "-t dns-01 -k /bin/true --listen :80 a.test", "no name is proved by either"},
		{75, "--listen " + address + " --listen " + taken.Addr().String() + " a.test", "arid: a.test: cannot listen on " + taken.Addr().String() + ": bind: address already in use"},
		{75, "--listen " + taken.Addr().String() + " --csr " + w.csr("a.test"), "address already in use"},
		{75, "--listen [fe80::1%none]:80 a.test", "arid: a.test: cannot listen on [fe80::1%none]:80: "},
	} {
		if _, talk := w.must(c.status, strings.Fields("sign --accept-terms "+c.args)...); !strings.Contains(talk, c.want) {
			t.Errorf("%s: %s", c.args, talk)
		}
		closed(t, address)
	}
	if n := len(w.ca.Requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
	w.ca.ValidateHTTP(portOf(t, freePort(t))) // elsewhere
	w.must(1, "sign", "--accept-terms", "--listen", address, "a.test")
	closed(t, address)
}

// A directory on the command line is for another server, which is asked as well.
func TestSignListensBesideADirectory(t *testing.T) {
	w, address := listenWorld(t)
	w.ca.ValidateHTTP(w.port)
	w.must(0, "sign", "--accept-terms", "-t", "a.test:http-01 tls-alpn-01", "--wellknown", w.webroot, "--listen", address, "a.test", "b.test")
	w.must(78, "sign", "-t", "http-01", "--wellknown", w.dir+"/none", "--listen", address, "c.test")
}

// LISTEN in a config is for all runs: those that only look need no directory either, and
// who has nothing to prove by these types does not listen.
func TestListenIsASetting(t *testing.T) {
	w, address := listenWorld(t)
	config := "LISTEN='" + address + " 127.0.0.1:0'\nDOMAINS_TXT=" + w.dir + "/domains.txt\n"
	w.env = append(w.env, "ARID_CONFIG="+w.file("config", config, 0o644))
	w.file("domains.txt", "a.test\n", 0o644)
	if out, talk := w.must(0, "due"); out != "a.test\n" || talk != "" {
		t.Errorf("due: %q, %q", out, talk)
	}
	_, talk := w.must(0, "renew", "--accept-terms", "-v")
	if n := strings.Count(talk, "listens on "); n != 2 {
		t.Errorf("listened %d times: %s", n, talk)
	}
	if _, talk := w.must(0, "status"); talk != "" {
		t.Errorf("status: %s", talk)
	}
	w.must(1, "due")
	// A directory of the same config counts.
	w.file("config", config+"WELLKNOWN="+w.webroot+"\n", 0o644)
	w.env = slices.DeleteFunc(w.env, func(v string) bool { return strings.HasPrefix(v, "ARID_WELLKNOWN=") })
	if _, talk := w.must(0, "sign", "-v", "b.test"); !strings.Contains(talk, "wrote "+w.webroot) || !strings.Contains(talk, "listens on ") {
		t.Error(talk)
	}
	w.ca.Validate("dns-01", func(fakeca.Validation) *fakeca.Problem { return nil })
	if _, talk := w.must(0, "sign", "-v", "-t", "dns-01", "-k", "/bin/true", "c.test"); strings.Contains(talk, "listens on ") {
		t.Error(talk)
	}
	w.file("config", "LISTEN=80\n", 0o644)
	w.must(78, "sign", "b.test")
}

// Several certificates at once: one socket, opened after startup_hook and closed before
// exit_hook.
func TestRenewListensOnce(t *testing.T) {
	w, address := listenWorld(t)
	host, port, _ := net.SplitHostPort(address)
	hook := w.file("hook", `#!/bin/bash
case $1 in startup_hook|exit_hook|deploy_cert) ;; *) exit 0 ;; esac
if (exec 3<>/dev/tcp/`+host+`/`+port+`) 2>/dev/null; then echo "$1 open"; else echo "$1 closed"; fi >>`+w.dir+`/seen
`, 0o755)
	if err := os.MkdirAll(w.base, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.base, "domains.txt"), []byte("a.test\nb.test\nc.test c2.test\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, talk := w.must(0, "renew", "--accept-terms", "-v", "-t", "tls-alpn-01", "-k", hook, "--listen", address)
	if n := strings.Count(talk, "listens on "); n != 1 {
		t.Errorf("listened %d times: %s", n, talk)
	}
	seen, err := os.ReadFile(w.dir + "/seen")
	if want := "startup_hook closed\n" + strings.Repeat("deploy_cert open\n", 3) + "exit_hook closed\n"; err != nil || string(seen) != want {
		t.Errorf("%v, got:\n%s", err, seen)
	}

	taken, err := net.Listen("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	requests := len(w.ca.Requests())
	_, talk = w.must(75, "renew", "-x", "--all", "-t", "tls-alpn-01", "--parallel", "1", "--listen", address)
	if !strings.HasPrefix(talk, "arid: a.test: cannot listen on "+address+": bind: address already in use\narid: the same with 2 more certificates (b.test c.test): ") || len(w.ca.Requests()) != requests {
		t.Errorf("%d requests, %s", len(w.ca.Requests())-requests, talk)
	}
}
