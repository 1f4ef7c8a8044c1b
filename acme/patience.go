package acme

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

// What is tried again, and how often, for one call.
const (
	maxFailures   = 4               // lost connections, 5xx: 1, 2, 4 s between them
	maxNonceTries = 16              // three fail where a CA refuses 30 % of them
	maxWaits      = 10              // Retry-After on 429 and 5xx
	maxWait       = 5 * time.Minute // the longest of these that is waited for
)

// patience is how often one call has been tried, and why.
type patience struct {
	nonce                   string // to use next; "" for any
	nonces, failures, waits int
}

// after says how long to wait before the call is sent again, or, with an error,
// that it is not.
func (p *patience) after(ctx context.Context, k *call, r *reply, err error) (time.Duration, error) {
	p.nonce = ""
	if err != nil {
		return p.failure(ctx, k, err)
	}
	refusal := r.refusal()
	// 429 and 503 say that nothing was carried out; other 5xx do not.
	switch {
	case r.badNonce() && k.payload != nil:
		return p.refusedNonce(r, refusal)
	case r.status/100 == 3:
		return 0, r.wrong("a redirect to "+quote(r.header.Get("Location"), maxURLShown)+", which is not followed", nil)
	case r.status < 400:
		return 0, r.wrong(fmt.Sprintf("HTTP status %d", r.status), nil)
	case r.status == http.StatusTooManyRequests, r.status == http.StatusServiceUnavailable, refusal.Short() == "rateLimited":
		later := &TemporaryError{What: "not now", Until: r.retryAfter, Err: refusal, wholeCA: k.ofCA() || r.status == http.StatusServiceUnavailable}
		switch {
		case !later.Until.IsZero():
			return p.asked(ctx, later)
		case r.status == http.StatusServiceUnavailable:
			return p.failure(ctx, k, later)
		}
		return 0, later // a limit without a time: asking again makes it worse
	case r.status >= 500:
		trouble := &TemporaryError{What: "the CA has trouble", Until: r.retryAfter, Err: refusal, lost: true, wholeCA: k.ofCA()}
		if k.again && !trouble.Until.IsZero() {
			return p.asked(ctx, trouble)
		}
		return p.failure(ctx, k, trouble)
	}
	return 0, refusal
}

// ofCA says that the call is no concern of one certificate alone: put off, others
// are put off too.
func (k *call) ofCA() bool {
	switch k.what {
	case "directory", "new nonce", "new account", "account", "account update", "account deactivation", "key change":
		return true
	}
	return false
}

// failure is a lost connection or a CA in trouble. A signed request that may
// have been carried out is not repeated; POST-as-GET and GET are.
func (p *patience) failure(ctx context.Context, k *call, err error) (time.Duration, error) {
	var temporary *TemporaryError
	if !errors.As(err, &temporary) || temporary.settled || ctx.Err() != nil || temporary.lost && !k.again {
		return 0, err
	}
	if p.failures++; p.failures == maxFailures {
		return 0, err
	}
	return jitter(time.Second << (p.failures - 1)), nil
}

// refusedNonce tries again with the nonce that came with the refusal (RFC 8555
// §6.5): four times at once, then slower.
func (p *patience) refusedNonce(r *reply, refusal *Problem) (time.Duration, error) {
	if p.nonces++; p.nonces == maxNonceTries {
		return 0, &TemporaryError{What: fmt.Sprintf("the CA refused %d nonces", p.nonces), Err: refusal}
	}
	p.nonce = r.nonce
	if p.nonces <= 4 {
		return 0, nil
	}
	return min(100*time.Millisecond<<(p.nonces-5), time.Second), nil
}

// asked is a CA that says when to come again. Until then is waited where it is
// short and the caller has it.
func (p *patience) asked(ctx context.Context, later *TemporaryError) (time.Duration, error) {
	wait := max(time.Until(later.Until), time.Second)
	if p.waits++; p.waits > maxWaits || wait > maxWait || !within(ctx, wait) {
		return 0, later
	}
	return wait, nil
}

// untilLook is how long to wait before it is looked whether a request was carried
// out whose answer is err; false where there is no time for that.
func untilLook(ctx context.Context, err error, try int) (time.Duration, bool) {
	wait := jitter(time.Second << (try - 1))
	if temporary, ok := errors.AsType[*TemporaryError](err); ok && !temporary.Until.IsZero() {
		wait = max(wait, time.Until(temporary.Until))
	}
	return wait, ctx.Err() == nil && wait <= maxWait && within(ctx, wait)
}

// within says whether the caller has that long.
func within(ctx context.Context, d time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return !ok || time.Now().Add(d).Before(deadline)
}

// sleep ends early where ctx does.
func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// jitter is d, a quarter more or less.
func jitter(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2) }
