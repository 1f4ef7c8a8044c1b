package issue

import (
	"context"
	"fmt"
	"slices"
	"time"

	"arid/challenge"
)

// SelfCheckError says which proofs cannot be seen from here, and what is seen instead.
// The CA has not been told, so that the authorizations can still be used.
type SelfCheckError struct {
	Failures []Failure // without a Problem
}

func (e *SelfCheckError) Error() string {
	return firstOf(e.Failures, func(f Failure) string {
		return fmt.Sprintf("%s: %s: not seen from here, and the CA is not told: %s", f.Name, f.Type, f.Seen.Text)
	})
}

// selfCheck looks at http-01 and tls-alpn-01 as the CA would, while it has not been
// told. The error is a *SelfCheckError, or the cause of a cancelled ctx.
func (r *run) selfCheck(ctx context.Context, tasks []task) error {
	if r.SelfCheck == nil {
		return nil
	}
	defer r.notCounted(time.Now())
	failures := make([]Failure, len(tasks))
	err := each(ctx, len(tasks), func(ctx context.Context, i int) error {
		t := tasks[i]
		if t.typ != challenge.HTTP01 && t.typ != challenge.TLSALPN01 {
			return nil
		}
		r.tell(StepProbe, "%s: looking before the CA does", t.name)
		if seen := r.seen(ctx, r.SelfCheck, t); !seen.Right {
			failures[i] = Failure{Name: t.name, Type: t.typ, Seen: seen}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if ctx.Err() != nil { // what was seen then says nothing
		return context.Cause(ctx)
	}
	failures = slices.DeleteFunc(failures, func(f Failure) bool { return f.Name == "" })
	if len(failures) > 0 {
		return &SelfCheckError{failures}
	}
	return nil
}
