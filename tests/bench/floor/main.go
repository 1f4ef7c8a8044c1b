// floor is what a certificate costs at least: the client that the others are
// held against in `make bench`. It sends the fewest requests over one connection,
// trusts every answer, keeps nothing but key and chain, and is of no other use.
//
//	floor register DIRECTORY STATE
//	floor sign DIRECTORY STATE WEBROOT OUT NAME...
//	floor daily TREE
package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"arid/internal/guard"
)

// few names go one after another, more of them sixteen side by side, as arid does.
const few, atOnce = 5, 16

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	switch {
	case len(args) == 1 && args[0] == "version":
		fmt.Println("floor")
		return nil
	case len(args) == 3 && args[0] == "register":
		return register(ctx, args[1], args[2])
	case len(args) > 5 && args[0] == "sign":
		return sign(ctx, args[1], args[2], args[3], args[4], args[5:])
	case len(args) == 2 && args[0] == "daily":
		return daily(args[1])
	}
	return errors.New("usage: floor version | register DIRECTORY STATE | sign DIRECTORY STATE WEBROOT OUT NAME... | daily TREE")
}

// client talks to one CA in the name of one account.
type client struct {
	http      *http.Client
	key       *ecdsa.PrivateKey
	account   string // URL; empty: sign with the key itself
	directory struct{ NewNonce, NewAccount, NewOrder string }

	mu     sync.Mutex
	nonces []string
}

func open(ctx context.Context, directory string, key *ecdsa.PrivateKey, account string) (*client, error) {
	c := &client{http: &http.Client{}, key: key, account: account}
	_, body, err := c.do(ctx, http.MethodGet, directory, nil)
	if err != nil {
		return nil, err
	}
	return c, json.Unmarshal(body, &c.directory)
}

// register makes an account; its key and URL go into the folder STATE.
func register(ctx context.Context, directory, state string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	c, err := open(ctx, directory, key, "")
	if err != nil {
		return err
	}
	header, _, err := c.post(ctx, c.directory.NewAccount, map[string]any{"termsOfServiceAgreed": true})
	if err != nil {
		return err
	}
	if err := writeKey(filepath.Join(state, "account.pem"), key); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(state, "account.url"), []byte(header.Get("Location")), 0o600)
}

// object is an order or an authorization, as far as it matters here.
type object struct {
	Status, Finalize, Certificate string
	Authorizations                []string
	Challenges                    []struct{ Type, URL, Token string }
}

// sign gets one certificate; it and its new key go into the folder OUT.
func sign(ctx context.Context, directory, state, webroot, out string, names []string) error {
	key, err := readKey(filepath.Join(state, "account.pem"))
	if err != nil {
		return err
	}
	account, err := os.ReadFile(filepath.Join(state, "account.url"))
	if err != nil {
		return err
	}
	c, err := open(ctx, directory, key, string(account))
	if err != nil {
		return err
	}
	var identifiers []map[string]string
	for _, name := range names {
		identifiers = append(identifiers, map[string]string{"type": "dns", "value": name})
	}
	var o object
	url, err := c.ask(ctx, c.directory.NewOrder, map[string]any{"identifiers": identifiers}, &o)
	if err != nil {
		return err
	}
	if err := c.prove(ctx, o.Authorizations, webroot); err != nil {
		return err
	}
	if err := c.await(ctx, url, &o, "ready"); err != nil {
		return err
	}
	certKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, certKey)
	if err != nil {
		return err
	}
	if _, err := c.ask(ctx, o.Finalize, map[string]string{"csr": encode(csr)}, &o); err != nil {
		return err
	}
	if err := c.await(ctx, url, &o, "valid"); err != nil {
		return err
	}
	_, chain, err := c.post(ctx, o.Certificate, nil)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o700); err != nil {
		return err
	}
	if err := writeKey(filepath.Join(out, "key.pem"), certKey); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "cert.pem"), chain, 0o600)
}

// prove puts the files of all authorizations and tells the CA.
func (c *client) prove(ctx context.Context, authorizations []string, webroot string) error {
	thumbprint := sha256.Sum256(c.jwk())
	accept := make([]string, len(authorizations))
	err := each(len(authorizations), func(i int) error {
		var a object
		if _, err := c.ask(ctx, authorizations[i], nil, &a); err != nil {
			return err
		}
		for _, ch := range a.Challenges {
			if ch.Type == "http-01" {
				accept[i] = ch.URL
				file := filepath.Join(webroot, ".well-known/acme-challenge", filepath.Base(ch.Token))
				return os.WriteFile(file, []byte(ch.Token+"."+encode(thumbprint[:])), 0o644)
			}
		}
		return errors.New("no http-01 is offered")
	})
	if err != nil {
		return err
	}
	return each(len(accept), func(i int) error {
		_, _, err := c.post(ctx, accept[i], struct{}{})
		return err
	})
}

// await looks at the order until it has that status: at once, then soon.
func (c *client) await(ctx context.Context, url string, o *object, status string) error {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		if _, err := c.ask(ctx, url, nil, o); err != nil {
			return err
		}
		switch o.Status {
		case status:
			return nil
		case "invalid":
			return errors.New("the order is invalid")
		}
		time.Sleep(pause)
	}
}

// ask posts and reads the object that comes back, and where it is.
func (c *client) ask(ctx context.Context, url string, payload any, o *object) (location string, err error) {
	header, body, err := c.post(ctx, url, payload)
	if err != nil {
		return "", err
	}
	return header.Get("Location"), json.Unmarshal(body, o)
}

// post signs and sends, again with the nonce of the refusal where one was refused.
func (c *client) post(ctx context.Context, url string, payload any) (http.Header, []byte, error) {
	for {
		nonce, err := c.nonce(ctx)
		if err != nil {
			return nil, nil, err
		}
		body, err := c.jws(url, nonce, payload)
		if err != nil {
			return nil, nil, err
		}
		header, answer, err := c.do(ctx, http.MethodPost, url, body)
		if err == nil || !bytes.Contains(answer, []byte("badNonce")) {
			return header, answer, err
		}
	}
}

func (c *client) nonce(ctx context.Context) (string, error) {
	c.mu.Lock()
	if last := len(c.nonces) - 1; last >= 0 {
		defer c.mu.Unlock()
		n := c.nonces[last]
		c.nonces = c.nonces[:last]
		return n, nil
	}
	c.mu.Unlock()
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, c.directory.NewNonce, nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("User-Agent", "floor")
	response, err := c.http.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	return response.Header.Get("Replay-Nonce"), nil
}

// do is one request; what is not 2xx is an error, with its body.
func (c *client) do(ctx context.Context, method, url string, body []byte) (http.Header, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	request.Header.Set("User-Agent", "floor")
	if body != nil {
		request.Header.Set("Content-Type", "application/jose+json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return nil, nil, err
	}
	if nonce := response.Header.Get("Replay-Nonce"); nonce != "" {
		c.mu.Lock()
		c.nonces = append(c.nonces, nonce)
		c.mu.Unlock()
	}
	if response.StatusCode/100 != 2 {
		return nil, answer, fmt.Errorf("%s: %s: %s", url, response.Status, strings.Join(strings.Fields(string(answer)), " "))
	}
	return response.Header, answer, nil
}

// jws signs with ES256 (RFC 7515); a nil payload is POST-as-GET.
func (c *client) jws(url, nonce string, payload any) ([]byte, error) {
	protected := map[string]any{"alg": "ES256", "nonce": nonce, "url": url}
	if c.account != "" {
		protected["kid"] = c.account
	} else {
		protected["jwk"] = json.RawMessage(c.jwk())
	}
	head, err := json.Marshal(protected)
	if err != nil {
		return nil, err
	}
	var body []byte
	if payload != nil {
		if body, err = json.Marshal(payload); err != nil {
			return nil, err
		}
	}
	digest := sha256.Sum256([]byte(encode(head) + "." + encode(body)))
	r, s, err := ecdsa.Sign(rand.Reader, c.key, digest[:])
	if err != nil {
		return nil, err
	}
	var signature [64]byte
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return json.Marshal(map[string]string{"protected": encode(head), "payload": encode(body), "signature": encode(signature[:])})
}

// jwk is the public key in the form that its thumbprint is made from (RFC 7638).
func (c *client) jwk() []byte {
	point, err := c.key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		return nil
	}
	return fmt.Appendf(nil, `{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, encode(point[1:33]), encode(point[33:]))
}

func encode(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

func writeKey(file string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

func readKey(file string) (*ecdsa.PrivateKey, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s: no key", file)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	ours, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s: not a key of ours", file)
	}
	return ours, nil
}

func each(n int, do func(int) error) error {
	if n <= few {
		for i := range n {
			if err := do(i); err != nil {
				return err
			}
		}
		return nil
	}
	errs := make([]error, n)
	next := make(chan int)
	var work sync.WaitGroup
	for range atOnce {
		work.Go(func() {
			for i := range next {
				errs[i] = guard.Run(func() error { return do(i) })
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	work.Wait()
	return errors.Join(errs...)
}

// daily reads the certificate of every line of domains.txt.
func daily(tree string) error {
	list, err := os.ReadFile(filepath.Join(tree, "domains.txt"))
	if err != nil {
		return err
	}
	for name := range strings.Lines(string(list)) {
		data, err := os.ReadFile(filepath.Join(tree, "certs", strings.TrimSpace(name), "cert.pem"))
		if err != nil {
			return err
		}
		block, _ := pem.Decode(data)
		if block == nil {
			return fmt.Errorf("%s: no certificate", name)
		}
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return err
		}
		if time.Until(leaf.NotAfter) < 30*24*time.Hour {
			fmt.Print(name)
		}
	}
	return nil
}
