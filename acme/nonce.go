package acme

import (
	"context"
	"errors"
	"net/http"
	"strings"
)

// maxNonces bounds the pool. More than run side by side is of no use, and nonces
// age.
const maxNonces = 32

// nonce takes the youngest one from the pool, or asks for one (RFC 8555 §7.2).
func (c *Client) nonce(ctx context.Context) (string, error) {
	if n := c.takeNonce(); n != "" {
		return n, nil
	}
	r, err := c.send(ctx, &call{what: "new nonce", method: http.MethodHead, member: newNonce, again: true})
	if err != nil {
		if temporary, ok := errors.AsType[*TemporaryError](err); ok {
			temporary.lost = false // what the nonce was wanted for has not been sent
		}
		return "", err
	}
	if r.nonce == "" {
		return "", r.wrong("the reply has no good Replay-Nonce", nil)
	}
	return r.nonce, nil
}

func (c *Client) takeNonce() (n string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last := len(c.nonces) - 1; last >= 0 {
		n, c.nonces = c.nonces[last], c.nonces[:last]
	}
	return n
}

func (c *Client) keepNonce(n string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.nonces = append(c.nonces, n); len(c.nonces) > maxNonces {
		c.nonces = append(c.nonces[:0], c.nonces[1:]...)
	}
}

// goodNonce is the header's value where it is base64url (RFC 8555 §6.5.1: others
// are to be ignored), else "".
func goodNonce(value string) string {
	if len(value) > 1<<10 || strings.Trim(value, base64url) != "" {
		return ""
	}
	return value
}

const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// badNonce says that the nonce was refused. The problem's type tells, not the
// status.
func (r *reply) badNonce() bool {
	if r.status < 400 || r.status >= 500 {
		return false
	}
	p := readProblem(r.body)
	return p != nil && p.Short() == "badNonce"
}
