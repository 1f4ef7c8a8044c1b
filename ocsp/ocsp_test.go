package ocsp

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	xocsp "golang.org/x/crypto/ocsp"
)

// party is a certificate and its key.
type party struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// made is a certificate by issuer, or by itself where issuer is nil.
func made(t testing.TB, name string, issuer *party, change func(*x509.Certificate)) *party {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		BasicConstraintsValid: true,
	}
	if change != nil {
		change(template)
	}
	by := issuer
	if by == nil {
		by = &party{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key.Public(), by.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &party{cert, key}
}

func newCA(t testing.TB) *party {
	return made(t, "CA", nil, func(c *x509.Certificate) {
		c.IsCA = true
		c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	})
}

func mayAnswer(c *x509.Certificate) {
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
}

// answer signs a response as the template says; embedded is the certificate in it.
func answer(t testing.TB, ca, signer *party, embedded *x509.Certificate, r xocsp.Response) []byte {
	t.Helper()
	r.Certificate = embedded
	der, err := xocsp.CreateResponse(ca.cert, signer.cert, r, signer.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestOnlyAGoodAnswerOfTheIssuersCounts(t *testing.T) {
	now := time.Now()
	ca, other := newCA(t), newCA(t)
	leaf := made(t, "leaf", ca, nil)
	delegate := made(t, "responder", ca, mayAnswer)
	gone := made(t, "old responder", ca, func(c *x509.Certificate) {
		mayAnswer(c)
		c.NotBefore, c.NotAfter = now.Add(-2*time.Hour), now.Add(-time.Hour)
	})
	stranger := made(t, "responder", other, mayAnswer)
	good := xocsp.Response{
		Status: xocsp.Good, SerialNumber: leaf.cert.SerialNumber,
		ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(time.Hour),
	}
	with := func(change func(*xocsp.Response)) xocsp.Response {
		r := good
		change(&r)
		return r
	}
	for _, tc := range []struct {
		name string
		der  []byte
		says string // "": good
	}{
		{"of the issuer", answer(t, ca, ca, nil, good), ""},
		{"of the issuer, with its certificate", answer(t, ca, ca, ca.cert, good), ""},
		{"of a delegate", answer(t, ca, delegate, delegate.cert, good), ""},
		{"without an end", answer(t, ca, ca, nil, with(func(r *xocsp.Response) { r.NextUpdate = time.Time{} })), ""},
		{"a clock that is a little ahead", answer(t, ca, ca, nil, with(func(r *xocsp.Response) { r.ThisUpdate = now.Add(time.Minute) })), ""},

		{"of another CA", answer(t, ca, other, nil, good), "not signed by the issuer"},
		{"of another CA's delegate", answer(t, ca, stranger, stranger.cert, good), "one whom the issuer does not vouch for"},
		{"of a certificate that is for other things", answer(t, ca, leaf, leaf.cert, good), "the key usage OCSPSigning is missing"},
		{"of a delegate whose time is over", answer(t, ca, gone, gone.cert, good), "signed by one who might until"},
		{"about another certificate", answer(t, ca, ca, nil, with(func(r *xocsp.Response) { r.SerialNumber = big.NewInt(7) })), "no response matching"},
		{"outdated", answer(t, ca, ca, nil, with(func(r *xocsp.Response) { r.NextUpdate = now.Add(-time.Minute) })), "was good until"},
		{"of the future", answer(t, ca, ca, nil, with(func(r *xocsp.Response) { r.ThisUpdate = now.Add(time.Hour) })), "is of the future"},
		{"over before it began", answer(t, ca, ca, nil, with(func(r *xocsp.Response) { r.ThisUpdate, r.NextUpdate = now.Add(4*time.Minute), now.Add(time.Minute) })), "was good until"},
		{"revoked", answer(t, ca, ca, nil, with(func(r *xocsp.Response) { r.Status, r.RevokedAt = xocsp.Revoked, time.Unix(1e9, 0) })), "was revoked at 2001-09-09T01:46:40Z"},
		{"unknown", answer(t, ca, ca, nil, with(func(r *xocsp.Response) { r.Status = xocsp.Unknown })), "does not know the certificate"},
		{"refused", xocsp.UnauthorizedErrorResponse, `it says "unauthorized"`},
		{"no answer", []byte("<html>"), "no OCSP response"},
		{"nothing", nil, "no OCSP response"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := Parse(tc.der, leaf.cert, ca.cert, now)
			switch {
			case tc.says == "" && (err != nil || !r.ThisUpdate.Equal(mustParse(t, tc.der).ThisUpdate)):
				t.Errorf("%v, %v", r, err)
			case tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)):
				t.Errorf("%v, want %q", err, tc.says)
			}
		})
	}
}

func mustParse(t *testing.T, der []byte) *xocsp.Response {
	t.Helper()
	r, err := xocsp.ParseResponse(der, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// serve is a responder, and a leaf that names it.
func serve(t *testing.T, ca *party, f http.HandlerFunc, more ...string) (leaf *x509.Certificate) {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return made(t, "leaf", ca, func(c *x509.Certificate) { c.OCSPServer = append(more, server.URL+"/ocsp") }).cert
}

func TestFetchIsBoundedAndSaysWhatWentWrong(t *testing.T) {
	ca := newCA(t)
	reply := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); _, _ = io.WriteString(w, body) }
	}
	for name, tc := range map[string]struct {
		f    http.HandlerFunc
		says string
	}{
		"no such page": {reply(404, ""), `/ocsp": HTTP status 404`},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:9/", http.StatusFound)
		}, "HTTP status 302"},
		"endless": {reply(200, strings.Repeat("x", 1<<20)), "more than 65536 bytes"},
		"a page":  {reply(200, "<html>"), "no OCSP response"},
		"later":   {reply(200, string(xocsp.TryLaterErrorResponse)), `it says "try later"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Fetch(t.Context(), http.DefaultClient, serve(t, ca, tc.f), ca.cert)
			if err == nil || !strings.Contains(err.Error(), tc.says) || strings.Count(err.Error(), "http://") != 1 {
				t.Errorf("%v, want %q", err, tc.says)
			}
		})
	}
	if _, err := Fetch(t.Context(), http.DefaultClient, made(t, "leaf", ca, nil).cert, ca.cert); !errors.Is(err, ErrNoResponder) {
		t.Error(err)
	}
	odd := made(t, "leaf", ca, func(c *x509.Certificate) { c.OCSPServer = []string{"file:///etc/passwd"} })
	if _, err := Fetch(t.Context(), http.DefaultClient, odd.cert, ca.cert); err == nil || !strings.Contains(err.Error(), "is no URL of a responder") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Fetch(ctx, http.DefaultClient, serve(t, ca, reply(200, "")), ca.cert); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestTheNextResponderIsAskedWhereOneFails(t *testing.T) {
	ca := newCA(t)
	var leaf *x509.Certificate
	leaf = serve(t, ca, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		q, err := xocsp.ParseRequest(body)
		if err != nil || r.Method != "POST" || r.Header.Get("Content-Type") != "application/ocsp-request" || q.SerialNumber.Cmp(leaf.SerialNumber) != 0 {
			t.Errorf("%s %v: %v", r.Method, r.Header, err)
		}
		_, _ = w.Write(answer(t, ca, ca, nil, xocsp.Response{SerialNumber: leaf.SerialNumber, ThisUpdate: time.Now()}))
	}, "http://127.0.0.1:9/nobody")
	if _, err := Fetch(t.Context(), http.DefaultClient, leaf, ca.cert); err != nil {
		t.Error(err)
	}
}

// openssl answers a request as `openssl ocsp` does, from its index of certificates.
func openssl(t *testing.T, ca, signer *party, state string) (leaf *x509.Certificate) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil && os.Getenv("ARID_TEST_ALL") == "" {
		t.Skip("openssl is not installed")
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	asPEM := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	key, err := x509.MarshalPKCS8PrivateKey(signer.key)
	if err != nil {
		t.Fatal(err)
	}
	files := []string{
		"-CA", write("ca.pem", asPEM("CERTIFICATE", ca.cert.Raw)),
		"-rsigner", write("signer.pem", asPEM("CERTIFICATE", signer.cert.Raw)), "-rkey", write("signer.key", asPEM("PRIVATE KEY", key)),
	}
	return serve(t, ca, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		q, err := xocsp.ParseRequest(body)
		if err != nil {
			t.Error(err)
			return
		}
		serial := fmt.Sprintf("%X", q.SerialNumber)
		if len(serial)%2 > 0 {
			serial = "0" + serial
		}
		revoked := ""
		if state == "R" {
			revoked = "200101000000Z"
		}
		args := append([]string{
			"ocsp", "-index", write("index.txt", state+"\t490101000000Z\t"+revoked+"\t"+serial+"\tunknown\t/CN=leaf\n"),
			"-reqin", write("q.der", string(body)), "-respout", filepath.Join(dir, "a.der"), "-ndays", "3",
		}, files...)
		if out, err := exec.Command("openssl", args...).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		http.ServeFile(w, r, filepath.Join(dir, "a.der"))
	})
}

func TestOpenSSLAsTheResponder(t *testing.T) {
	ca := newCA(t)
	delegate := made(t, "responder", ca, mayAnswer)
	for name, signer := range map[string]*party{"issuer": ca, "delegate": delegate} {
		r, err := Fetch(t.Context(), http.DefaultClient, openssl(t, ca, signer, "V"), ca.cert)
		if err != nil || r.NextUpdate.Sub(r.ThisUpdate) != 3*24*time.Hour {
			t.Errorf("%s: %v, %v", name, r, err)
		}
		var status *StatusError
		if _, err := Fetch(t.Context(), http.DefaultClient, openssl(t, ca, signer, "R"), ca.cert); !errors.As(err, &status) || status.Revoked.Year() != 2020 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	ca, other := newCA(f), newCA(f)
	leaf := made(f, "leaf", ca, nil)
	now := time.Now()
	good := xocsp.Response{SerialNumber: leaf.cert.SerialNumber, ThisUpdate: now}
	f.Add(answer(f, ca, ca, ca.cert, good))
	f.Add(answer(f, ca, ca, nil, good))
	f.Add(xocsp.TryLaterErrorResponse)
	f.Fuzz(func(t *testing.T, der []byte) {
		if r, err := Parse(der, leaf.cert, other.cert, now); err == nil {
			t.Errorf("%x is good by a CA that never signed: %v", der, r)
		}
	})
}
