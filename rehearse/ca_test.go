package rehearse

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestCADirectory(t *testing.T) {
	ca := start(t, CAOptions{Strict: true})
	var directory struct {
		NewOrder string
		Meta     struct{ Profiles map[string]string }
	}
	fetch(t, ca, &directory)
	if base := strings.TrimSuffix(ca.URL(), "dir"); !strings.HasPrefix(directory.NewOrder, base) {
		t.Errorf("newOrder %q is not under %q", directory.NewOrder, base)
	}
	if p := directory.Meta.Profiles; len(p) != 1 || p["default"] == "" {
		t.Errorf("profiles %v, want the one \"default\"", p)
	}
}

func TestCAProfile(t *testing.T) {
	ca := start(t, CAOptions{Profile: "shortlived"})
	var directory struct {
		Meta struct{ Profiles map[string]string }
	}
	fetch(t, ca, &directory)
	if p := directory.Meta.Profiles; len(p) != 1 || p["shortlived"] == "" {
		t.Errorf("profiles %v, want the one \"shortlived\"", p)
	}
}

func TestCALog(t *testing.T) {
	var mu sync.Mutex
	var logged []string
	ca := start(t, CAOptions{Log: func(line string) {
		mu.Lock()
		defer mu.Unlock()
		logged = append(logged, line)
	}})
	fetch(t, ca, new(any))
	mu.Lock()
	defer mu.Unlock()
	if !slices.Contains(logged, "GET /dir -> calling handler()") {
		t.Errorf("no line about the directory in %q", logged)
	}
	for _, line := range logged {
		if strings.Contains(line, "\n") {
			t.Errorf("line with an end: %q", line)
		}
	}
}

// Hooks inherit the process environment, and the user's own settings for a
// Pebble that stands elsewhere are none of this CA's.
func TestCALeavesTheEnvironment(t *testing.T) {
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "99")
	t.Setenv("PEBBLE_VA_ALWAYS_VALID", "1")
	before := os.Environ()
	var logged []string
	var starts sync.WaitGroup
	for i := range 4 {
		starts.Go(func() {
			o := CAOptions{}
			if i == 0 {
				o.Log = func(line string) { logged = append(logged, line) }
			}
			ca, err := StartCA(t.Context(), o)
			if err != nil {
				t.Error(err)
				return
			}
			ca.Close()
		})
	}
	starts.Wait()
	slices.Sort(before)
	if after := os.Environ(); !slices.Equal(before, slices.Sorted(slices.Values(after))) {
		t.Errorf("environment changed\n%q\nto\n%q", before, after)
	}
	for _, want := range []string{"Configured to reject 0% of good nonces", "Disabling random VA sleeps",
		"Configured to attempt authz reuse for each identifier 0% of the time"} {
		if !slices.Contains(logged, want) {
			t.Errorf("%q not in %q", want, logged)
		}
	}
	if i := slices.IndexFunc(logged, func(line string) bool { return strings.Contains(line, "always returns valid") }); i >= 0 {
		t.Errorf("the CA validates nothing: %q", logged[i])
	}
}

func TestCACloses(t *testing.T) {
	ca, err := StartCA(t.Context(), CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	web, err := tls.Dial("tcp", ca.address, &tls.Config{RootCAs: ca.Transport()})
	if err != nil {
		t.Fatal(err)
	}
	resolver, err := net.Dial("tcp", ca.Resolver())
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	ca.Close()
	if took := time.Since(before); took > 4*time.Second { // to wait for them would take 5 s
		t.Errorf("closing took %v", took)
	}
	for _, c := range []net.Conn{web, resolver} {
		c.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the connection to %s outlives the CA", c.RemoteAddr())
		}
		c.Close()
	}
	var stacks strings.Builder
	pprof.Lookup("goroutine").WriteTo(&stacks, 2)
	for _, serving := range []string{"ServeTLS", "ActivateAndServe"} {
		if strings.Contains(stacks.String(), serving) {
			t.Errorf("%s still runs", serving)
		}
	}
	for _, address := range []string{ca.address, ca.Resolver()} {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			t.Errorf("%s still answers", address)
		}
	}
	packets, err := net.ListenPacket("udp", ca.Resolver())
	if err != nil {
		t.Fatalf("the UDP port is not free again: %v", err)
	}
	packets.Close()
	ca.Close() // twice is once
}

func TestCACancelledStart(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ca, err := StartCA(ctx, CAOptions{})
	if err == nil {
		ca.Close()
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}

func start(t *testing.T, o CAOptions) *CA {
	t.Helper()
	ca, err := StartCA(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ca.Close)
	return ca
}

// fetch reads the CA's directory, trusting Transport's roots alone.
func fetch(t *testing.T, ca *CA, into any) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Transport()}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	resp, err := client.Get(ca.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 2 {
		t.Errorf("%s, want HTTP/2", resp.Proto)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkStartCA(b *testing.B) {
	for b.Loop() {
		ca, err := StartCA(b.Context(), CAOptions{})
		if err != nil {
			b.Fatal(err)
		}
		ca.Close()
	}
}
