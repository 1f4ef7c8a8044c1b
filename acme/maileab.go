package acme

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

// NoEABError says that the CA gave no external account binding for a mail address.
type NoEABError struct {
	URL, Why string
}

func (e *NoEABError) Error() string {
	return clean(fmt.Sprintf("no external account binding for the mail address from %s: %s", quote(e.URL, maxURLShown), e.Why), maxErrorShown)
}

// maxMailEAB bounds the answer; an honest one has some 200 bytes.
const maxMailEAB = 64 << 10

// FetchEAB asks for an external account binding for a mail address, as ZeroSSL gives
// one out: a form with that address, answered by JSON with a key id and the HMAC key
// in base64. It is asked once. A refusal is a *NoEABError. The key stands in no error.
func (c *Client) FetchEAB(ctx context.Context, endpoint, address string) (kid, key string, err error) {
	u, err := parseURL(endpoint)
	if err == nil && u.Scheme == "http" && !isLoopback(u) {
		err = fmt.Errorf("plain http is for loopback addresses alone")
	}
	if err != nil {
		return "", "", &URLError{endpoint, err.Error()}
	}
	r, err := c.exchange(ctx, &call{
		what: "external account binding", method: http.MethodPost, url: endpoint,
		contentType: "application/x-www-form-urlencoded", limit: maxMailEAB,
	}, []byte(url.Values{"email": {address}}.Encode()))
	if err != nil {
		return "", "", err
	}
	if r.status == http.StatusTooManyRequests || r.status >= 500 {
		return "", "", &TemporaryError{What: r.call.name(), Until: r.retryAfter, wholeCA: true, Err: fmt.Errorf("HTTP status %d", r.status)}
	}
	var in struct {
		KID   string          `json:"eab_kid"`
		Key   string          `json:"eab_hmac_key"`
		Error json.RawMessage `json:"error"`
	}
	malformed := r.object(&in)
	switch {
	case r.status/100 == 2 && malformed != nil:
		return "", "", malformed
	case r.status/100 == 2 && in.KID != "" && in.Key != "":
		return in.KID, in.Key, nil
	}
	return "", "", &NoEABError{endpoint, refusedEAB(r.status, in.Error)}
}

// refusedEAB is the reason in {"error":{"code":2900,"type":"missing_email"}}.
func refusedEAB(status int, text []byte) string {
	var reason struct {
		Type string `json:"type"`
	}
	if _ = json.Unmarshal(text, &reason); reason.Type != "" {
		return quote(reason.Type, maxSubShown)
	}
	return fmt.Sprintf("HTTP status %d without a reason", status)
}
