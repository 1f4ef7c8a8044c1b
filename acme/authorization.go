package acme

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Authorization is the CA's question whether one identifier is the account's to
// use (RFC 8555 §7.1.4). For a wildcard the identifier stands without "*.".
type Authorization struct {
	URL, Status string
	Identifier  Identifier
	Wildcard    bool
	Expires     time.Time
	Challenges  []Challenge

	looks
}

// Challenge is one way to answer (RFC 8555 §7.1.5). Those of types unknown here
// are kept as they are. Raw is the object as it came.
type Challenge struct {
	Type, URL, Status, Token string
	Error                    *Problem
	Raw                      json.RawMessage
}

// tokenTypes are the challenge types whose token becomes a path or an argument.
var tokenTypes = []string{"http-01", "dns-01", "tls-alpn-01", "dns-account-01"}

// FetchAuthorization reads the authorization at that URL.
func (c *Client) FetchAuthorization(ctx context.Context, url string) (*Authorization, error) {
	r, err := c.fetch(ctx, "authorization", url)
	if err != nil {
		return nil, err
	}
	return c.authorization(r)
}

// DeactivateAuthorization gives it up (RFC 8555 §7.5.2).
func (c *Client) DeactivateAuthorization(ctx context.Context, url string) error {
	_, err := c.post(ctx, "authorization deactivation", url, deactivated)
	return err
}

func (c *Client) authorization(r *reply) (*Authorization, error) {
	var in struct {
		Status     string            `json:"status"`
		Identifier Identifier        `json:"identifier"`
		Wildcard   bool              `json:"wildcard"`
		Expires    string            `json:"expires"`
		Challenges []json.RawMessage `json:"challenges"`
	}
	if err := r.object(&in); err != nil {
		return nil, err
	}
	if in.Status == "" {
		return nil, r.wrong("the authorization has no status", nil)
	}
	a := &Authorization{URL: r.call.url, Status: in.Status, Identifier: in.Identifier, Wildcard: in.Wildcard, Expires: readTime(in.Expires),
		looks: looks{retryAfter: r.retryAfter}}
	for _, raw := range in.Challenges {
		ch, err := c.challenge(r, raw, in.Status == "pending")
		if err != nil {
			return nil, err
		}
		a.Challenges = append(a.Challenges, *ch)
	}
	return a, nil
}

// challenge reads one challenge object. Of a type that we know, the token has to
// be good, or absent where nothing is asked any more; others may look as they
// like (Pebble 2.10 has dns-persist-01, without a token).
func (c *Client) challenge(r *reply, raw json.RawMessage, asked bool) (*Challenge, error) {
	var in struct {
		Type   string          `json:"type"`
		URL    string          `json:"url"`
		Status string          `json:"status"`
		Token  json.RawMessage `json:"token"`
		Error  json.RawMessage `json:"error"`
	}
	err := json.Unmarshal(raw, &in)
	ch := &Challenge{Type: in.Type, URL: in.URL, Status: in.Status, Error: readProblem(in.Error), Raw: raw}
	if !slices.Contains(tokenTypes, in.Type) {
		return ch, nil
	}
	if err != nil {
		return nil, r.wrong(in.Type+" challenge", err)
	}
	if in.URL == "" {
		return nil, r.wrong("the "+in.Type+" challenge has no url", nil)
	}
	if err := c.resource(r, in.Type+" challenge", in.URL); err != nil {
		return nil, err
	}
	if in.Token == nil && !asked {
		return ch, nil
	}
	if json.Unmarshal(in.Token, &ch.Token) != nil || !isToken(ch.Token) {
		return nil, r.wrong(fmt.Sprintf("the token of the %s challenge is no base64url of 16 to 256 characters: %s", in.Type, quote(string(in.Token), 80)), nil)
	}
	return ch, nil
}

// isToken holds a token against RFC 8555 §8.3, with bounds: it becomes the name
// of a file and an argument.
func isToken(text string) bool {
	return len(text) >= 16 && len(text) <= 256 && strings.Trim(text, base64url) == ""
}

// Accept tells the CA that it may try the challenge (RFC 8555 §7.5.1). Where the
// answer is lost, the challenge tells whether it was carried out, and only if not
// it is sent again. That a challenge is refused which the CA is trying already is
// no error.
func (c *Client) Accept(ctx context.Context, ch Challenge) (*Challenge, error) {
	for try := 1; ; try++ {
		r, err := c.post(ctx, ch.Type+" challenge", ch.URL, struct{}{})
		if err == nil {
			return c.accepted(r)
		}
		if Refusal(err) != nil { // as in Finalize, it may have been sent twice
			now, readErr := c.fetchChallenge(ctx, ch)
			if readErr == nil && (now.Status == "processing" || now.Status == "valid") {
				return now, nil
			}
			return nil, err
		}
		wait, enough := untilLook(ctx, err, try)
		if !lost(err) || !enough {
			return nil, err
		}
		sleep(ctx, wait)
		now, readErr := c.fetchChallenge(ctx, ch)
		switch {
		case readErr != nil:
			return nil, readErr
		case now.Status != "pending":
			return now, nil
		case try == maxFailures:
			return nil, err
		}
	}
}

func (c *Client) fetchChallenge(ctx context.Context, ch Challenge) (*Challenge, error) {
	r, err := c.fetch(ctx, ch.Type+" challenge", ch.URL)
	if err != nil {
		return nil, err
	}
	return c.accepted(r)
}

// accepted reads a reply that is a challenge. Its token is not asked for again.
func (c *Client) accepted(r *reply) (*Challenge, error) {
	var raw json.RawMessage
	if err := r.object(&raw); err != nil {
		return nil, err
	}
	return c.challenge(r, raw, false)
}
