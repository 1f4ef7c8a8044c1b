//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// manner is how a CA behaves.
type manner struct {
	refuse     int // percent of good nonces
	retryAfter int // seconds, on authorizations and orders; 0: none
}

var (
	refusing = manner{refuse: 50}
	slow     = manner{retryAfter: 3}
)

// ca is a Pebble, and the front before it that the clients are told of.
type ca struct {
	*front
	roots      *x509.CertPool // of what it issues
	registered map[string]error
	signed     map[string][]string // what a client holds that is not due
	dir        string              // a folder in it for each client
	validation atomic.Int64        // time.Duration that the answer to the CA's question takes
}

// servers ends what it has started, and nothing else.
type servers struct {
	dir  string // logs and configurations
	bin  string // folder of programs
	dns  string // HOST:PORT
	cas  map[manner]*ca
	stop []func()

	authority *authority
}

// webroot is served to the CA for http-01; wellKnown is in it.
func (s *servers) webroot() string   { return filepath.Join(s.dir, "webroot") }
func (s *servers) wellKnown() string { return filepath.Join(s.webroot(), ".well-known/acme-challenge") }

// startServers starts the DNS server, which says 127.0.0.1 for every name.
func startServers(dir, bin string) (*servers, error) {
	authority, err := newAuthority()
	if err != nil {
		return nil, err
	}
	s := &servers{dir: dir, bin: bin, cas: map[manner]*ca{}, authority: authority}
	if err := os.MkdirAll(s.wellKnown(), 0o755); err != nil {
		return nil, err
	}
	ports, err := s.freePorts(2)
	if err != nil {
		return nil, err
	}
	s.dns = "127.0.0.1:" + ports[0]
	management := "127.0.0.1:" + ports[1]
	err = s.start("dns", management, nil, "pebble-challtestsrv", "-dnsserver", s.dns, "-management", management,
		"-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "")
	if err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

func (s *servers) end() {
	for _, stop := range s.stop {
		stop()
	}
}

// ca is the CA of that manner, started when it is first asked for.
func (s *servers) ca(m manner) (*ca, error) {
	if c := s.cas[m]; c != nil {
		return c, nil
	}
	c := &ca{registered: map[string]error{}, signed: map[string][]string{}}
	web, err := s.startWeb(&c.validation)
	if err != nil {
		return nil, err
	}
	ports, err := s.freePorts(2)
	if err != nil {
		return nil, err
	}
	listen, management := "127.0.0.1:"+ports[0], "127.0.0.1:"+ports[1]
	name := "ca-" + ports[0]
	c.dir = filepath.Join(s.dir, name)
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, err
	}
	config, err := s.configurePebble(c.dir, listen, management, web, m)
	if err != nil {
		return nil, err
	}
	env := []string{fmt.Sprintf("PEBBLE_WFE_NONCEREJECT=%d", m.refuse), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0"}
	if err := s.start(name, listen, env, "pebble", "-strict", "-config", config, "-dnsserver", s.dns); err != nil {
		return nil, err
	}
	if c.roots, err = fetchRoots("https://" + management + "/roots/0"); err != nil {
		return nil, err
	}
	if c.front, err = newFront(listen, s.authority); err != nil {
		return nil, err
	}
	s.stop = append(s.stop, c.front.close)
	s.cas[m] = c
	return c, nil
}

func (s *servers) configurePebble(dir, listen, management string, webPort int, m manner) (file string, err error) {
	certificate, err := s.authority.issue()
	if err != nil {
		return "", err
	}
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		return "", err
	}
	certFile, keyFile := filepath.Join(dir, "tls.pem"), filepath.Join(dir, "tls.key")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": listen, "managementListenAddress": management,
		"certificate": certFile, "privateKey": keyFile,
		"httpPort": webPort, "tlsPort": webPort,
		"keyAlgorithm": "ecdsa",
		"retryAfter":   map[string]int{"authz": m.retryAfter, "order": m.retryAfter},
		"profiles":     map[string]any{"default": map[string]any{"description": "default", "validityPeriod": 90 * 24 * 3600}},
	}})
	file = filepath.Join(dir, "pebble.json")
	return file, errors.Join(err, os.WriteFile(certFile, certPEM, 0o600), os.WriteFile(keyFile, keyPEM, 0o600),
		os.WriteFile(file, config, 0o600))
}

// startWeb answers http-01 from the folder that the clients write to, after a while.
func (s *servers) startWeb(delay *atomic.Int64) (port int, err error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	files := http.FileServer(http.Dir(s.webroot()))
	web := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Duration(delay.Load()))
		files.ServeHTTP(w, r)
	})}
	guarded(func() error { _ = web.Serve(listener); return nil })
	s.stop = append(s.stop, func() { web.Close() })
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// start runs a server until end, and waits until it answers at HOST:PORT.
func (s *servers) start(name, address string, env []string, program string, args ...string) error {
	log, err := os.Create(filepath.Join(s.dir, name+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, program), args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // ^C at a terminal is for the bench
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		cancel()
		return err
	}
	gone := make(chan struct{})
	guarded(func() error { defer close(gone); _ = cmd.Wait(); return nil })
	s.stop = append(s.stop, func() { cancel(); <-gone })
	for range 200 {
		connection, err := net.Dial("tcp4", address)
		if err == nil {
			return connection.Close()
		}
		select {
		case <-gone:
			return fmt.Errorf("%s ended: %s", program, lastLine(log.Name()))
		case <-time.After(50 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s does not answer at %s", program, address)
}

func (s *servers) freePorts(n int) ([]string, error) {
	out, err := exec.Command(filepath.Join(s.bin, "freeports"), fmt.Sprint(n)).Output()
	if err != nil {
		return nil, fmt.Errorf("freeports: %w", err)
	}
	return strings.Fields(string(out)), nil
}

// fetchRoots reads the roots of what a Pebble issues.
func fetchRoots(url string) (*x509.CertPool, error) {
	insecure := &http.Client{
		Timeout:   20 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
	}
	response, err := insecure.Get(url)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s: no roots there", url)
	}
	return roots, nil
}
