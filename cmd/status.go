package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"arid/certs"
	"arid/config"
	"arid/internal/guard"
	"arid/issue"
)

// States of a certificate, the most urgent first: where several fit, that one it is.
// docs/commands.md says what each means.
const (
	stateExpired  = "expired"
	stateMissing  = "missing"
	stateMismatch = "mismatch"
	stateRevoked  = "revoked"
	stateFailed   = "failed"
	stateOwed     = "owed"
	stateOrphan   = "orphan"
	stateDue      = "due"
	stateHeld     = "held"
	stateOK       = "ok"
)

var byUrgency = []string{stateExpired, stateMissing, stateMismatch, stateRevoked, stateFailed, stateOwed, stateOrphan, stateDue, stateHeld, stateOK}

// What arid does next for a certificate.
const (
	actionRenew  = "renew"
	actionDeploy = "deploy"
	actionNone   = "none"
)

func (a *app) statusCommand() *cobra.Command {
	var next string
	c := &cobra.Command{
		Use:   "status [NAME…]",
		Short: "what there is, when it expires, what happens next and why",
		Long: `Shows each line of domains.txt and each certificate in CERTDIR, or those that
NAME means, what needs a person first. Nobody is asked and nothing is written.`,
		Example: `  arid status
  arid status --json www.example.org
  arid status --next rfc3339         when there is something to do again`,
		GroupID: groupInspect,
		Args:    cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, words []string) error {
			return a.status(c, words, next)
		},
		ValidArgsFunction: a.completeNames,
	}
	c.Flags().StringVar(&next, "next", "", "print only when there is something to do next; `FORM` is rfc3339, epoch or seconds (from now)")
	lookFlags(c)
	return c
}

// lookFlags are those of the commands that look at what is due: the settings that
// decide it, and whose pauses count.
func lookFlags(c *cobra.Command) {
	settingFlags(c, "CA", "DOMAINS_TXT", "CERTDIR", "RENEW_DAYS")
}

func (a *app) status(c *cobra.Command, words []string, form string) error {
	switch {
	case c.Flags().Changed("next") && !slices.Contains([]string{"rfc3339", "epoch", "seconds"}, form):
		return &usageError{what: fmt.Sprintf("--next: %q is none of rfc3339, epoch, seconds", form)}
	case form != "" && a.json:
		return &usageError{what: "--next and --json: one or the other"}
	}
	l, err := a.lookout(c)
	if err != nil {
		return err
	}
	if err := l.readList(); err != nil {
		return err
	}
	sights, err := l.find(c.Context(), words)
	if err != nil {
		return err
	}
	l.tellWrong(c.Context(), sights)
	sortByUrgency(sights)
	switch {
	case form != "":
		if next := earliest(sights); !next.IsZero() {
			err = a.out(moment(next, l.now, form) + "\n")
		}
	case a.json:
		err = a.showObjects(sights)
	case len(sights) == 0:
		a.report.Note("there is no certificate")
	default:
		t := statusTable{now: l.now, columns: a.report.Columns(), shade: a.report.Shade}
		t.blocks = t.columns > 0 && a.utf8()
		err = a.out(t.text(sights))
	}
	if err != nil {
		return err
	}
	return l.end()
}

// utf8 tells whether the locale can show more than ASCII.
func (a *app) utf8() bool {
	locale := strings.ToLower(cmp.Or(a.getenv("LC_ALL"), a.getenv("LC_CTYPE"), a.getenv("LANG")))
	return strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8")
}

// lookout is a walk that only looks: nobody is asked, nothing is written, no lock is
// taken.
type lookout struct {
	*walk
	now  time.Time       // the one moment that all are looked at
	list *config.Domains // nil: there is no domains.txt
}

// lookout reads the settings that arid renew has.
func (a *app) lookout(c *cobra.Command) (*lookout, error) {
	if err := a.load(c, "sign_domains", nil); err != nil { // a config may ask which command it is for
		return nil, err
	}
	l := &lookout{now: time.Now(), walk: &walk{app: a, flags: &renewFlags{}, session: &session{app: a}}}
	var err error
	if l.authority, err = a.openCA(c.Context()); err != nil {
		return nil, err
	}
	if err := l.flags.begin(a); err != nil { // so that no directory is missed that renew does without
		return nil, err
	}
	l.common, err = a.plan(&l.flags.orderFlags, l.authority)
	return l, err
}

// readList reads domains.txt. Who only uses arid sign needs none.
func (l *lookout) readList() (err error) {
	l.list, err = l.domains()
	if errors.Is(err, fs.ErrNotExist) && !l.settings.Set("DOMAINS_TXT") {
		l.list, err = nil, nil
	}
	l.report.TellOdd()
	return err
}

// subject is a certificate to look at.
type subject struct {
	alias  string
	line   *config.Line // nil: there is none, or it has a mistake
	wrong  error        // that mistake
	orphan bool         // there is a domains.txt, and no line of it is for this
}

// listed tells whether domains.txt has it.
func (s *subject) listed() bool { return s.line != nil || s.wrong != nil }

// find looks at what the words mean, in domains.txt or in CERTDIR; no words mean all.
func (l *lookout) find(ctx context.Context, words []string) ([]*sight, error) {
	others, err := l.others()
	if err != nil {
		return nil, err
	}
	list := cmp.Or(l.list, &config.Domains{})
	var lines, rest []string
	for _, word := range words {
		if _, _, err := choose(list, []string{word}); err == nil {
			lines = append(lines, word)
		} else {
			rest = append(rest, word)
		}
	}
	var subjects []subject
	if len(rest) == 0 || len(lines) > 0 {
		chosen, bad, err := choose(list, lines)
		if err != nil {
			return nil, err
		}
		for _, b := range bad {
			l.report.Warning(b.Error())
		}
		subjects = subjectsOf(chosen, bad)
	}
	if len(words) == 0 || len(rest) > 0 {
		subjects = append(subjects, others...)
	}
	sights, err := l.look(ctx, subjects)
	if err != nil || len(rest) == 0 {
		return sights, err
	}
	return meant(sights, rest)
}

// subjectsOf are the certificates of lines, and of lines with a mistake of which it can
// be told which certificate they are for.
func subjectsOf(lines []config.Line, bad []error) (all []subject) {
	covered := map[string]bool{}
	for i, line := range lines {
		if line.Twin == "" {
			all, covered[line.Alias] = append(all, subject{alias: line.Alias, line: &lines[i]}), true
		}
	}
	for _, err := range bad {
		if b, ok := errors.AsType[*config.LineError](err); ok && b.Alias != "" && !covered[b.Alias] {
			all, covered[b.Alias] = append(all, subject{alias: b.Alias, wrong: b}), true
		}
	}
	return all
}

// others are the folders of CERTDIR that no line is for.
func (l *lookout) others() (all []subject, err error) {
	covered := map[string]bool{}
	if l.list != nil {
		covered = l.list.Aliases()
	}
	folders, err := l.common.store.Certificates()
	for _, c := range folders {
		if !covered[c.Alias] {
			all = append(all, subject{alias: c.Alias, orphan: l.list != nil})
		}
	}
	return all, err
}

// meant leaves away those that no line is for and that the words do not mean, by the
// name of their folder or by any name.
func meant(sights []*sight, words []string) ([]*sight, error) {
	found := map[string]bool{}
	var kept []*sight
	for _, s := range sights {
		is := s.listed()
		for _, word := range words {
			if !s.listed() && (s.alias == strings.ToLower(word) || slices.Contains(s.Names, canonicalOr(word))) {
				is, found[word] = true, true
			}
		}
		if is {
			kept = append(kept, s)
		}
	}
	for _, word := range words {
		if !found[word] {
			return nil, &usageError{what: fmt.Sprintf("no certificate and no line of domains.txt has %q", word), hint: "arid status lists them"}
		}
	}
	return kept, nil
}

// look looks at certificates, several at once. Those of which there is nothing are left
// out.
func (l *lookout) look(ctx context.Context, subjects []subject) ([]*sight, error) {
	sights, bugs := make([]*sight, len(subjects)), make([]error, len(subjects))
	var workers sync.WaitGroup
	free := make(chan struct{}, defaultParallel)
	for i := range subjects {
		if ctx.Err() != nil {
			break
		}
		s := &subjects[i]
		var r *issue.Request
		err := s.wrong
		if s.line != nil {
			r, err = l.request(ctx, s.line) // one after another, as renew does
		}
		free <- struct{}{}
		workers.Go(func() {
			defer func() { <-free }()
			bugs[i] = guard.Run(func() error {
				sights[i] = l.sight(s, r, err)
				return nil
			})
		})
	}
	workers.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return slices.DeleteFunc(sights, func(s *sight) bool { return s == nil }), cmp.Or(bugs...)
}

// sight is one certificate as it stands.
type sight struct {
	*subject
	statusJSON
	next time.Time // the earliest moment at which arid can do something for it; zero: never by itself
	act  time.Time // when Action is to be done; zero likewise
	now  bool      // which is now
	due  bool      // there is something to do, now or later
	err  error     // what keeps arid from looking, or from working on it
	lost error     // *orphanError: it is due, and nobody renews it
}

// sight looks at one certificate. Where its line or its settings are of no use, err
// tells why, and what is on disk is looked at. It is nil where nothing is.
func (l *lookout) sight(s *subject, r *issue.Request, err error) *sight {
	var o *issue.Outlook
	if r != nil && err == nil {
		r.Now = l.now
		o, err = issue.Look(r)
	}
	c, aliasErr := l.common.store.Certificate(s.alias)
	if aliasErr != nil {
		return nil
	}
	var blind error
	if o == nil || err != nil {
		alone := l.common.common
		alone.Certificate, alone.Now = c, l.now
		if s.line != nil {
			alone.Names = s.line.Names
		}
		if o != nil {
			alone.Tell = nil // it was told
		}
		o, blind = issue.LookAlone(&alone)
		err = cmp.Or(err, blind)
	}
	if !s.listed() && err == nil && nothingIn(c, o) {
		return nil
	}
	seen := &sight{subject: s, err: err}
	seen.describe(c, o, l.now)
	seen.decide(o, blind != nil, l.now)
	return seen
}

// nothingIn tells whether a folder has no certificate, and nobody has tried to get one.
func nothingIn(c *certs.Certificate, o *issue.Outlook) bool {
	if o.Live != nil || o.Revoked || o.State.Failed != nil {
		return false
	}
	_, err := os.Stat(c.Stable().Cert)
	return errors.Is(err, fs.ErrNotExist)
}

// statusJSON is a certificate of status and due.
type statusJSON struct {
	head
	Name      string    `json:"name"`
	State     string    `json:"state"`
	Names     []string  `json:"names,omitempty"`
	Issuer    string    `json:"issuer,omitempty"`
	CA        string    `json:"ca,omitempty"`
	NotBefore time.Time `json:"not_before,omitzero"`
	NotAfter  time.Time `json:"not_after,omitzero"`
	Spent     *float64  `json:"spent,omitempty"`
	Next      string    `json:"next,omitempty"`
	Action    string    `json:"action"`
	Why       string    `json:"why"`
	Failures  int       `json:"failures"`
	Error     string    `json:"error"`
	Path      string    `json:"path"`
}

// describe fills in what is on disk.
func (s *sight) describe(c *certs.Certificate, o *issue.Outlook, now time.Time) {
	s.Name, s.Names, s.Path = s.alias, o.Names, c.Path()
	if o.Failed != nil {
		s.Failures, s.Error = o.Failed.Attempts, o.Failed.Error
	}
	if o.Live == nil {
		return
	}
	leaf := o.Live.Leaf
	s.Issuer = cmp.Or(leaf.Issuer.CommonName, leaf.Issuer.String())
	s.NotBefore, s.NotAfter = leaf.NotBefore.UTC(), leaf.NotAfter.UTC()
	spent := 1.0 // dates that are reversed
	if lifetime := leaf.NotAfter.Sub(leaf.NotBefore); lifetime > 0 {
		spent = math.Floor(1e4*max(0, now.Sub(leaf.NotBefore).Seconds())/lifetime.Seconds()) / 1e4
	}
	s.Spent = &spent
	if o.State != nil && o.State.Leaf == certs.Fingerprint(leaf) {
		s.CA = o.State.CA
	}
}

// decide fills in the state, and what arid does next. blind is where it could not be
// found out what there is to do.
func (s *sight) decide(o *issue.Outlook, blind bool, now time.Time) {
	s.due = o.Due || o.Owed || o.OCSP
	s.State, s.Why, s.Action = stateOf(o, now), o.Reason, actionNone
	if blind {
		s.due = true
		if s.State != stateExpired {
			s.State = stateFailed
		}
	}
	switch {
	case s.err != nil && s.due:
		s.Why = s.err.Error()
		s.Error = cmp.Or(s.Error, s.Why)
		if s.urgency() > slices.Index(byUrgency, stateFailed) {
			s.State = stateFailed
		}
		if exitStatus(s.err) == statusLater {
			s.next = now
		}
	case s.orphan:
		if o.Due && o.State.Leaf != "" { // it is arid's
			s.lost = &orphanError{s.alias, o.Reason}
		}
		s.Why = "no line of domains.txt covers it; " + s.Why
		if slices.Index(byUrgency, s.State) > slices.Index(byUrgency, stateOrphan) {
			s.State = stateOrphan
		}
	default:
		s.plan(o, now)
	}
	if !s.next.IsZero() {
		s.Next = moment(s.next, now, "rfc3339")
	}
}

// plan fills in when arid does what.
func (s *sight) plan(o *issue.Outlook, now time.Time) {
	s.Action = actionRenew
	if !o.Due && s.due {
		s.Action = actionDeploy
	}
	switch {
	case o.Held:
		s.act = o.Until
	case s.due:
		s.act, s.now = now, true
	default:
		s.act = o.At
	}
	s.next = s.act
	if o.Due {
		return
	}
	for _, t := range []time.Time{o.At, o.Ask} {
		if !t.IsZero() && t.Before(s.next) {
			s.next = t
		}
	}
}

// stateOf is the most urgent state that fits.
func stateOf(o *issue.Outlook, now time.Time) string {
	switch {
	case o.Live != nil && !now.Before(o.Live.Leaf.NotAfter):
		return stateExpired
	case o.Live == nil && !o.Revoked:
		return stateMissing
	case o.Mismatch:
		return stateMismatch
	case o.Revoked:
		return stateRevoked
	case o.Due && o.Failed != nil:
		return stateFailed
	case o.Owed:
		return stateOwed
	case o.Due && o.Held:
		return stateHeld
	case o.Due, o.OCSP:
		return stateDue
	}
	return stateOK
}

// urgency is smaller the sooner a person should look: where it stands in byUrgency. An
// orphan that is not due stands with those that are well.
func (s *sight) urgency() int {
	if s.State == stateOrphan && !s.due {
		return slices.Index(byUrgency, stateOK)
	}
	return slices.Index(byUrgency, s.State)
}

// sortByUrgency puts first what needs a person first, and then what expires first.
func sortByUrgency(sights []*sight) {
	slices.SortStableFunc(sights, func(a, b *sight) int {
		return cmp.Or(cmp.Compare(a.urgency(), b.urgency()), a.NotAfter.Compare(b.NotAfter), strings.Compare(a.Name, b.Name))
	})
}

// tellWrong says what kept arid from looking, which is a failure of this run, and warns
// of what keeps it from working on a certificate; each text once.
func (l *lookout) tellWrong(ctx context.Context, sights []*sight) {
	warned := map[string]bool{}
	for _, s := range sights {
		if s.err == nil || s.wrong != nil {
			continue // all is well, or a line with a mistake, which was told
		}
		if status := exitStatus(s.err); status == statusIO || status == statusPermission {
			l.failLine(ctx, &config.Line{Alias: s.alias}, s.err)
		} else if text := s.err.Error(); !warned[text] {
			warned[text] = true
			l.report.Warning(text)
		}
	}
}

// showObjects writes a line of JSON for each.
func (a *app) showObjects(sights []*sight) error {
	for _, s := range sights {
		if err := a.emit(&s.statusJSON); err != nil {
			return err
		}
	}
	return nil
}

// earliest is the first moment at which arid can do something; zero: there is none.
func earliest(sights []*sight) (first time.Time) {
	for _, s := range sights {
		if !s.next.IsZero() && (first.IsZero() || s.next.Before(first)) {
			first = s.next
		}
	}
	return first
}

// moment is a time in the form that --next asks for, in whole seconds. One that is to
// come is never early: whoever waits for it need not wait again.
func moment(t, now time.Time, form string) string {
	wait := max(0, t.Sub(now))
	if form == "seconds" {
		return strconv.FormatInt(int64(math.Ceil(wait.Seconds())), 10)
	}
	whole := now.Add(wait).UTC().Truncate(time.Second)
	if wait > 0 && whole.Before(t) {
		whole = whole.Add(time.Second)
	}
	if form == "epoch" {
		return strconv.FormatInt(whole.Unix(), 10)
	}
	return whole.Format(time.RFC3339)
}
