package issue

import (
	"context"
	"fmt"
	"sync"
	"time"

	"arid/acme"
	"arid/alpn"
	"arid/challenge"
	"arid/hooks"
	"arid/internal/guard"
	"arid/probe"
)

// judged tells what became of the order where the CA refused the answer to a
// challenge: one failed authorization ends the others with it, and the refusal
// says nothing of that.
func (r *run) judged(ctx context.Context, o *acme.Order, tasks []task, refusal error) error {
	ctx, cancel := r.waitCA(ctx)
	defer cancel()
	now, err := r.Client.FetchOrder(ctx, o.URL)
	if err != nil || now.Status != "invalid" {
		return refusal
	}
	if err := r.explain(ctx, now, tasks); is[*ValidationError](err) {
		return err
	}
	return refusal
}

// explain asks the authorizations why an order failed.
func (r *run) explain(ctx context.Context, o *acme.Order, tasks []task) error {
	failed := &ValidationError{}
	for _, t := range tasks {
		a, err := r.Client.FetchAuthorization(ctx, t.url)
		if err != nil {
			return err
		}
		if a.Status != "invalid" {
			continue
		}
		failed.Failures = append(failed.Failures, failureOf(a, t))
	}
	if len(failed.Failures) > 0 {
		return failed
	}
	return &OrderError{What: "the CA gave up the order", Problem: o.Error}
}

// failureOf tells by which challenge an authorization failed.
func failureOf(a *acme.Authorization, t task) Failure {
	f := Failure{Name: t.name, Type: t.typ, task: t}
	if ch, found := verdict(a, t.typ); found {
		f.Type, f.Problem, f.Response = ch.Type, ch.Error, ch.Raw
	}
	return f
}

// verdict is the challenge that an authorization failed by: the one with an error,
// else the one of this type.
func verdict(a *acme.Authorization, typ string) (ours acme.Challenge, found bool) {
	for _, ch := range a.Challenges {
		switch {
		case ch.Error != nil:
			return ch, true
		case ch.Type == typ:
			ours, found = ch, true
		}
	}
	return ours, found
}

// lookAt has a look itself at what the CA refused, while the proofs are still in
// place: all failures that a message tells, side by side.
func (r *run) lookAt(ctx context.Context, failed *ValidationError) {
	if r.Prober == nil || ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	var looks sync.WaitGroup
	for i := range failed.First() {
		f := &failed.Failures[i]
		r.tell(StepProbe, "%s: looking at what the CA refused", f.Name)
		looks.Go(func() {
			_ = guard.Run(func() error {
				f.Seen = r.seen(ctx, r.Prober, f.task)
				return nil
			})
		})
	}
	looks.Wait()
}

func (r *run) seen(ctx context.Context, p *probe.Prober, t task) (seen probe.Seen) {
	switch t.typ {
	case challenge.HTTP01:
		return p.HTTP01(ctx, t.name, t.hook.Token, t.keyAuth)
	case challenge.DNS01:
		return p.DNS01(ctx, t.name, t.hook.Value)
	case challenge.TLSALPN01:
		seen = p.TLSALPN01(ctx, t.name, t.keyAuth)
		if seen.Cause == probe.TLSNoALPN || seen.Cause == probe.TLSOrdinary {
			seen.Text += r.whoMayRead(t.name) // mostly it is that
		}
	}
	return seen
}

// whoMayRead tells the modes of a tls-alpn-01 pair, which the server reads as
// its own user.
func (r *run) whoMayRead(name string) string {
	dir, err := alpn.Open(r.ALPNDir)
	if err != nil {
		return ""
	}
	defer dir.Close()
	return fmt.Sprintf("; the files are %s", dir.Modes(name))
}

func (r *run) reportInvalid(ctx context.Context, failed *ValidationError) {
	for _, f := range failed.Failures {
		if err := r.hook(ctx, hooks.InvalidChallenge(f.Name, f.Flat()), "CHALLENGETYPE="+f.Type, "ARID_HOOK_TYPE="+f.Type); err != nil {
			r.tell(StepWarning, "%v", err)
		}
	}
}
