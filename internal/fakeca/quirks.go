package fakeca

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// quirks are misbehaviours. Each has one method, which gives back the CA, so
// that they chain; all may be called during a run and hold from the next
// request on. Where a kind is asked for, "" stands for every kind. A count of
// times below 0 means for ever.
type quirks struct {
	rejectNonces int // -1 for ever
	dateSkew     time.Duration
	token        func(name, typ string) string
	identifiers  func([]Identifier) []Identifier
	leaf         []func(*x509.Certificate, *crypto.PublicKey)
	chain        []func([][]byte) [][]byte
	kinds        map[string]*kindQuirks
	aliases      map[string]string // path -> kind, where redirects lead
	gone         int               // status of Unknown, 0 for a fault
}

// kindQuirks are those of one kind of request.
type kindQuirks struct {
	on          []func(http.ResponseWriter, *http.Request) bool
	hang        bool
	left        map[string]int // how often dropBefore, dropAfter
	redirect    string
	problems    []*queuedProblem
	subproblems []Problem
	noNonce     bool
	changes     []func(*reply)
}

type queuedProblem struct {
	problem Problem
	times   int
}

const (
	dropBefore = "drop before"
	dropAfter  = "drop after"
)

func newQuirks() quirks {
	return quirks{kinds: map[string]*kindQuirks{}, aliases: map[string]string{}}
}

// kind is what is set for that kind alone.
func (q *quirks) kind(kind string) *kindQuirks {
	k := q.kinds[kind]
	if k == nil {
		k = &kindQuirks{left: map[string]int{}}
		q.kinds[kind] = k
	}
	return k
}

// Calm takes all quirks back. What an honest CA may choose (policy) stays.
func (ca *CA) Calm() *CA {
	return ca.with(func() { ca.quirks = newQuirks() })
}

// On lets f answer requests of that kind, before anything else is done with
// them; true means that it has. The request's body can be read.
func (ca *CA) On(kind string, f func(w http.ResponseWriter, r *http.Request) bool) *CA {
	return ca.with(func() { k := ca.quirks.kind(kind); k.on = append(k.on, f) })
}

func (ca *CA) hooks(kind string) []func(http.ResponseWriter, *http.Request) bool {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	return slices.Concat(ca.quirks.kind(kind).on, ca.quirks.kind("").on)
}

// RejectNonces refuses the next n POSTs with badNonce and a fresh nonce.
func (ca *CA) RejectNonces(n int) *CA {
	return ca.with(func() { ca.quirks.rejectNonces = n })
}

// RejectAllNonces is RejectNonces for ever.
func (ca *CA) RejectAllNonces() *CA { return ca.RejectNonces(-1) }

// NoNonceInReplies leaves the Replay-Nonce out.
func (ca *CA) NoNonceInReplies(kind string) *CA {
	return ca.with(func() { ca.quirks.kind(kind).noNonce = true })
}

// Hang reads the request and never answers: until the client gives up or the
// CA is closed.
func (ca *CA) Hang(kind string) *CA {
	return ca.with(func() { ca.quirks.kind(kind).hang = true })
}

func (ca *CA) hanging(kind string) bool {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	return ca.quirks.kind(kind).hang || ca.quirks.kind("").hang
}

// DropBefore cuts the connection without doing what was asked.
func (ca *CA) DropBefore(kind string, times int) *CA {
	return ca.with(func() { ca.quirks.kind(kind).left[dropBefore] = times })
}

// DropAfter does what was asked and cuts the connection instead of answering.
func (ca *CA) DropAfter(kind string, times int) *CA {
	return ca.with(func() { ca.quirks.kind(kind).left[dropAfter] = times })
}

// take uses up one of the times that what is to happen to kind.
func (ca *CA) take(kind, what string) bool {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	for _, k := range []string{kind, ""} {
		left := ca.quirks.kind(k).left
		if n := left[what]; n != 0 {
			if n > 0 {
				left[what]--
			}
			return true
		}
	}
	return false
}

// Problem answers requests of that kind, once their signature held, with a
// problem, and does nothing else. typ is short or whole or "" (no member);
// headers are "Name: value". Several calls are used up one after another.
func (ca *CA) Problem(kind string, status int, typ, detail string, times int, headers ...string) *CA {
	return ca.ProblemWith(kind, Problem{Status: status, Type: typ, Detail: detail}, times, headers...)
}

// ProblemWith is Problem with the whole document.
func (ca *CA) ProblemWith(kind string, p Problem, times int, headers ...string) *CA {
	if p.Status == 0 {
		p.Status = 400
	}
	p.header = http.Header{}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ":")
		p.header.Add(name, strings.TrimSpace(value))
	}
	return ca.with(func() {
		k := ca.quirks.kind(kind)
		k.problems = append(k.problems, &queuedProblem{p, times})
	})
}

// problem is the one to answer now, if any. ca.mu is held.
func (ca *CA) problem(kind string) *Problem {
	for _, k := range []string{kind, ""} {
		for _, q := range ca.quirks.kind(k).problems {
			if q.times == 0 {
				continue
			}
			if q.times > 0 {
				q.times--
			}
			p := q.problem
			return &p
		}
	}
	return nil
}

// SubProblems go with every problem that requests of that kind are answered with.
func (ca *CA) SubProblems(kind string, subs ...Problem) *CA {
	return ca.with(func() { ca.quirks.kind(kind).subproblems = subs })
}

// Redirect answers with 302 (GET, HEAD) or 307 to the URL, which may be
// relative. Where it leads back to this CA, the same thing stands there.
func (ca *CA) Redirect(kind, to string) *CA {
	return ca.with(func() {
		ca.quirks.kind(kind).redirect = to
		base, _ := url.Parse(ca.base)
		if u, err := base.Parse(to); err == nil && u.Host == base.Host && u.Scheme == base.Scheme {
			ca.quirks.aliases[u.Path] = kind
		}
	})
}

func (ca *CA) redirected(q *request) *reply {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	to := ca.quirks.kind(q.kind).redirect
	if _, arrived := ca.quirks.aliases[q.http.URL.Path]; to == "" || arrived {
		return nil
	}
	r := newReply(http.StatusFound)
	if q.http.Method == http.MethodPost {
		r.status = http.StatusTemporaryRedirect
	}
	return r.at(to)
}

// Gone answers Unknown paths with that status, as those that something has left.
// To ask for them is no fault then.
func (ca *CA) Gone(status int) *CA {
	return ca.with(func() { ca.quirks.gone = status })
}

// left is the refusal for a path where nothing stands.
func (ca *CA) left() *Problem {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	if ca.quirks.gone != 0 {
		return refuse(ca.quirks.gone, "malformed", "nothing stands here any more")
	}
	return fault(404, "malformed", "nothing stands here")
}

// change lets f alter each reply of that kind, problems too.
func (ca *CA) change(kind string, f func(*reply)) *CA {
	return ca.with(func() { k := ca.quirks.kind(kind); k.changes = append(k.changes, f) })
}

// Body replaces the body of each reply of that kind by what f makes of it.
func (ca *CA) Body(kind string, f func(body []byte) []byte) *CA {
	return ca.change(kind, func(r *reply) { r.body = f(r.body) })
}

// Status replaces the status of each reply of that kind.
func (ca *CA) Status(kind string, status int) *CA {
	return ca.change(kind, func(r *reply) { r.status = status })
}

// Header sets a header of each reply of that kind; no values take it away.
func (ca *CA) Header(kind, name string, values ...string) *CA {
	return ca.change(kind, func(r *reply) {
		r.header.Del(name)
		for _, v := range values {
			r.header.Add(name, v)
		}
	})
}

// RetryAfterRaw puts these values, good or bad, into Retry-After.
func (ca *CA) RetryAfterRaw(kind string, values ...string) *CA {
	return ca.Header(kind, "Retry-After", values...)
}

// ContentType sets the replies' Content-Type.
func (ca *CA) ContentType(kind, value string) *CA {
	return ca.Header(kind, "Content-Type", value)
}

// DateSkew sets the CA's clock in Date headers off by d.
func (ca *CA) DateSkew(d time.Duration) *CA {
	return ca.with(func() { ca.quirks.dateSkew = d })
}

// HugeBody streams n bytes of JSON (of base64, for certificates) instead of the body.
func (ca *CA) HugeBody(kind string, n int64) *CA {
	return ca.change(kind, func(r *reply) {
		head := `{"huge":"`
		if kind == Certificate {
			head = "-----BEGIN CERTIFICATE-----\n"
		}
		r.header.Del("Content-Length")
		r.stream = func(write func([]byte) error) {
			piece := bytes.Repeat([]byte("A"), 32<<10)
			if kind == Certificate {
				piece = bytes.Repeat([]byte(strings.Repeat("A", 63)+"\n"), 512)
			}
			if write([]byte(head)) != nil {
				return
			}
			for left := n; left > 0; left -= int64(len(piece)) {
				if write(piece[:min(left, int64(len(piece)))]) != nil {
					return
				}
			}
		}
	})
}

// Drip sends the body piece by piece, size bytes every pause.
func (ca *CA) Drip(kind string, size int, pause time.Duration) *CA {
	return ca.change(kind, func(r *reply) {
		body := r.body
		r.stream = func(write func([]byte) error) {
			for piece := range slices.Chunk(body, size) {
				if write(piece) != nil {
					return
				}
				select {
				case <-ca.done:
				case <-time.After(pause):
				}
			}
		}
	})
}

// TruncateJSON cuts the body in the middle.
func (ca *CA) TruncateJSON(kind string) *CA {
	return ca.Body(kind, func(b []byte) []byte { return b[:len(b)/2] })
}

// DeepJSON puts a member "deep" into the object, arrays within arrays, depth of them.
func (ca *CA) DeepJSON(kind string, depth int) *CA {
	return ca.Body(kind, func(b []byte) []byte {
		deep := `{"deep":` + strings.Repeat("[", depth) + strings.Repeat("]", depth)
		rest, ok := bytes.CutPrefix(b, []byte("{"))
		if !ok {
			return b
		}
		return append([]byte(deep+","), rest...)
	})
}

// Member sets a member of the replies' JSON object to value, for instance
// "finalize", "challenges.0.token", "authorizations.1", "meta.website".
func (ca *CA) Member(kind, path string, value any) *CA {
	return ca.change(kind, func(r *reply) { setMember(r, path, value) })
}

// DropMember takes a member out of the replies' JSON object.
func (ca *CA) DropMember(kind, path string) *CA {
	return ca.change(kind, func(r *reply) { setMember(r, path, absent{}) })
}

// ForeignURL is Member for URLs: it makes the member at path lead elsewhere.
// The path "Location" or "Link" changes that header.
func (ca *CA) ForeignURL(kind, path, to string) *CA {
	switch path {
	case "Location":
		return ca.Header(kind, path, to)
	case "Link":
		return ca.Header(kind, path, "<"+to+`>;rel="alternate"`)
	}
	return ca.Member(kind, path, to)
}

type absent struct{}

// setMember changes one place of a JSON body; where the path leads nowhere
// (in problems, for instance) the body stays.
func setMember(r *reply, path string, value any) {
	var top any
	d := json.NewDecoder(bytes.NewReader(r.body))
	d.UseNumber()
	if d.Decode(&top) != nil {
		return
	}
	if _, isProblem := top.(map[string]any)["detail"]; isProblem {
		return
	}
	steps := strings.Split(path, ".")
	at := top
	for n, step := range steps {
		last := n == len(steps)-1
		switch node := at.(type) {
		case map[string]any:
			if !last {
				at = node[step]
				continue
			}
			if _, drop := value.(absent); drop {
				delete(node, step)
			} else {
				node[step] = value
			}
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(node) {
				return
			}
			if !last {
				at = node[i]
				continue
			}
			node[i] = value
		default:
			return
		}
	}
	r.body = encode(top)
}

// Token makes the tokens of new authorizations; name with "*.".
func (ca *CA) Token(f func(name, typ string) string) *CA {
	return ca.with(func() { ca.quirks.token = f })
}

// Identifiers alters those that newOrder's reply shows; the order keeps its own.
func (ca *CA) Identifiers(f func([]Identifier) []Identifier) *CA {
	return ca.with(func() { ca.quirks.identifiers = f })
}

// Leaf alters the template and the public key that leaves are made of.
func (ca *CA) Leaf(f func(t *x509.Certificate, pub *crypto.PublicKey)) *CA {
	return ca.with(func() { ca.quirks.leaf = append(ca.quirks.leaf, f) })
}

// LeafForOtherKey issues for a key that is not the CSR's.
func (ca *CA) LeafForOtherKey() *CA {
	return ca.Leaf(func(_ *x509.Certificate, pub *crypto.PublicKey) {
		key, err := newKey()
		if err != nil {
			panic(err)
		}
		*pub = key.Public()
	})
}

// LeafNames issues for these names instead of the ordered ones.
func (ca *CA) LeafNames(names ...string) *CA {
	return ca.Leaf(func(t *x509.Certificate, _ *crypto.PublicKey) {
		t.Subject.CommonName, t.DNSNames, t.IPAddresses = "", nil, nil
		for _, n := range names {
			addName(t, n)
		}
	})
}

// LeafExpired issues what ended an hour ago.
func (ca *CA) LeafExpired() *CA {
	return ca.LeafValid(time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour))
}

// LeafValid issues for just that time, whatever was asked.
func (ca *CA) LeafValid(from, until time.Time) *CA {
	return ca.Leaf(func(t *x509.Certificate, _ *crypto.PublicKey) { t.NotBefore, t.NotAfter = from, until })
}

// LeafIsCA issues a CA certificate.
func (ca *CA) LeafIsCA() *CA {
	return ca.Leaf(func(t *x509.Certificate, _ *crypto.PublicKey) {
		t.IsCA, t.KeyUsage = true, t.KeyUsage|x509.KeyUsageCertSign
	})
}

// Chain alters the chain that is sent, a PEM block each, leaf first.
func (ca *CA) Chain(f func(blocks [][]byte) [][]byte) *CA {
	return ca.with(func() { ca.quirks.chain = append(ca.quirks.chain, f) })
}

// LeafOnly sends the leaf without its intermediate.
func (ca *CA) LeafOnly() *CA {
	return ca.Chain(func(b [][]byte) [][]byte { return b[:1] })
}

// ReverseChain sends the leaf last.
func (ca *CA) ReverseChain() *CA {
	return ca.Chain(func(b [][]byte) [][]byte { slices.Reverse(b); return b })
}

// WrongIntermediate sends one that did not sign the leaf.
func (ca *CA) WrongIntermediate() *CA {
	return ca.Chain(func(b [][]byte) [][]byte {
		other, err := newRoot("Someone Else")
		if err != nil {
			panic(err)
		}
		return append(b[:1:1], encodePEM(other.cert.Raw))
	})
}

// ExtraPEM puts a text, say another PEM block, between leaf and intermediate.
func (ca *CA) ExtraPEM(block string) *CA {
	return ca.Chain(func(b [][]byte) [][]byte { return slices.Insert(b, 1, []byte(block)) })
}

// AppendAfterChain sends a text after the chain.
func (ca *CA) AppendAfterChain(text string) *CA {
	return ca.Chain(func(b [][]byte) [][]byte { return append(b, []byte(text)) })
}

// ChainRaw sends that instead of the chain.
func (ca *CA) ChainRaw(body []byte) *CA {
	return ca.Chain(func([][]byte) [][]byte { return [][]byte{body} })
}
