package fakeca

import (
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"crypto/rand"
	"encoding/base64"
)

// Identifier is what a certificate is asked for (RFC 8555 §9.7.7, RFC 8738).
type Identifier struct {
	Type  string `json:"type"` // dns, ip
	Value string `json:"value"`
}

// order is one order (RFC 8555 §7.1.3). Until finalize its status follows
// from the authorizations; see status.
type order struct {
	id                  string
	account             *account
	identifiers         []Identifier
	authzs              []*authz
	notBefore, notAfter time.Time
	profile, replaces   string
	expires             time.Time
	finalized           string // "", processing, valid, invalid
	polls               int    // until processing becomes valid; -1 never
	pending             *pendingCert
	cert                *certificate
	problem             *Problem
}

// authz is one authorization (§7.1.4).
type authz struct {
	id         string
	order      *order
	identifier Identifier
	wildcard   bool
	status     string // pending, valid, invalid, deactivated
	expires    time.Time
	challenges []*challenge
}

// challenge is one challenge (§7.1.5).
type challenge struct {
	id        string
	authz     *authz
	typ       string
	token     string
	hasToken  bool
	status    string // pending, processing, valid, invalid
	polls     int    // looks at the order or authorization before it is validated
	checking  bool   // a validation is under way
	validated time.Time
	problem   *Problem
}

func (o *order) status() string {
	if o.finalized != "" {
		return o.finalized
	}
	ready := true
	for _, a := range o.authzs {
		switch a.status {
		case "invalid", "deactivated":
			return "invalid"
		case "pending":
			ready = false
		}
	}
	if ready {
		return "ready"
	}
	return "pending"
}

type orderObject struct {
	Status         string       `json:"status"`
	Expires        string       `json:"expires"`
	Identifiers    []Identifier `json:"identifiers"`
	NotBefore      string       `json:"notBefore,omitempty"`
	NotAfter       string       `json:"notAfter,omitempty"`
	Profile        string       `json:"profile,omitempty"`
	Replaces       string       `json:"replaces,omitempty"`
	Error          *Problem     `json:"error,omitempty"`
	Authorizations []string     `json:"authorizations"`
	Finalize       string       `json:"finalize"`
	Certificate    string       `json:"certificate,omitempty"`
}

func (ca *CA) orderReply(code int, o *order) *reply {
	out := orderObject{
		Status: o.status(), Expires: stamp(o.expires), Identifiers: o.identifiers,
		NotBefore: stamp(o.notBefore), NotAfter: stamp(o.notAfter),
		Profile: o.profile, Replaces: o.replaces, Finalize: ca.url(Finalize, o.id),
	}
	if o.problem != nil {
		p := o.problem.full()
		out.Error = &p
	}
	for _, a := range o.authzs {
		out.Authorizations = append(out.Authorizations, ca.url(Authz, a.id))
	}
	if o.cert != nil {
		out.Certificate = ca.url(Certificate, o.cert.id)
	}
	return ca.hurry(object(code, out), out.Status)
}

// hurry tells a client that has to wait how long (RetryAfter).
func (ca *CA) hurry(r *reply, status string) *reply {
	if d := ca.policy.retryAfter; d > 0 && (status == "pending" || status == "processing") {
		r.header.Set("Retry-After", seconds(d))
	}
	return r
}

// stamp is an RFC 3339 time, "" for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// newOrder is RFC 8555 §7.4.
func (ca *CA) newOrder(q *request) (*reply, *Problem) {
	var in struct {
		Identifiers []Identifier `json:"identifiers"`
		NotBefore   *time.Time   `json:"notBefore"`
		NotAfter    *time.Time   `json:"notAfter"`
		Profile     *string      `json:"profile"`
		Replaces    *string      `json:"replaces"`
	}
	if p := q.readPayload(&in); p != nil {
		return nil, p
	}
	if len(in.Identifiers) == 0 {
		return nil, fault(400, "malformed", "no identifiers")
	}
	now := time.Now()
	o := &order{account: q.jws.account, expires: now.Add(7 * 24 * time.Hour).Truncate(time.Second)}
	for _, id := range in.Identifiers {
		if p := checkIdentifier(id); p != nil {
			return nil, p
		}
		if !slices.Contains(o.identifiers, id) {
			o.identifiers = append(o.identifiers, id)
		}
	}
	if in.NotBefore != nil {
		o.notBefore = *in.NotBefore
	}
	if in.NotAfter != nil {
		o.notAfter = *in.NotAfter
		if !o.notAfter.After(now) || !o.notAfter.After(o.notBefore) {
			return nil, refuse(400, "malformed", "notAfter %s makes no lifetime", stamp(o.notAfter))
		}
	}
	if in.Profile != nil {
		if _, ok := ca.policy.profiles[*in.Profile]; !ok {
			return nil, refuse(400, "invalidProfile", "no profile %q", *in.Profile)
		}
		o.profile = *in.Profile
	}
	if in.Replaces != nil && ca.policy.renewalInfo { // RFC 9773 §5
		old := ca.certByARI(*in.Replaces)
		switch {
		case old == nil || old.account != o.account:
			return nil, refuse(400, "malformed", "replaces %q is no certificate of yours", *in.Replaces)
		case old.replaced:
			return nil, refuse(409, "alreadyReplaced", "%q has been replaced already", *in.Replaces)
		}
		old.replaced = true
		o.replaces = *in.Replaces
	}
	o.id = ca.newID()
	ca.orders[o.id] = o
	for _, id := range o.identifiers {
		o.authzs = append(o.authzs, ca.newAuthz(o, id))
	}
	r := ca.orderReply(201, o)
	if f := ca.quirks.identifiers; f != nil {
		altered := f(slices.Clone(o.identifiers))
		setMember(r, "identifiers", altered)
	}
	return r.at(ca.url(Order, o.id)), nil
}

var hostName = regexp.MustCompile(`^(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// checkIdentifier wants A-labels in lower case, and addresses as RFC 5952
// writes them (RFC 8738 §3).
func checkIdentifier(id Identifier) *Problem {
	switch id.Type {
	case "dns":
		if len(id.Value) > 253 || !hostName.MatchString(id.Value) || net.ParseIP(id.Value) != nil {
			p := refuse(400, "rejectedIdentifier", "%q is no host name in lower-case A-labels", id.Value)
			p.Identifier = &id
			return p
		}
	case "ip":
		if a, err := netip.ParseAddr(id.Value); err != nil || a.Unmap().WithZone("").String() != id.Value {
			p := refuse(400, "malformed", "%q is no address in its canonical form", id.Value)
			p.Identifier = &id
			return p
		}
	default:
		return refuse(400, "unsupportedIdentifier", "identifier type %q", id.Type)
	}
	return nil
}

// newAuthz makes an authorization with all challenges that suit the
// identifier, and one of a type nobody knows, which has no token.
func (ca *CA) newAuthz(o *order, id Identifier) *authz {
	a := &authz{id: ca.newID(), order: o, identifier: id, status: "pending", expires: o.expires}
	if base, ok := strings.CutPrefix(id.Value, "*."); ok && id.Type == "dns" {
		a.identifier.Value, a.wildcard = base, true
	}
	ca.authzs[a.id] = a
	types := ca.policy.challengeTypes
	if types == nil {
		switch {
		case a.wildcard:
			types = []string{"dns-01"}
		case id.Type == "ip":
			types = []string{"http-01", "tls-alpn-01"}
		default:
			types = []string{"http-01", "dns-01", "tls-alpn-01"}
		}
		types = append([]string{UnknownChallenge}, types...)
	}
	for _, typ := range types {
		c := &challenge{id: ca.newID(), authz: a, typ: typ, status: "pending", hasToken: typ != UnknownChallenge && typ != "dns-persist-01"}
		if c.hasToken {
			c.token = ca.token(id.Value, typ)
		}
		ca.challenges[c.id] = c
		a.challenges = append(a.challenges, c)
	}
	if ca.policy.readyOrder || slices.Contains(ca.policy.preValidated, id.Value) {
		a.status = "valid"
		c := a.challenges[len(a.challenges)-1]
		c.status, c.validated = "valid", time.Now()
	}
	return a
}

// UnknownChallenge is the type of the challenge that no client can know.
const UnknownChallenge = "smoke-signal-01"

func (ca *CA) token(name, typ string) string {
	if f := ca.quirks.token; f != nil {
		return f(name, typ)
	}
	b := make([]byte, 32) // RFC 8555 §8.3 wants 128 bits of entropy
	_, _ = rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// fetchOrder is POST-as-GET of an order, and the clock of its progress.
func (ca *CA) fetchOrder(q *request) (*reply, *Problem) {
	o := ca.orders[q.id]
	switch {
	case o == nil:
		return nil, refuse(404, "malformed", "no such order")
	case o.account != q.jws.account:
		return nil, refuse(403, "unauthorized", "not your order")
	case !q.postAsGet():
		return nil, fault(400, "malformed", "payload where POST-as-GET is wanted (§6.3)")
	}
	if o.finalized == "processing" && o.polls >= 0 {
		if o.polls--; o.polls <= 0 {
			ca.complete(o)
		}
	}
	return ca.orderReply(200, o), nil
}

// fetchAuthz is POST-as-GET of an authorization (§7.5), or its deactivation (§7.5.2).
func (ca *CA) fetchAuthz(q *request) (*reply, *Problem) {
	a := ca.authzs[q.id]
	switch {
	case a == nil:
		return nil, refuse(404, "malformed", "no such authorization")
	case a.order.account != q.jws.account:
		return nil, refuse(403, "unauthorized", "not your authorization")
	}
	if !q.postAsGet() {
		var in struct {
			Status string `json:"status"`
		}
		if p := q.readPayload(&in); p != nil {
			return nil, p
		}
		if in.Status != "deactivated" {
			return nil, fault(400, "malformed", "status %q in an authorization update", in.Status)
		}
		if a.status != "pending" && a.status != "valid" {
			return nil, refuse(400, "malformed", "authorization is %s", a.status)
		}
		a.status = "deactivated"
	}
	var list []any
	for _, c := range a.challenges {
		list = append(list, ca.challengeObject(c))
	}
	return ca.hurry(object(200, struct {
		Status     string     `json:"status"`
		Expires    string     `json:"expires"`
		Identifier Identifier `json:"identifier"`
		Wildcard   bool       `json:"wildcard,omitempty"`
		Challenges []any      `json:"challenges"`
	}{a.status, stamp(a.expires), a.identifier, a.wildcard, list}), a.status), nil
}

func (ca *CA) challengeObject(c *challenge) any {
	out := map[string]any{"type": c.typ, "url": ca.url(Challenge, c.id), "status": c.status}
	if c.hasToken {
		out["token"] = c.token
	}
	if c.status == "valid" {
		out["validated"] = stamp(c.validated)
	}
	if c.problem != nil {
		out["error"] = c.problem.full()
	}
	return out
}

// postChallenge is RFC 8555 §7.5.1: `{}` accepts, POST-as-GET reads.
func (ca *CA) postChallenge(q *request) (*reply, *Problem) {
	c := ca.challenges[q.id]
	switch {
	case c == nil:
		return nil, refuse(404, "malformed", "no such challenge")
	case c.authz.order.account != q.jws.account:
		return nil, refuse(403, "unauthorized", "not your challenge")
	}
	if !q.postAsGet() {
		if string(q.jws.payload) != "{}" {
			return nil, fault(400, "malformed", "challenge answered with %q instead of {}", q.jws.payload)
		}
		if c.typ == UnknownChallenge {
			return nil, fault(400, "malformed", "challenge of a type nobody knows accepted")
		}
		if c.authz.status == "invalid" || c.authz.status == "deactivated" {
			return nil, refuse(400, "malformed", "authorization is %s", c.authz.status)
		}
		if c.status == "pending" && c.authz.status == "pending" {
			for _, other := range c.authz.challenges {
				if other.status == "processing" {
					return nil, fault(400, "malformed", "a second challenge accepted while %s is being tried", other.typ)
				}
			}
			c.status, c.polls = "processing", ca.policy.validationPolls
		}
	}
	return ca.hurry(object(200, ca.challengeObject(c)).link(ca.url(Authz, c.authz.id), "up"), c.status), nil
}
