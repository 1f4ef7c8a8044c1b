package cmd_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"arid/challenge"
	"arid/internal/fakeca"
	"arid/respond"
)

// withALPN gives the world a directory for tls-alpn-01 and a server that reads it.
func (w *world) withALPN() (dir string) {
	w.t.Helper()
	dir = filepath.Join(w.dir, "alpn")
	if err := os.Mkdir(dir, 0o750); err != nil {
		w.t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- respond.ServeTLSALPN01(ctx, l, dir) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
	})
	w.ca.ValidateALPN(l.Addr().(*net.TCPAddr).Port)
	w.env = append(w.env, "ARID_ALPNCERTDIR="+dir)
	return dir
}

// withTXT gives the world a hook that keeps TXT records as lines of a file, and
// a CA that looks there.
func (w *world) withTXT() {
	w.t.Helper()
	zone, log := filepath.Join(w.dir, "zone"), filepath.Join(w.dir, "log")
	hook := w.file("dns-hook", `#!/bin/sh
echo "$1 $CHALLENGETYPE $ARID_HOOK_RECORD: $2 $5 $8" >>`+log+`
event=$1; shift
[ "$CHALLENGETYPE" = dns-01 ] || exit 0
case $event in
deploy_challenge) while [ $# -gt 0 ]; do echo "$1 $3" >>`+zone+`; shift 3; done ;;
clean_challenge) : >`+zone+` ;;
esac
`, 0o700)
	w.ca.Validate("dns-01", func(v fakeca.Validation) *fakeca.Problem {
		text, _ := os.ReadFile(zone)
		if slices.Contains(strings.Split(string(text), "\n"), v.Name+" "+challenge.Value("dns-01", v.KeyAuth)) {
			return nil
		}
		return &fakeca.Problem{Type: "urn:ietf:params:acme:error:unauthorized", Detail: "no such TXT record"}
	})
	w.env = append(w.env, "ARID_HOOK="+hook, "ARID_DNS_WAIT=0")
}

func TestATypePerName(t *testing.T) {
	w := newWorld(t)
	alpn := w.withALPN()
	w.withTXT()
	w.env = append(w.env, "ARID_CHALLENGETYPE=http-01 dns-01 b.test:tls-alpn-01 192.0.2.*:tls-alpn-01")
	w.must(0, "sign", "--accept-terms", "--hook-chain", "a.test", "b.test", "*.c.test", "c.test", "192.0.2.7")
	log, err := os.ReadFile(filepath.Join(w.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"deploy_challenge http-01 : a.test c.test \n", "deploy_challenge dns-01 _acme-challenge.c.test: c.test  \n",
		"deploy_challenge tls-alpn-01 : b.test 7.2.0.192.in-addr.arpa \n", "clean_challenge dns-01 _acme-challenge.c.test: c.test  \n",
	} {
		if strings.Count(string(log), want) != 1 {
			t.Errorf("%q not once in:\n%s", want, log)
		}
	}
	for _, dir := range []string{alpn, w.webroot} {
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("left in %s: %v", dir, left)
		}
	}
}

func TestALPNFilesAreTakenAwayOnEveryWayOut(t *testing.T) {
	w := newWorld(t)
	dir := w.withALPN()
	hook := w.file("hook", "#!/bin/sh\n[ $1 != deploy_challenge ] || { ls -l "+dir+" >&2; exit 3; }\n", 0o700)
	_, talk := w.must(1, "sign", "--accept-terms", "-t", "tls-alpn-01", "-k", hook, "a.test", "2001:db8::1")
	for _, want := range []string{
		"-rw-r----- ", " a.test.crt.pem", " a.test.key.pem",
		" 1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.crt.pem",
	} {
		if !strings.Contains(talk, want) {
			t.Errorf("%q not in %q", want, talk)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	w.must(0, "sign", "-t", "tls-alpn-01", "a.test", "2001:db8::1")
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestAMissingALPNDirectoryIsMadeWithAWarning(t *testing.T) {
	w := newWorld(t)
	dir := w.withALPN()
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	_, talk := w.must(0, "sign", "--accept-terms", "-t", "tls-alpn-01", "a.test")
	if !strings.Contains(talk, "warning: ") || !strings.Contains(talk, "must be able to read it") {
		t.Errorf("%q", talk)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestWhatCannotBeProvedIsRefusedBeforeTheFirstRequest(t *testing.T) {
	w := newWorld(t)
	file := w.file("file", "", 0o600)
	for _, c := range []struct {
		status int
		says   string
		args   []string
	}{
		{65, "a wildcard cannot be validated with tls-alpn-01", []string{"-t", "tls-alpn-01", "*.a.test"}},
		{65, "an address cannot be validated with dns-01", []string{"-t", "dns-01", "-k", "/bin/true", "192.0.2.7"}},
		{78, "dns-01 needs a hook", []string{"-t", "dns-01", "a.test"}},
		{64, "http-02", []string{"-t", "http-01 *.a.test:http-02", "a.test"}},
		{64, "for all other names", []string{"-t", "a.test:http-01", "a.test"}},
		{78, "is not a directory", []string{"-t", "tls-alpn-01", "--alpn", file, "a.test"}},
		{64, "--dns-server", []string{"-t", "dns-01", "--dns-update", "--dns-server", "a b", "a.test"}},
		{64, "--dns-wait", []string{"-t", "dns-01", "--dns-update", "--dns-wait", "soon", "a.test"}},
	} {
		_, talk := w.must(c.status, append([]string{"sign", "--accept-terms"}, c.args...)...)
		if !strings.Contains(talk, c.says) {
			t.Errorf("%q: %q", c.args, talk)
		}
	}
	if n := len(w.ca.Requests()); n > 0 {
		t.Errorf("%d requests", n)
	}
}

func TestNamesThatAreNotPlain(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat("a", 60) + ".example.test"
	w.must(0, "sign", "--accept-terms", long, "Bücher.test", "ip:2001:DB8:0::1")
	csrs := w.ca.CSRs()
	if len(csrs) != 1 {
		t.Fatalf("%d CSRs", len(csrs))
	}
	csr := csrs[0]
	if csr.Subject.CommonName != "" {
		t.Errorf("common name %q", csr.Subject.CommonName)
	}
	if !slices.Equal(csr.DNSNames, []string{long, "xn--bcher-kva.test"}) || csr.IPAddresses[0].String() != "2001:db8::1" {
		t.Errorf("%q %v", csr.DNSNames, csr.IPAddresses)
	}
	w.must(0, "sign", long, "xn--bcher-kva.test", "2001:db8::1") // the same names: nothing is due
	if len(w.ca.CSRs()) != 1 {
		t.Error("ordered again")
	}
}

func TestAFailureTellsWhatWasSeen(t *testing.T) {
	w := newWorld(t)
	w.ca.FailValidation("b.test", "connection", "10.0.0.7: Connection refused").
		FailValidation("c.test", "caa", "forbidden by CAA")
	_, talk := w.must(1, "sign", "--accept-terms", "a.test", "b.test", "c.test")
	for _, want := range []string{
		"arid: a.test: b.test: http-01: ", "arid: seen: ", "arid: hint: ", "[ca-connection]\n",
		"arid: a.test: c.test: http-01: ", "[ca-caa]\n",
	} {
		if !strings.Contains(talk, want) {
			t.Errorf("%q not in:\n%s", want, talk)
		}
	}
}

func TestHelpHints(t *testing.T) {
	out, _ := newWorld(t).must(0, "help", "hints")
	if !strings.Contains(out, "\nhttp-refused ") || !strings.Contains(out, "\ndns-chain ") {
		t.Errorf("%q", out)
	}
}
