package acme_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"arid/acme"
	"arid/internal/fakeca"
)

// secretive is a transport that notes what must not be told.
type secretive struct {
	http.RoundTripper
	mu      sync.Mutex
	secrets []string
}

func (s *secretive) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPost {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		var parts struct{ Protected, Payload, Signature string }
		if err := json.Unmarshal(body, &parts); err != nil {
			return nil, err
		}
		s.note(parts.Protected, parts.Payload, parts.Signature)
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	response, err := s.RoundTripper.RoundTrip(r)
	if err == nil {
		s.note(response.Header.Get("Replay-Nonce"))
	}
	return response, err
}

func (s *secretive) note(secrets ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range secrets {
		if len(text) >= 16 { // else it is an empty payload
			s.secrets = append(s.secrets, text)
		}
	}
}

func TestNoSecretIsTraced(t *testing.T) {
	hmac := []byte("0123456789abcdefghijklmnopqrstuv")
	ca := fakeca.New(t).EAB("kid-1", hmac).RejectNonces(2)
	watch := &secretive{RoundTripper: ca.HTTPClient().Transport}
	watch.note(string(hmac), base64.RawURLEncoding.EncodeToString(hmac))
	var seen []acme.Exchange
	c, err := acme.New(ca.URL(), acme.Options{HTTP: &http.Client{Transport: watch}, Trace: func(x acme.Exchange) { seen = append(seen, x) }})
	if err != nil {
		t.Fatal(err)
	}
	key := newKey(t)
	if _, err := c.NewAccount(t.Context(), key, acme.AccountRequest{TermsOfServiceAgreed: true, EAB: &acme.EAB{KID: "kid-1", Key: hmac}}); err != nil {
		t.Fatal(err)
	}
	if _, err := issued(t, c, "example.org"); err != nil {
		t.Fatal(err)
	}
	o, err := c.NewOrder(t.Context(), request("example.org"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := c.FetchAuthorization(t.Context(), o.Authorizations[0])
	if err != nil {
		t.Fatal(err)
	}
	ch := challengeOf(a, "http-01")
	keyAuthorization, err := acme.KeyAuthorization(ch.Token, key)
	if err != nil {
		t.Fatal(err)
	}
	_, thumbprint, _ := strings.Cut(keyAuthorization, ".")
	watch.note(ch.Token, thumbprint)
	// A CA that repeats all it knows.
	ca.On(fakeca.Challenge, func(w http.ResponseWriter, r *http.Request) bool {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(400)
		detail := fmt.Sprintf("not %q but %s; see https://ca.example/u?jwt=%s; %s; %s", keyAuthorization, ch.Token, thumbprint, strings.Join(watch.secrets, ", "), body)
		_ = json.NewEncoder(w).Encode(map[string]string{"type": "urn:ietf:params:acme:error:malformed", "detail": detail})
		return true
	})
	_, err = c.Accept(t.Context(), ch)
	wantProblem(t, err, "malformed")
	told := false
	for _, x := range seen {
		line := fmt.Sprintf("%+v", x)
		for _, secret := range watch.secrets {
			if strings.Contains(line, secret) {
				t.Errorf("%q is in %s", secret, line)
			}
		}
		if len(line) > 4<<10 {
			t.Errorf("%d bytes: %s", len(line), line)
		}
		told = told || strings.HasPrefix(x.ProblemDetail, `not "….…" but …; see https://ca.example/u?jwt=…; …, …`)
	}
	if !told {
		t.Errorf("what the CA said is not told: %+v", seen[len(seen)-2:])
	}
}

func TestNonceThatIsAWordIsNotTraced(t *testing.T) {
	ca := fakeca.New(t)
	var seen []acme.Exchange
	c, err := acme.New(ca.URL(), acme.Options{HTTP: ca.HTTPClient(), Trace: func(x acme.Exchange) { seen = append(seen, x) }})
	if err != nil {
		t.Fatal(err)
	}
	ca.Header(fakeca.Nonce, "Replay-Nonce", "xyzzy").On(fakeca.NewAccount, func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(400)
		_, _ = w.Write([]byte(`{"type":"urn:ietf:params:acme:error:malformed","detail":"JWS has an old nonce: \"xyzzy\""}`))
		return true
	})
	_, err = c.NewAccount(t.Context(), newKey(t), acme.AccountRequest{})
	wantProblem(t, err, "malformed")
	if last := seen[len(seen)-1]; last.ProblemDetail != `JWS has an old nonce: "…"` {
		t.Errorf("%+v", last)
	}
}

func TestTraceTellsWhatABugReportNeeds(t *testing.T) {
	ca := fakeca.New(t)
	var seen []acme.Exchange
	c, err := acme.New(ca.URL(), acme.Options{HTTP: &http.Client{Transport: acme.NewTransport(acme.TransportOptions{Roots: ca.Roots()})},
		Trace: func(x acme.Exchange) { seen = append(seen, x) }})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	ca.Member(fakeca.Directory, "detail", "no error")
	ca.Problem(fakeca.NewAccount, 429, "rateLimited", "too many registrations\x1b[2J: see https://ca.example/limits/#new-registrations-per-ip-address", 1, "Retry-After: 36000", "Location: /limits")
	_, err = c.NewAccount(t.Context(), newKey(t), acme.AccountRequest{TermsOfServiceAgreed: true})
	wantTemporary(t, err)
	if len(seen) != 3 {
		t.Fatalf("%+v", seen)
	}
	for i, want := range []acme.Exchange{
		{What: "directory", Method: "GET", URL: ca.URL(), NewConnection: true, Status: 200},
		{What: "new nonce", Method: "HEAD", URL: ca.Base() + "/new-nonce", Status: 200},
		{What: "new account", Method: "POST", URL: ca.Base() + "/new-account", Status: 429, RetryAfter: "36000", Location: "/limits",
			ProblemType:   "urn:ietf:params:acme:error:rateLimited",
			ProblemDetail: `too many registrations\x1b[2J: see https://ca.example/limits/#new-registrations-per-ip-address`},
	} {
		got := seen[i]
		if got.Began.Before(began) || got.Duration <= 0 || (got.Sent > 100) != (want.Method == "POST") || (got.Received > 100) != (want.Method != "HEAD") {
			t.Errorf("%+v", got)
		}
		began = got.Began
		want.Protocol = "HTTP/2"
		got.Began, got.Duration, got.Sent, got.Received = time.Time{}, 0, 0, 0
		if got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
}
