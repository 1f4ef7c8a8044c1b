package issue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"arid/acme"
	"arid/challenge"
	"arid/hooks"
	"arid/internal/guard"
)

// task is one challenge to be answered.
type task struct {
	name    string // identifier as it was ordered, without "*."
	url     string // of the authorization
	accept  acme.Challenge
	keyAuth string
	hook    hooks.Challenge
}

// validate answers the challenges of all authorizations that need it and waits
// for the CA's verdict. Whatever was put somewhere is taken away again on every
// way out, also when the run was told to end.
func (r *run) validate(ctx context.Context, o *acme.Order) (_ *acme.Order, err error) {
	tasks, err := r.tasks(ctx, o)
	if err != nil {
		return nil, err
	}
	var deployed []hooks.Event // clean events for what the hook was told to deploy
	defer func() { r.clean(ctx, deployed) }()

	remove, err := r.put(tasks)
	defer remove()
	if err != nil {
		return nil, err
	}
	for _, group := range r.groups(tasks) {
		deployed = append(deployed, hooks.CleanChallenge(group...))
		if err := r.hook(ctx, hooks.DeployChallenge(group...)); err != nil {
			return nil, err
		}
	}
	if err = r.accept(ctx, tasks); err == nil {
		o, err = r.await(ctx, o, tasks)
	} else if acme.Refusal(err) != nil {
		err = r.judged(ctx, o, tasks, err)
	}
	var failed *ValidationError
	if errors.As(err, &failed) {
		r.reportInvalid(ctx, failed)
	}
	if err != nil {
		return nil, err
	}
	return o, nil
}

// tasks fetches the authorizations and picks the challenge of the wanted type
// from each that is still pending.
func (r *run) tasks(ctx context.Context, o *acme.Order) ([]task, error) {
	if len(o.Authorizations) == 0 {
		return nil, &acme.ProtocolError{URL: o.URL, What: "the order is pending and names no authorizations"}
	}
	ctx, cancel := r.waitCA(ctx)
	defer cancel()
	all := make([]*task, len(o.Authorizations))
	err := each(ctx, len(all), func(ctx context.Context, i int) (err error) {
		all[i], err = r.task(ctx, o.Authorizations[i])
		return err
	})
	var open []task
	for _, t := range all {
		if t != nil {
			open = append(open, *t)
		}
	}
	return open, err
}

// task is nil where the CA holds a valid authorization already.
func (r *run) task(ctx context.Context, url string) (*task, error) {
	a, err := r.Client.FetchAuthorization(ctx, url)
	if err != nil {
		return nil, err
	}
	name, err := r.ordered(a)
	if err != nil {
		return nil, err
	}
	switch a.Status {
	case "valid":
		r.tell(StepAuthorize, "%s: the CA still holds a valid authorization", name)
		return nil, nil
	case "pending":
	default:
		why, _ := verdict(a, r.Challenge)
		return nil, &OrderError{What: fmt.Sprintf("%s: the authorization is %q", name, a.Status), Problem: why.Error}
	}
	var offered []string
	for _, ch := range a.Challenges {
		offered = append(offered, ch.Type)
		if ch.Type != r.Challenge {
			continue
		}
		keyAuth, err := r.keyAuthorization(ch.Token)
		if err != nil {
			return nil, err
		}
		r.tell(StepAuthorize, "%s: to be proved by %s", name, ch.Type)
		value := challenge.Value(ch.Type, keyAuth)
		return &task{name, url, ch, keyAuth, hooks.Challenge{Name: name, Token: ch.Token, Value: value}}, nil
	}
	return nil, &ConfigError{
		What: fmt.Sprintf("%s: the CA offers no %s", name, r.Challenge),
		Hint: "it offers " + listed(offered),
	}
}

// ordered finds the name that an authorization is for among those that were
// ordered. The CA's own spelling goes no further.
func (r *run) ordered(a *acme.Authorization) (string, error) {
	for _, name := range r.Names {
		id := acme.NewIdentifier(name)
		base, wildcard := strings.CutPrefix(id.Value, "*.")
		if a.Identifier.Equal(acme.Identifier{Type: id.Type, Value: base}) && (!a.Wildcard || wildcard) {
			return base, nil
		}
	}
	return "", &acme.ProtocolError{URL: a.URL, What: fmt.Sprintf("an authorization for %q, which was not ordered", a.Identifier.Value)}
}

// put writes the http-01 files. The returned function takes them away.
func (r *run) put(tasks []task) (remove func(), err error) {
	if r.Challenge != challenge.HTTP01 || len(tasks) == 0 {
		return func() {}, nil
	}
	dir, err := challenge.OpenHTTPDir(r.WellKnown)
	if err != nil {
		return func() {}, err
	}
	var put []string
	remove = func() {
		for _, token := range put {
			if err := dir.Remove(token); err != nil {
				r.tell(StepWarning, "%v", err)
			}
		}
		dir.Close()
	}
	for _, t := range tasks {
		put = append(put, t.hook.Token)
		if err := dir.Put(t.hook.Token, t.keyAuth); err != nil {
			return remove, err
		}
		r.tell(StepPut, "%s: wrote %s/%s", t.name, r.WellKnown, t.hook.Token)
	}
	return remove, nil
}

// removeStale takes away the http-01 files that a killed run left for
// authorizations on which the CA has its verdict. What is still pending may be
// looked at just now, and is put anew. It is no reason to fail.
func (r *run) removeStale(ctx context.Context, o *acme.Order) {
	if r.Challenge != challenge.HTTP01 {
		return
	}
	dir, err := challenge.OpenHTTPDir(r.WellKnown)
	if err != nil {
		return // said later, if it matters
	}
	defer dir.Close()
	if dir.Empty() {
		return // no request for nothing
	}
	_ = each(ctx, len(o.Authorizations), func(ctx context.Context, i int) error {
		a, err := r.Client.FetchAuthorization(ctx, o.Authorizations[i])
		if err != nil || a.Status == "pending" {
			return err
		}
		for _, ch := range a.Challenges {
			if ch.Type != challenge.HTTP01 {
				continue
			}
			keyAuth, err := r.keyAuthorization(ch.Token)
			if err != nil {
				return err
			}
			if err := dir.RemoveStale(ch.Token, keyAuth); err != nil {
				r.tell(StepWarning, "%v", err)
			}
		}
		return nil
	})
}

// groups are the challenges of one hook call each: one by one, or all together
// with HOOK_CHAIN.
func (r *run) groups(tasks []task) (groups [][]hooks.Challenge) {
	var all []hooks.Challenge
	for _, t := range tasks {
		all = append(all, t.hook)
		groups = append(groups, []hooks.Challenge{t.hook})
	}
	if r.HookChain && len(all) > 0 {
		return [][]hooks.Challenge{all}
	}
	return groups
}

// clean calls the clean hook for everything the deploy hook was called for, also
// after a signal: it has 30 seconds of its own. A failure is a warning, since it
// says nothing about the certificate.
func (r *run) clean(ctx context.Context, events []hooks.Event) {
	if len(events) == 0 {
		return
	}
	r.tell(StepRemove, "the challenges are taken away")
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(30*time.Second, cancel) })()
	for _, e := range events {
		if err := r.hook(own, e); err != nil {
			r.tell(StepWarning, "%v", err)
		}
	}
}

// accept tells the CA that it may look.
func (r *run) accept(ctx context.Context, tasks []task) error {
	ctx, cancel := r.waitCA(ctx)
	defer cancel()
	return each(ctx, len(tasks), func(ctx context.Context, i int) error {
		r.tell(StepAccept, "%s: the CA may look now", tasks[i].name)
		if _, err := r.Client.Accept(ctx, tasks[i].accept); err != nil {
			return fmt.Errorf("%s: %w", tasks[i].name, err)
		}
		return nil
	})
}

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
	if err := r.explain(ctx, now, tasks); isValidation(err) {
		return err
	}
	return refusal
}

// await polls the order until it leaves "pending". The authorizations are looked
// at only to explain an invalid order, or one that stays pending long after.
func (r *run) await(ctx context.Context, o *acme.Order, tasks []task) (_ *acme.Order, err error) {
	ctx, cancel := r.waitCA(ctx)
	defer cancel()
	const patience = 30 * time.Second
	for {
		until := time.Now().Add(patience)
		o, err = r.Client.WaitOrder(ctx, o, func(status string) bool {
			return status != "pending" || time.Now().After(until)
		})
		switch {
		case err != nil:
			return nil, err
		case o.Status == "invalid":
			return nil, r.explain(ctx, o, tasks)
		case o.Status != "pending":
			r.tell(StepValid, "the CA has validated %s", r.names)
			return o, nil
		}
		if err := r.explain(ctx, o, tasks); isValidation(err) {
			return nil, err
		}
	}
}

func isValidation(err error) bool {
	var v *ValidationError
	return errors.As(err, &v)
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
		f := Failure{Name: t.name, Type: t.accept.Type}
		if ch, found := verdict(a, t.accept.Type); found {
			f.Type, f.Problem, f.Response = ch.Type, ch.Error, ch.Raw
		}
		failed.Failures = append(failed.Failures, f)
	}
	if len(failed.Failures) > 0 {
		return failed
	}
	return &OrderError{What: "the CA gave up the order", Problem: o.Error}
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

func (r *run) reportInvalid(ctx context.Context, failed *ValidationError) {
	for _, f := range failed.Failures {
		if err := r.hook(ctx, hooks.InvalidChallenge(f.Name, flatten(f.Response))); err != nil {
			r.tell(StepWarning, "%v", err)
		}
	}
}

// each does n things: one after another while they are few, above that sixteen
// side by side. The first error stops the rest and is returned.
func each(ctx context.Context, n int, do func(context.Context, int) error) error {
	const few, atOnce = 5, 16
	if n <= few {
		for i := range n {
			if err := do(ctx, i); err != nil {
				return err
			}
		}
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var work sync.WaitGroup
	next := make(chan int)
	for range atOnce {
		work.Go(func() {
			for i := range next {
				if err := guard.Run(func() error { return do(ctx, i) }); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := range n {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	work.Wait()
	return context.Cause(ctx)
}
