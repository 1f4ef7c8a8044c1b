package fakeca

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Problem is an ACME problem document (RFC 7807, RFC 8555 §6.7).
type Problem struct {
	Type        string      `json:"type,omitempty"` // a short word gets the ACME prefix
	Title       string      `json:"title,omitempty"`
	Detail      string      `json:"detail,omitempty"`
	Instance    string      `json:"instance,omitempty"`
	Status      int         `json:"status,omitempty"`
	Identifier  *Identifier `json:"identifier,omitempty"`
	Algorithms  []string    `json:"algorithms,omitempty"`
	Subproblems []Problem   `json:"subproblems,omitempty"`

	fault  bool        // the client broke the protocol
	header http.Header // goes with the reply
}

const errorPrefix = "urn:ietf:params:acme:error:"

// full is p with its type, and those below it, written out.
func (p Problem) full() Problem {
	if p.Type != "" && !strings.Contains(p.Type, ":") {
		p.Type = errorPrefix + p.Type
	}
	subs := make([]Problem, len(p.Subproblems))
	for i, s := range p.Subproblems {
		subs[i] = s.full()
	}
	p.Subproblems = subs
	return p
}

// refuse is a refusal that an honest client can meet.
func refuse(status int, typ, format string, args ...any) *Problem {
	return &Problem{Status: status, Type: typ, Detail: fmt.Sprintf(format, args...)}
}

// fault is a refusal that only a client with an error in it meets.
func fault(status int, typ, format string, args ...any) *Problem {
	p := refuse(status, typ, format, args...)
	p.fault = true
	return p
}

// request is one request on its way through the CA.
type request struct {
	ca    *CA
	kind  string
	id    string
	http  *http.Request
	body  []byte
	entry int // in the log
	jws   *verified
}

// reply is an answer before it is written; quirks change it.
type reply struct {
	status int
	header http.Header
	body   []byte
	stream func(write func([]byte) error) // instead of body
}

func newReply(status int) *reply { return &reply{status: status, header: http.Header{}} }

// object is a reply with a JSON body.
func object(status int, v any) *reply {
	r := newReply(status)
	r.header.Set("Content-Type", "application/json")
	r.body = encode(v)
	return r
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own types, or a test's hopeless value
	}
	return append(b, '\n')
}

func (r *reply) at(url string) *reply {
	r.header.Set("Location", url)
	return r
}

func (r *reply) link(url, rel string) *reply {
	r.header.Add("Link", fmt.Sprintf("<%s>;rel=%q", url, rel))
	return r
}

func (p *Problem) reply() *reply {
	r := object(p.Status, p.full())
	r.header.Set("Content-Type", "application/problem+json")
	for k, v := range p.header {
		r.header[k] = v
	}
	return r
}

// answer does what the request asks.
func (ca *CA) answer(q *request) *reply {
	rep, p := ca.handle(q)
	if p == nil {
		return rep
	}
	ca.mu.Lock()
	defer ca.mu.Unlock()
	if p.fault {
		ca.faults = append(ca.faults, fmt.Sprintf("%s %s: %s (%s)", q.http.Method, q.http.URL.Path, p.Detail, p.Type))
	}
	if subs := ca.quirks.kind(q.kind).subproblems; subs != nil {
		p.Subproblems = subs
	}
	return p.reply()
}

func (ca *CA) handle(q *request) (*reply, *Problem) {
	if q.http.UserAgent() == "" {
		return nil, fault(400, "malformed", "no User-Agent (RFC 8555 §6.1)")
	}
	switch q.kind {
	case Directory, Nonce, RenewalInfo, Terms:
		return ca.get(q)
	case Unknown:
		return nil, ca.left()
	}
	if q.http.Method != http.MethodPost {
		p := fault(405, "malformed", "%s where only POST is allowed (RFC 8555 §6.3)", q.http.Method)
		p.header = http.Header{"Allow": {"POST"}}
		return nil, p
	}
	ca.mu.Lock()
	p := ca.verify(q)
	if p == nil {
		ca.log[q.entry].Payload = q.jws.payload
		p = ca.problem(q.kind)
	}
	ca.mu.Unlock()
	if p != nil {
		return nil, p
	}
	switch q.kind { // what polls makes validations happen, and those take no lock
	case Order, Authz, Challenge:
		ca.validate(q)
	}
	ca.mu.Lock()
	defer ca.mu.Unlock()
	switch q.kind {
	case NewAccount:
		return ca.newAccount(q)
	case Account:
		return ca.updateAccount(q)
	case Orders:
		return ca.listOrders(q)
	case KeyChange:
		return ca.keyChange(q)
	case NewOrder:
		return ca.newOrder(q)
	case Order:
		return ca.fetchOrder(q)
	case Authz:
		return ca.fetchAuthz(q)
	case Challenge:
		return ca.postChallenge(q)
	case Finalize:
		return ca.finalize(q)
	case Certificate:
		return ca.fetchCertificate(q)
	default:
		return ca.revoke(q)
	}
}

// get answers the kinds that need no signature.
func (ca *CA) get(q *request) (*reply, *Problem) {
	head := q.http.Method == http.MethodHead
	if q.http.Method != http.MethodGet && !head {
		return nil, fault(405, "malformed", "%s where only GET is allowed", q.http.Method)
	}
	ca.mu.Lock()
	defer ca.mu.Unlock()
	if p := ca.problem(q.kind); p != nil {
		return nil, p
	}
	switch q.kind {
	case Directory:
		return object(200, ca.directory()), nil
	case RenewalInfo:
		return ca.renewalInfo(q)
	case Terms:
		r := newReply(200)
		r.header.Set("Content-Type", "text/plain")
		r.body = []byte("Be honest.\n")
		return r, nil
	}
	if head { // RFC 8555 §7.2
		return newReply(200), nil
	}
	return newReply(204), nil
}

// finish gives the reply what every reply has, and to the quirks.
func (ca *CA) finish(q *request, r *reply) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	k, all := ca.quirks.kind(q.kind), ca.quirks.kind("")
	if q.kind != Directory {
		r.link(ca.base+"/directory", "index")
	}
	if q.http.Method == http.MethodPost || q.kind == Nonce {
		r.header.Set("Cache-Control", "no-store")
		if !k.noNonce && !all.noNonce {
			r.header.Set("Replay-Nonce", ca.newNonce())
		}
	}
	if d := ca.quirks.dateSkew; d != 0 {
		r.header.Set("Date", time.Now().Add(d).UTC().Format(http.TimeFormat))
	}
	for _, change := range k.changes {
		change(r)
	}
	for _, change := range all.changes {
		change(r)
	}
}

func (r *reply) write(w http.ResponseWriter, req *http.Request, done <-chan struct{}) {
	h := w.Header()
	for k, v := range r.header {
		h[k] = v
	}
	w.WriteHeader(r.status)
	if req.Method == http.MethodHead {
		return
	}
	if r.stream == nil {
		_, _ = w.Write(r.body)
		return
	}
	flush := http.NewResponseController(w)
	r.stream(func(b []byte) error {
		select {
		case <-done:
			return http.ErrServerClosed
		case <-req.Context().Done():
			return req.Context().Err()
		default:
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		return flush.Flush()
	})
}
