package issue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"arid/acme"
	"arid/challenge"
	"arid/dns"
	"arid/hooks"
	"arid/internal/guard"
)

// task is one challenge to be answered.
type task struct {
	name    string // identifier as it was ordered, without "*."
	typ     string // challenge type
	url     string // of the authorization
	accept  acme.Challenge
	keyAuth string
	hook    hooks.Challenge
	record  string // dns-01: the name that the TXT record goes to
}

// validate answers the challenges of all authorizations that need it and waits
// for the CA's verdict. Whatever was put somewhere is taken away again on every
// way out, also when the run was told to end.
func (r *run) validate(ctx context.Context, o *acme.Order) (_ *acme.Order, err error) {
	tasks, err := r.tasks(ctx, o)
	if err != nil {
		return nil, err
	}
	r.tell(StepPending, "%d pending challenges", len(tasks))
	var deployed [][]task // what the hook was told to deploy
	defer func() { r.clean(ctx, deployed) }()

	remove, err := r.put(ctx, tasks)
	defer remove()
	if err != nil {
		return nil, err
	}
	r.findRecords(ctx, tasks)
	for _, group := range r.groups(tasks) {
		deployed = append(deployed, group)
		if err := r.challengeHook(ctx, hooks.DeployChallenge, group); err != nil {
			return nil, err
		}
	}
	if err := r.awaitRecords(ctx, tasks); err != nil {
		return nil, err
	}
	if err := r.selfCheck(ctx, tasks); err != nil {
		return nil, err
	}
	if r.Dehydrated {
		err = r.oneByOne(ctx, tasks)
	} else {
		err = r.accept(ctx, tasks)
	}
	switch {
	case err == nil:
		o, err = r.await(ctx, o, tasks)
	case acme.Refusal(err) != nil:
		err = r.judged(ctx, o, tasks, err)
	}
	if failed, ok := errors.AsType[*ValidationError](err); ok {
		r.lookAt(ctx, failed)
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
	name, typ, err := r.ordered(a)
	if err != nil {
		return nil, err
	}
	switch a.Status {
	case "valid":
		r.tell(StepHeld, "%s: the CA still holds a valid authorization", name)
		return nil, nil
	case "pending":
	default:
		why, _ := verdict(a, typ)
		return nil, &OrderError{What: fmt.Sprintf("%s: the authorization is %q", name, a.Status), Problem: why.Error}
	}
	var offered []string
	for _, ch := range a.Challenges {
		offered = append(offered, ch.Type)
		if ch.Type != typ {
			continue
		}
		keyAuth, err := r.keyAuthorization(ch.Token)
		if err != nil {
			return nil, err
		}
		r.tell(StepAuthorize, "%s: to be proved by %s", name, typ)
		told := hooks.Challenge{Name: challenge.HookName(typ, name), Token: ch.Token, Value: challenge.Value(typ, keyAuth)}
		return &task{name: name, typ: typ, url: url, accept: ch, keyAuth: keyAuth, hook: told, record: challenge.Record(name)}, nil
	}
	return nil, &OfferError{Name: name, Type: typ, Offered: offered}
}

// ordered finds what an authorization is for among the names that were ordered:
// the name without its "*.", and the type it is to be proved by. The CA's own
// spelling goes no further.
func (r *run) ordered(a *acme.Authorization) (base, typ string, err error) {
	found := ""
	for _, name := range r.Names {
		id := acme.NewIdentifier(name)
		base, wildcard := strings.CutPrefix(id.Value, "*.")
		if !a.Identifier.Equal(acme.Identifier{Type: id.Type, Value: base}) || a.Wildcard && !wildcard {
			continue
		}
		if found == "" || a.Wildcard == wildcard { // a CA may leave "wildcard" out (RFC 8555 §7.1.4: optional)
			found = name
		}
	}
	if found == "" {
		return "", "", &acme.ProtocolError{URL: a.URL, What: fmt.Sprintf("an authorization for %q, which was not ordered", a.Identifier.Value)}
	}
	return strings.TrimPrefix(found, "*."), r.typeOf(found), nil
}

// typeOf is the challenge type for one of the names. Natively every one has one; in
// dehydrated's mode the CA is asked for what cannot be, too.
func (r *run) typeOf(name string) string {
	typ, err := r.Types.For(name)
	if err != nil {
		return r.Types.First()
	}
	return typ
}

// groups are the challenges of one hook call each: one by one, or all together
// with HOOK_CHAIN, those of different types apart.
func (r *run) groups(tasks []task) (groups [][]task) {
	if !r.HookChain {
		for i := range tasks {
			groups = append(groups, tasks[i:i+1])
		}
		return groups
	}
	for _, t := range tasks {
		i := slices.IndexFunc(groups, func(g []task) bool { return g[0].typ == t.typ })
		if i < 0 {
			i, groups = len(groups), append(groups, nil)
		}
		groups[i] = append(groups[i], t)
	}
	return groups
}

// challengeHook calls the hook for challenges of one type.
func (r *run) challengeHook(ctx context.Context, event func(...hooks.Challenge) hooks.Event, group []task) error {
	var told []hooks.Challenge
	var records []string
	for _, t := range group {
		told = append(told, t.hook)
		records = append(records, t.record)
	}
	env := []string{"CHALLENGETYPE=" + group[0].typ, "ARID_HOOK_TYPE=" + group[0].typ}
	if group[0].typ == challenge.DNS01 {
		env = append(env, "ARID_HOOK_RECORD="+strings.Join(records, " "))
	}
	return r.hook(ctx, event(told...), env...)
}

// clean calls the clean hook for everything the deploy hook was called for, also
// after a signal: it has 30 seconds of its own. A failure is a warning, since it
// says nothing about the certificate.
func (r *run) clean(ctx context.Context, deployed [][]task) {
	if len(deployed) == 0 {
		return
	}
	r.tell(StepRemove, "the challenges are taken away")
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(30*time.Second, cancel) })()
	for _, group := range deployed {
		if err := r.challengeHook(own, hooks.CleanChallenge, group); err != nil {
			r.tell(StepWarning, "%v", err)
		}
	}
}

// findRecords follows CNAMEs for the hook, which is told where a record belongs.
// Where that cannot be found, awaitRecords has the words for it.
func (r *run) findRecords(ctx context.Context, tasks []task) {
	if r.DNS == nil || r.DNSWait == 0 || !r.hasHook() {
		return
	}
	defer r.notCounted(time.Now())
	_ = each(ctx, len(tasks), func(ctx context.Context, i int) error {
		if t := &tasks[i]; t.typ == challenge.DNS01 {
			if place, err := r.DNS.Place(ctx, t.record); err == nil && plain(place.Name) {
				t.record = place.Name
			}
		}
		return nil
	})
}

// plain tells whether a hook can make words, lines and file names of a DNS name: what
// a CNAME leads to is said by others, and a label may hold any byte.
func plain(name string) bool {
	odd := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r))
	}
	return !strings.HasPrefix(name, "-") && !strings.ContainsFunc(name, odd)
}

// awaitRecords looks for the TXT records where the CA will: at all authoritative
// servers. Those may be out of reach from here and not from there, so that what
// is not seen is a warning.
func (r *run) awaitRecords(ctx context.Context, tasks []task) error {
	records := txtRecords(tasks)
	if r.DNS == nil || r.DNSWait == 0 || len(records) == 0 {
		return nil
	}
	defer r.notCounted(time.Now())
	r.tell(StepLook, "looking for the TXT records at every authoritative server")
	own, cancel := context.WithTimeout(ctx, r.DNSWait)
	defer cancel()
	err := r.DNS.Wait(own, records)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		r.tell(StepWarning, "%v; the CA is told to look all the same", err)
	}
	return nil
}

// txtRecords are the records of the dns-01 challenges among the tasks.
func txtRecords(tasks []task) (records []dns.Record) {
	for _, t := range tasks {
		if t.typ == challenge.DNS01 {
			records = append(records, dns.Record{Name: challenge.Record(t.name), Value: t.hook.Value})
		}
	}
	return records
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

// oneByOne has the CA look at one challenge after another, up to the first that
// fails: dehydrated's way.
func (r *run) oneByOne(ctx context.Context, tasks []task) error {
	ctx, cancel := r.waitCA(ctx)
	defer cancel()
	for _, t := range tasks {
		r.tell(StepAccept, "%s: the CA may look now", t.name)
		if _, err := r.Client.Accept(ctx, t.accept); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		own, cancel := limit(ctx, r.ValidationTimeout, "validation of "+t.name)
		a, err := r.Client.WaitAuthorization(own, t.url)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		if a.Status != "valid" {
			return &ValidationError{Failures: []Failure{failureOf(a, t)}}
		}
		r.tell(StepProved, "%s: the CA has seen the proof", t.name)
	}
	return nil
}

// limit is a time limit of dehydrated's; 0 is none.
func limit(ctx context.Context, d time.Duration, what string) (context.Context, context.CancelFunc) {
	if d == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, d, &acme.TemporaryError{What: fmt.Sprintf("the %s took longer than %s", what, d)})
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
		if err := r.explain(ctx, o, tasks); is[*ValidationError](err) {
			return nil, err
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
