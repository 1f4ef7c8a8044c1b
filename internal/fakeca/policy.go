package fakeca

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
)

// policy is what an honest CA may choose. Each has one method, which gives
// back the CA, so that they chain; all may be called during a run.
type policy struct {
	terms                  string
	eab                    map[string][]byte
	eabRequired            bool
	profiles               map[string]string
	renewalInfo            bool
	windowStart, windowEnd time.Time
	lifetime               time.Duration
	alternate              bool
	challengeTypes         []string
	retryAfter             time.Duration
	processing             int
	validationPolls        int
	readyOrder             bool
	preValidated           []string
	failing                map[string]*Problem
	validators             map[string]func(Validation) *Problem
	failIssuance           *Problem
}

func defaultPolicy(base string) policy {
	return policy{
		terms:      base + "/" + Terms,
		eab:        map[string][]byte{},
		lifetime:   90 * 24 * time.Hour,
		processing: 1,
		failing:    map[string]*Problem{},
		validators: map[string]func(Validation) *Problem{},
	}
}

// with changes something under the lock.
func (ca *CA) with(f func()) *CA {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	f()
	return ca
}

// TermsOfService sets the URL of the terms; "" for a CA without terms.
func (ca *CA) TermsOfService(url string) *CA {
	return ca.with(func() { ca.policy.terms = url })
}

// ExternalAccountRequired makes new accounts need an external account binding.
func (ca *CA) ExternalAccountRequired() *CA {
	return ca.with(func() { ca.policy.eabRequired = true })
}

// EAB makes an external account known by its MAC key (raw bytes), and binding required.
func (ca *CA) EAB(kid string, key []byte) *CA {
	return ca.with(func() { ca.policy.eab[kid], ca.policy.eabRequired = slices.Clone(key), true })
}

// Profiles offers profiles, name to description.
func (ca *CA) Profiles(profiles map[string]string) *CA {
	return ca.with(func() { ca.policy.profiles = maps.Clone(profiles) })
}

// RenewalInfo offers RFC 9773: the directory member, the resource, `replaces`.
func (ca *CA) RenewalInfo() *CA {
	return ca.with(func() { ca.policy.renewalInfo = true })
}

// RenewalWindow is RenewalInfo with this window for every certificate.
func (ca *CA) RenewalWindow(start, end time.Time) *CA {
	return ca.with(func() { ca.policy.renewalInfo, ca.policy.windowStart, ca.policy.windowEnd = true, start, end })
}

// Lifetime sets how long certificates live, where the order does not say.
// They begin an hour ago.
func (ca *CA) Lifetime(d time.Duration) *CA {
	return ca.with(func() { ca.policy.lifetime = d })
}

// Alternate offers a second chain, to AlternateRoot, by Link rel="alternate".
func (ca *CA) Alternate() *CA {
	return ca.with(func() { ca.policy.alternate = true })
}

// ChallengeTypes offers just these challenge types, for every name.
// dns-persist-01 and UnknownChallenge come without a token.
func (ca *CA) ChallengeTypes(types ...string) *CA {
	return ca.with(func() { ca.policy.challengeTypes = slices.Clone(types) })
}

// RetryAfter goes, in seconds rounded up, with every reply that shows a
// pending or processing order, authorization or challenge.
func (ca *CA) RetryAfter(d time.Duration) *CA {
	return ca.with(func() { ca.policy.retryAfter = d })
}

func seconds(d time.Duration) string {
	return strconv.FormatInt(int64(math.Ceil(d.Seconds())), 10)
}

// Processing makes the nth look at the order after finalize the first one that
// shows it valid. The default is 1: finalize answers "processing", the first
// poll "valid".
func (ca *CA) Processing(n int) *CA {
	return ca.with(func() { ca.policy.processing = n })
}

// SyncFinalize makes finalize itself answer "valid"; Processing(0).
func (ca *CA) SyncFinalize() *CA { return ca.Processing(0) }

// StuckProcessing keeps orders processing for ever, from their finalize on.
// Unstick lets those of them go on that are stuck.
func (ca *CA) StuckProcessing() *CA { return ca.Processing(-1) }

// Unstick undoes StuckProcessing: the next poll of a stuck order shows it valid.
func (ca *CA) Unstick() *CA {
	return ca.with(func() {
		ca.policy.processing = 1
		for _, o := range ca.orders {
			if o.finalized == "processing" && o.polls < 0 {
				o.polls = 1
			}
		}
	})
}

// ValidationPolls keeps each accepted challenge processing for n looks at its
// order or authorization. The default is 0: the first look shows it done.
// -1 never ends.
func (ca *CA) ValidationPolls(n int) *CA {
	return ca.with(func() { ca.policy.validationPolls = n })
}

// ReadyOrder makes new orders ready at once, all their authorizations valid.
func (ca *CA) ReadyOrder() *CA {
	return ca.with(func() { ca.policy.readyOrder = true })
}

// PreValidated makes the authorizations of these names ("*." included) come valid.
func (ca *CA) PreValidated(names ...string) *CA {
	return ca.with(func() { ca.policy.preValidated = append(slices.Clone(ca.policy.preValidated), names...) })
}

// FailValidation makes every challenge for the name (without "*.") fail with
// this problem, typ short ("unauthorized") or whole.
func (ca *CA) FailValidation(name, typ, detail string) *CA {
	return ca.FailValidationWith(name, Problem{Type: typ, Detail: detail, Status: 403})
}

// FailValidationWith is FailValidation with the whole problem. A zero Problem
// makes the name succeed again.
func (ca *CA) FailValidationWith(name string, p Problem) *CA {
	return ca.with(func() {
		delete(ca.policy.failing, name)
		if p.Type != "" || p.Detail != "" || p.Subproblems != nil {
			ca.policy.failing[name] = &p
		}
	})
}

// FailIssuance turns finalized orders invalid instead of valid.
func (ca *CA) FailIssuance(typ, detail string) *CA {
	return ca.with(func() { ca.policy.failIssuance = refuse(403, typ, "%s", detail) })
}

// Validate lets f decide about challenges of that type; nil means valid.
// Without it every challenge succeeds. f runs without the CA's lock, when the
// client first looks at the order or authorization after accepting.
func (ca *CA) Validate(typ string, f func(Validation) *Problem) *CA {
	return ca.with(func() { ca.policy.validators[typ] = f })
}

// ValidateHTTP really fetches http-01 challenges, from 127.0.0.1:port.
func (ca *CA) ValidateHTTP(port int) *CA {
	return ca.Validate("http-01", func(v Validation) *Problem { return fetchHTTP01(port, v) })
}

// ValidateALPN really tries tls-alpn-01 challenges, at 127.0.0.1:port.
func (ca *CA) ValidateALPN(port int) *CA {
	return ca.Validate("tls-alpn-01", func(v Validation) *Problem { return tryALPN(port, v) })
}

// Tolerate lets the test pass although the client broke the protocol.
func (ca *CA) Tolerate() *CA {
	return ca.with(func() { ca.tolerant = true })
}
