package issue

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"arid/acme"
	"arid/certs"
	"arid/hooks"
	"arid/keys"
	"arid/renew"
)

// run is one request under way.
type run struct {
	*Request
	state    *certs.State
	live     *certs.Live   // what the stable names show; nil: nothing usable
	roll     crypto.Signer // with Rollover: the key that lies ready; nil if none does
	current  *certs.Live   // what counts as the present certificate: live, or a version not yet switched to
	due      renew.Decision
	account  string    // account URL
	deadline time.Time // of all waiting on the CA; hooks move it
	names    string    // for the hooks: all names, blank-separated
	digested string    // by digest
	began    time.Time // by this host's clock, where Now is the run's
	asked    bool      // the hook, for a CSR
	hookCSR  bool      // it gave one
	telling  sync.Mutex
	warned   []string // by look
	owedGone bool     // what was owed cannot be done any more, which the disk does not know yet
}

// Sign brings one certificate to where the request wants it: it asks nothing
// and writes nothing where that is so already. Errors: *ValidationError,
// *SelfCheckError, *OrderError, *acme.Problem (the CA refused), *acme.TemporaryError (later
// again), *acme.ProtocolError, *ConfigError, *DeployError (issued and stored, a
// hook failed after that; the Result is complete), those of account and certs,
// and the cause of a cancelled ctx.
func Sign(ctx context.Context, request *Request) (*Result, error) {
	own := *request // a CSR of the hook's changes it
	r := &run{Request: &own, began: time.Now()}
	r.names = strings.Join(r.words(), " ")
	if r.Certificate == nil {
		return r.signOnly(ctx)
	}
	result, err := r.sign(ctx)
	if err == nil && r.OCSP {
		err = r.staple(ctx, result)
	}
	return result, err
}

func (r *run) sign(ctx context.Context) (*Result, error) {
	if r.Memory != nil {
		r.digest()
	}
	if err := r.decide(ctx); err != nil {
		return nil, err
	}
	if r.nothingToDo() {
		return r.unchanged(ctx)
	}
	if err := r.held(); err != nil {
		return nil, err
	}
	if r.Begin != nil {
		if err := r.Begin(ctx); err != nil {
			return nil, err
		}
	}
	unlock, err := r.Certificate.Lock(ctx, r.LockWait)
	if err != nil {
		return nil, err
	}
	defer unlock()
	// Another run may have been faster while this one waited for the lock.
	if err := r.look(); err != nil {
		return nil, err
	}
	if r.nothingToDo() {
		return r.unchanged(ctx)
	}
	if err := r.held(); err != nil {
		return nil, err
	}
	result, err := r.attempt(ctx)
	if now := r.Now.Add(time.Since(r.began)); r.failed(ctx, err, now) {
		err = r.again(err, now)
	}
	return result, err
}

// attempt does what is to be done.
func (r *run) attempt(ctx context.Context) (*Result, error) {
	switch {
	case r.due.Due:
	case r.owedGone && !r.Redeploy:
		return r.result(&Result{Reason: r.due.Reason}), r.owe(nil, "")
	case r.state.Owed == nil:
		return r.redeploy(ctx)
	default:
		return r.finishOwed(ctx)
	}
	r.tell(StepDue, "due: %s", r.due.Reason)
	if err := r.askCSR(ctx); err != nil {
		return nil, err
	}
	made, err := r.obtain(ctx)
	if err != nil {
		return nil, err
	}
	version, err := r.store(made)
	if err != nil {
		return nil, err
	}
	result := &Result{Issued: true, Reason: r.due.Reason, Chain: made.Chain, Key: made.Key}
	return r.result(result), r.deploy(ctx, version, made.Chain[0])
}

// words are the names as hooks are told them.
func (r *run) words() []string {
	if r.Words != nil {
		return r.Words
	}
	return r.Names
}

// decide finds out whether there is something to do.
func (r *run) decide(ctx context.Context) error {
	if r.Dehydrated {
		if err := r.prepare(ctx); err != nil {
			return err
		}
	}
	if err := r.look(); err != nil {
		return err
	}
	if r.askWhen(ctx) {
		if err := r.look(); err != nil {
			return err
		}
	}
	if r.current != nil && r.Tell != nil {
		r.Tell(Event{Step: StepLive, Name: r.Names[0], Names: r.Names, Leaf: r.current.Leaf,
			Text: "valid until " + r.current.Leaf.NotAfter.UTC().Format(time.RFC3339)})
	}
	if !r.state.HookCSR || r.asked {
		return nil
	}
	// Its names, and its key, are what this certificate has to have.
	if err := r.askCSR(ctx); err != nil {
		return err
	}
	return r.look()
}

// prepare does what dehydrated does for each certificate before it looks at it:
// the folder, a call that shows whether the hook ignores what it does not know, and
// generate_csr.
func (r *run) prepare(ctx context.Context) error {
	if err := r.Certificate.Make(); err != nil {
		return err
	}
	if err := r.hook(ctx, hooks.Probe()); err != nil {
		return &AbortError{err}
	}
	if err := r.askCSR(ctx); err != nil {
		return &AbortError{err}
	}
	return nil
}

// askCSR lets the hook give a CSR of its own, once.
func (r *run) askCSR(ctx context.Context) error {
	if r.CSR != nil || r.asked || !r.hasHook() {
		return nil
	}
	r.asked = true
	text, err := r.hookOutput(ctx, hooks.GenerateCSR(r.words()[0], r.Certificate.Path(), r.words()))
	if err != nil || !bytes.Contains(text, []byte("CERTIFICATE REQUEST-----")) {
		return err
	}
	csr, err := keys.ParseCSR(text)
	if err != nil {
		return fmt.Errorf("generate_csr: %w", err)
	}
	for _, name := range csr.Names {
		if _, err := r.Types.For(name); err != nil {
			return &ConfigError{What: fmt.Sprintf("the CSR of generate_csr: %v", err)}
		}
	}
	if r.Tell != nil {
		r.Tell(Event{Step: StepHookCSR, Name: r.Names[0], Names: csr.Names, Text: "the hook gave a CSR for " + strings.Join(csr.Names, " ")})
	}
	r.CSR, r.hookCSR = csr, true
	r.Names, r.Words, r.names = csr.Names, nil, strings.Join(csr.Names, " ")
	return nil
}

// unchanged ends a run that finds nothing to do.
func (r *run) unchanged(ctx context.Context) (*Result, error) {
	r.tell(StepUnchanged, "%s", r.due.Reason)
	if r.HookUnchanged {
		p := r.Certificate.Stable()
		if err := r.hook(ctx, hooks.UnchangedCert(r.words()[0], p.Key, p.Cert, p.Fullchain, p.Chain)); err != nil {
			return nil, &AbortError{err}
		}
	}
	return r.result(&Result{Reason: r.due.Reason}), nil
}

// signOnly is CSR in, chain out: of the certificate nothing is kept, of the CA only
// until when it wants not to be asked.
func (r *run) signOnly(ctx context.Context) (*Result, error) {
	r.state = &certs.State{}
	if len(r.Current) > 0 {
		if err := r.weigh(); err != nil {
			return nil, err
		}
		if !r.due.Due {
			r.tell(StepUnchanged, "%s", r.due.Reason)
			return &Result{Reason: r.due.Reason, Chain: r.Current}, nil
		}
		r.tell(StepDue, "due: %s", r.due.Reason)
	}
	if r.Memory != nil {
		if until, why := r.Memory.Held(r.Now); !until.IsZero() {
			return nil, &HeldError{Until: until, Why: fmt.Sprintf("not tried before %s: %s", until.UTC().Format(time.RFC3339), why)}
		}
	}
	made, err := r.obtain(ctx)
	if err != nil {
		var later *acme.TemporaryError
		if r.Memory != nil && errors.As(err, &later) && later.Until.After(r.Now) {
			r.hold(later) // the account's folder remembers what is for all
		}
		return nil, err
	}
	return &Result{Issued: true, Reason: r.due.Reason, Chain: made.Chain, Key: made.Key}, nil
}

func (r *run) nothingToDo() bool {
	return !r.due.Due && r.state.Owed == nil && !r.owedGone && !r.Redeploy
}

func (r *run) result(result *Result) *Result {
	result.Paths = r.Certificate.Stable()
	if result.Chain == nil && r.current != nil {
		result.Chain = r.current.Chain
	}
	return result
}

// look reads what is on disk and decides. It writes nothing.
func (r *run) look() (err error) {
	r.state, err = r.Certificate.State()
	if r.state == nil {
		return err
	}
	if err != nil {
		r.warnOnce("%v", err)
	}
	facts := renew.Facts{Force: r.Force, Wanted: r.Names}
	r.remembered(&facts)
	r.live, err = r.Certificate.Live()
	var unreadable *certs.UnreadableError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		facts.Unusable = "there is none yet"
	case errors.As(err, &unreadable):
		facts.Unusable = err.Error()
	case err != nil:
		return err
	}
	if r.Rollover {
		if r.roll, err = r.Certificate.Roll(); err != nil {
			return err
		}
	}
	r.current, r.owedGone = r.live, false
	if owed := r.state.Owed; owed != nil {
		set, err := r.Certificate.Set(owed.Version)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.As(err, &unreadable):
			r.warnOnce("what is owed from an earlier run is given up, as version %q cannot be read: %v", owed.Version, err)
			r.state.Owed, r.owedGone = nil, true
		case err != nil:
			return err
		case owed.Step == certs.OwedSync:
			r.current, facts.Unusable = set, ""
		}
	}
	if r.current != nil {
		if err := r.guardTestCA(); err != nil {
			return err
		}
		r.compare(&facts)
	}
	if !r.Dehydrated {
		if err := renew.CheckClock(r.Now, r.Built, facts.NotBefore); err != nil {
			return err
		}
	}
	r.due = renew.Due(r.Now, facts, r.Policy)
	if r.Redeploy && r.current != nil {
		r.due.Due, r.due.Held = false, false
	}
	return nil
}

// warnOnce tells what look finds, which looks twice.
func (r *run) warnOnce(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(r.warned, text) {
		r.warned = append(r.warned, text)
		r.tell(StepWarning, "%s", text)
	}
}

// guardTestCA keeps a certificate that browsers trust from being replaced by
// one that they do not.
func (r *run) guardTestCA() error {
	if !r.TestCA || r.fromTestCA() {
		return nil
	}
	from := r.state.CA
	if from == "" || !r.stateIsCurrent() {
		from = r.current.Leaf.Issuer.String()
	}
	hint := "use --out DIR for a test"
	if r.Certificate == nil {
		hint = "leave --current out for a test"
	}
	return &ConfigError{
		What: fmt.Sprintf("live certificate comes from %q, and %q is a test CA", from, r.CA),
		Hint: hint,
	}
}

func (r *run) fromTestCA() bool {
	if r.stateIsCurrent() {
		return r.state.TestCA
	}
	// The names of public ones. Pebble is not among them: who runs one says by its
	// URL that it is the CA to ask, and no setting could call that URL a test's.
	issuer := r.current.Leaf.Issuer.String()
	return strings.Contains(issuer, "(STAGING)") || strings.Contains(issuer, "Fake LE")
}

// stateIsCurrent tells whether the remembered facts are those of the present
// leaf: another program may have renewed it since.
func (r *run) stateIsCurrent() bool {
	return r.state.Leaf != "" && r.state.Leaf == certs.Fingerprint(r.current.Leaf)
}

// compare fills in how the present certificate differs from what is wanted.
func (r *run) compare(f *renew.Facts) {
	leaf := r.current.Leaf
	f.NotBefore, f.NotAfter = leaf.NotBefore, leaf.NotAfter
	f.Ordered = certs.Names(leaf)
	if r.Dehydrated { // names and time, and no more
		f.KeyFits = true
		return
	}
	if r.stateIsCurrent() {
		r.suggested(f)
		f.Ordered = r.state.Names
		if r.state.Revoked {
			f.Changed = append(f.Changed, "it was revoked")
		}
		if r.Explicit.CA && r.state.CA != r.CA {
			f.Changed = append(f.Changed, fmt.Sprintf("the CA (was %q)", r.state.CA))
		}
		if r.Explicit.Profile && r.state.Profile != r.Profile {
			f.Changed = append(f.Changed, fmt.Sprintf("the profile (was %q)", r.state.Profile))
		}
	}
	if r.fromTestCA() && !r.TestCA {
		f.Changed = append(f.Changed, "the live certificate comes from a test CA")
	}
	if r.CSR != nil {
		f.KeyFits = true
		if !keys.Equal(leaf.PublicKey, r.CSR.PublicKey) {
			f.Changed = append(f.Changed, "the key of the CSR")
		}
		return
	}
	// Without a folder a key is made in memory, and nobody can look at it again.
	f.KeyFits = r.Certificate == nil || r.current.Key != nil && keys.Fits(leaf.PublicKey, r.current.Key)
	if was, err := keys.AlgoOf(leaf.PublicKey); r.Explicit.Algo && err == nil && was != r.Algo {
		f.Changed = append(f.Changed, fmt.Sprintf("the key type (was %s)", was))
	}
	if r.Explicit.MustStaple && certs.MustStaple(leaf) != r.MustStaple {
		f.Changed = append(f.Changed, "must-staple")
	}
}

// store writes the whole new version and remembers that it is owed, from the
// sync hook on. From here on the order is no longer needed.
func (r *run) store(m *certs.Material) (*certs.Version, error) {
	version, err := r.Certificate.Write(r.Now, *m)
	if err != nil {
		return nil, fmt.Errorf("storing the certificate: %w", err)
	}
	if err := r.prepareRoll(m.Key); err != nil {
		return nil, fmt.Errorf("the next key: %w", err)
	}
	r.tell(StepStore, "stored as version %s", version.ID)
	r.state.Names, r.state.CA, r.state.TestCA = r.Names, r.CA, r.TestCA
	r.state.Profile, r.state.Revoked = r.Profile, false
	r.state.HookCSR = r.hookCSR
	r.state.Failed, r.state.Hold, r.state.ARI = nil, nil, r.firstARI(m)
	r.state.Leaf = certs.Fingerprint(m.Chain[0])
	if err := r.owe(version, certs.OwedSync); err != nil {
		return nil, err
	}
	return version, r.Certificate.DropPending()
}

func (r *run) owe(v *certs.Version, step string) error {
	was := r.state.Owed
	r.state.Owed = nil
	if v != nil {
		r.state.Owed = &certs.Owed{Version: v.ID, Step: step}
		if was != nil && was.Version == v.ID && was.Step == step {
			r.state.Owed.Failed = was.Failed
		}
	}
	return r.saveState()
}

func (r *run) saveState() error {
	if err := r.Certificate.SaveState(r.state); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

// finishOwed does what an earlier run could not: nothing is ordered.
func (r *run) finishOwed(ctx context.Context) (*Result, error) {
	version, err := r.Certificate.Version(r.state.Owed.Version)
	if err != nil {
		return nil, err
	}
	r.tell(StepDue, "owed from an earlier run: version %s", version.ID)
	if err := r.dropStored(); err != nil {
		return nil, err
	}
	result := r.result(&Result{Deployed: true, Reason: r.due.Reason})
	return result, r.deploy(ctx, version, r.current.Leaf)
}

// redeploy calls the deploy hook once more for the live certificate. Of a set that
// arid did not make no failure is remembered.
func (r *run) redeploy(ctx context.Context) (*Result, error) {
	if r.live.Version != "" {
		if err := r.owe(&certs.Version{ID: r.live.Version}, certs.OwedDeploy); err != nil {
			return nil, err
		}
		return r.finishOwed(ctx)
	}
	leaf := r.live.Leaf
	if err := r.deployHook(ctx, strconv.FormatInt(leaf.NotBefore.Unix(), 10), leaf); err != nil {
		return nil, err
	}
	return r.result(&Result{Deployed: true, Reason: r.due.Reason}), nil
}

// dropStored forgets the order that the owed version came from, where a run was
// killed between storing the one and forgetting the other. A later order stays.
func (r *run) dropStored() error {
	p, err := r.Certificate.Pending()
	if err == nil && p != nil {
		var csr *x509.CertificateRequest
		if csr, err = x509.ParseCertificateRequest(p.CSR); err == nil && !keys.Equal(csr.PublicKey, r.current.Leaf.PublicKey) {
			return nil
		}
	}
	if err == nil {
		err = r.Certificate.DropPending()
	}
	if err != nil {
		return fmt.Errorf("pending: %w", err)
	}
	return nil
}

// deploy takes a stored version to the stable names and to the user's servers:
// sync hook, the one switch, deploy hook. What fails stays owed from there.
func (r *run) deploy(ctx context.Context, v *certs.Version, leaf *x509.Certificate) error {
	if r.state.Owed.Step == certs.OwedSync {
		p := v.Paths
		if err := r.hook(ctx, hooks.SyncCert(p.Key, p.Cert, p.Fullchain, p.Chain, p.CSR), envNotAfter(leaf)); err != nil {
			return r.owed(ctx, err)
		}
		if err := r.Certificate.Switch(v); err != nil {
			return fmt.Errorf("switching to version %s: %w", v.ID, err)
		}
		r.tell(StepSwitch, "switched to version %s", v.ID)
		if err := r.owe(v, certs.OwedDeploy); err != nil {
			return err
		}
	}
	// While something is owed: a run killed in the middle of it is followed by
	// one that comes here again.
	if err := r.Certificate.Prune(v.ID); err != nil {
		r.tell(StepWarning, "removing old versions: %v", err)
	}
	if err := r.deployHook(ctx, v.ID, leaf); err != nil {
		return err
	}
	return r.owe(nil, "")
}

// deployHook calls the deploy hook for what the stable names show; version is its
// number.
func (r *run) deployHook(ctx context.Context, version string, leaf *x509.Certificate) error {
	p := r.Certificate.Stable()
	event := hooks.DeployCert(r.words()[0], p.Key, p.Cert, p.Fullchain, p.Chain, version)
	if err := r.hook(ctx, event, envNotAfter(leaf)); err != nil {
		return r.owed(ctx, err)
	}
	return nil
}

func envNotAfter(leaf *x509.Certificate) string {
	return "ARID_HOOK_NOT_AFTER=" + leaf.NotAfter.UTC().Format(time.RFC3339)
}

// owed marks a failed hook as something to be repeated, unless it failed
// because this run was told to end.
func (r *run) owed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	return &DeployError{err}
}

// newKey is the key for a new order: the live one where it is to be reused, the
// one that lies ready, else a fresh one.
func (r *run) newKey() (crypto.Signer, error) {
	if reuse := r.keyToReuse(); reuse != nil {
		return reuse, nil
	}
	r.tell(StepKey, "making a private key (%s)", r.Algo)
	return keys.Generate(r.Algo)
}

// keyToReuse is the key on disk that a new certificate is to have, or nil: the
// live one where it is to be kept, and is of the wanted type; with Rollover the
// one that lies ready, and before there is one the live one for once, so that the
// next can be announced.
func (r *run) keyToReuse() crypto.Signer {
	if r.live == nil || r.live.Key == nil || !r.ReuseKey && !r.Rollover {
		return nil
	}
	if !r.ReuseKey && r.roll != nil && !keys.Fits(r.live.Leaf.PublicKey, r.roll) {
		return r.roll
	}
	was, err := keys.AlgoOf(r.live.Key.Public())
	if err != nil || was != r.Algo && r.Explicit.Algo {
		return nil
	}
	return r.live.Key
}

// prepareRoll has the next key lie ready beside the one of a new version, or
// takes it away where that is not wanted any more.
func (r *run) prepareRoll(used crypto.Signer) error {
	if r.ReuseKey || !r.Rollover || used == nil {
		return r.Certificate.DropRoll()
	}
	if r.roll != nil && !keys.Fits(used.Public(), r.roll) {
		return nil
	}
	next, err := keys.Generate(r.Algo)
	if err != nil {
		return err
	}
	return r.Certificate.SaveRoll(next)
}

// hook runs one event of the user's hook program.
func (r *run) hook(ctx context.Context, e hooks.Event, more ...string) error {
	if !r.hasHook() {
		return nil
	}
	// A server would show what nobody trusts.
	if r.Trial && slices.Contains([]string{"sync_cert", "deploy_cert", "deploy_ocsp"}, e.Name) {
		r.warnOnce("a test CA's certificate beside the live ones: hooks that deploy are not called")
		return nil
	}
	r.tell(StepHook, "hook: %s", e.Name)
	defer r.notCounted(time.Now())
	e.Env = slices.Concat(e.Env, r.hookEnv(), more)
	return r.Hooks.Run(ctx, e)
}

// hookOutput is hook for an event that prints something for arid.
func (r *run) hookOutput(ctx context.Context, e hooks.Event) ([]byte, error) {
	r.tell(StepHook, "hook: %s", e.Name)
	defer r.notCounted(time.Now())
	e.Env = slices.Concat(e.Env, r.hookEnv())
	return r.Hooks.Output(ctx, e, 1<<20)
}

func (r *run) hasHook() bool {
	return r.Hooks != nil && (r.Hooks.Program != "" || r.Hooks.Function != "")
}

// notCounted takes the time since start out of the CA's.
func (r *run) notCounted(start time.Time) { r.deadline = r.deadline.Add(time.Since(start)) }

// hookEnv is what every hook of this certificate finds in its environment:
// dehydrated's words, and more under ARID_HOOK_.
func (r *run) hookEnv() []string {
	env := []string{
		"altnames=" + r.names,
		"CHALLENGETYPE=" + r.typeOf(r.Names[0]),
		"ARID_HOOK_NAME=" + r.Names[0],
		"ARID_HOOK_NAMES=" + r.names,
		"ARID_HOOK_CA=" + r.CA,
		"ARID_HOOK_TYPE=" + r.typeOf(r.Names[0]),
		"ARID_HOOK_REASON=" + r.due.Reason,
	}
	if r.Certificate != nil {
		env = append(env, "alias="+r.Certificate.Alias)
	}
	if r.CSR == nil || r.hookCSR {
		algo := string(r.Algo)
		if strings.HasPrefix(algo, "rsa") {
			algo = "rsa" // dehydrated keeps the size apart, in KEYSIZE
		}
		rollover := "no"
		if r.Rollover {
			rollover = "yes"
		}
		env = append(env, "KEY_ALGO="+algo, "PRIVATE_KEY_ROLLOVER="+rollover)
	}
	return env
}

func (r *run) tell(step Step, format string, args ...any) {
	if r.Tell != nil {
		r.telling.Lock()
		defer r.telling.Unlock()
		r.Tell(Event{Step: step, Name: r.Names[0], Text: fmt.Sprintf(format, args...)})
	}
}

// waitCA bounds one stretch of talking to the CA by what is left of the
// request's time.
func (r *run) waitCA(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithDeadlineCause(ctx, r.deadline, &acme.TemporaryError{
		What: fmt.Sprintf("the CA took longer than %s (--timeout)", r.Timeout),
	})
}
