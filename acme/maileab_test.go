package acme_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"arid/acme"
)

// mailEAB asks a place that answers so, and returns the request's form too.
func mailEAB(t *testing.T, status int, answer string) (kid, key, form string, err error) {
	t.Helper()
	place := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		form = fmt.Sprintf("%s %s %s %s", r.Method, r.URL.Path, r.Header.Get("Content-Type"), body)
		if status == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	defer place.Close()
	c, err := acme.New("https://ca.example/directory", acme.Options{})
	if err != nil {
		t.Fatal(err)
	}
	kid, key, err = c.FetchEAB(t.Context(), place.URL+"/eab", "me+arid@example.org")
	return kid, key, form, err
}

func TestFetchEAB(t *testing.T) {
	kid, key, form, err := mailEAB(t, 200, `{"success":true,"eab_kid":"GD-VvWydSVFuss_GhBwYQQ","eab_hmac_key":"MjXU3MH"}`)
	if err != nil || kid != "GD-VvWydSVFuss_GhBwYQQ" || key != "MjXU3MH" {
		t.Errorf("%q %q %v", kid, key, err)
	}
	if form != "POST /eab application/x-www-form-urlencoded email=me%2Barid%40example.org" {
		t.Errorf("sent %q", form)
	}
}

func TestFetchEABRefused(t *testing.T) {
	const secret = "c2VjcmV0c2VjcmV0"
	var (
		none     *acme.NoEABError
		later    *acme.TemporaryError
		protocol *acme.ProtocolError
	)
	for _, c := range []struct {
		status int
		answer string
		want   any
		text   string
	}{
		{200, `{"success":false,"error":{"code":2900,"type":"missing_email"}}`, &none, `"missing_email"`},
		{400, `{"error":{"type":"bad \u001b[2J"}}`, &none, `bad \x1b[2J`},
		{200, `{"success":true,"eab_hmac_key":"` + secret + `"}`, &none, "without a reason"},
		{200, `{"error":"` + secret + `"}`, &none, "without a reason"},
		{404, "<html>", &none, "HTTP status 404"},
		{302, "", &none, "HTTP status 302"},
		{429, "", &later, "HTTP status 429"},
		{502, "<html>", &later, "HTTP status 502"},
		{200, `<!DOCTYPE html>`, &protocol, "HTML"},
		{200, `{"eab_kid":7,"eab_hmac_key":"` + secret + `"}`, &protocol, "eab_kid"},
		{200, `{"eab_kid":"k","eab_hmac_key":"` + secret, &protocol, ""},
		{200, `{"eab_kid":"k","eab_hmac_key":"` + secret + strings.Repeat("A", 64<<10) + `"}`, &protocol, "larger than 64 KiB"},
		{200, strings.Repeat(`{"a":`, 1000), &protocol, ""},
	} {
		kid, key, _, err := mailEAB(t, c.status, c.answer)
		if err == nil || kid+key != "" || !errors.As(err, c.want) || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "c2Vj") {
			t.Errorf("%d %.80q: %q %q %v", c.status, c.answer, kid, key, err)
		}
	}
}

func TestFetchEABOverHTTPSAlone(t *testing.T) {
	c, err := acme.New("https://ca.example/directory", acme.Options{HTTP: &http.Client{Transport: refusing{t}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{"http://api.example/eab", "ftp://127.0.0.1/eab", "https://u:p@api.example/", ""} {
		var bad *acme.URLError
		if _, _, err := c.FetchEAB(t.Context(), place, "me@example.org"); !errors.As(err, &bad) {
			t.Errorf("%q: %v", place, err)
		}
	}
}

// refusing is the network where nothing is to be sent.
type refusing struct{ t *testing.T }

func (r refusing) RoundTrip(q *http.Request) (*http.Response, error) {
	r.t.Errorf("%s %s", q.Method, q.URL)
	return nil, http.ErrNotSupported
}
