package fakeca

import (
	"encoding/json"
	"net/http"
	"net/mail"
	"net/url"
	"sort"
	"strconv"
	"strings"

	jose "github.com/go-jose/go-jose/v4"
)

// account is one account (RFC 8555 §7.1.2).
type account struct {
	id      string
	key     *jose.JSONWebKey
	status  string // valid, deactivated
	contact []string
	agreed  bool
	eab     json.RawMessage
}

func (ca *CA) newID() string {
	ca.next++
	return strconv.Itoa(ca.next)
}

// accountAt is the account with that URL, nil if there is none.
func (ca *CA) accountAt(url string) *account {
	id, ok := strings.CutPrefix(url, ca.url(Account, "")+"/")
	if !ok {
		return nil
	}
	return ca.accounts[id]
}

func (ca *CA) accountWith(key *jose.JSONWebKey) *account {
	for _, a := range ca.accounts {
		if thumbprint(a.key) == thumbprint(key) {
			return a
		}
	}
	return nil
}

func (ca *CA) accountObject(a *account) any {
	return struct {
		Status  string          `json:"status"`
		Contact []string        `json:"contact,omitempty"`
		Agreed  bool            `json:"termsOfServiceAgreed,omitempty"`
		EAB     json.RawMessage `json:"externalAccountBinding,omitempty"`
		Orders  string          `json:"orders"`
	}{a.status, a.contact, a.agreed, a.eab, ca.url(Orders, a.id)}
}

// newAccount is RFC 8555 §7.3.
func (ca *CA) newAccount(q *request) (*reply, *Problem) {
	var in struct {
		Contact    []string        `json:"contact"`
		Agreed     bool            `json:"termsOfServiceAgreed"`
		OnlyReturn bool            `json:"onlyReturnExisting"`
		EAB        json.RawMessage `json:"externalAccountBinding"`
	}
	if p := q.readPayload(&in); p != nil {
		return nil, p
	}
	if a := ca.accountWith(q.jws.key); a != nil {
		if a.status != "valid" {
			return nil, refuse(401, "unauthorized", "account is %s", a.status)
		}
		return object(200, ca.accountObject(a)).at(ca.url(Account, a.id)), nil
	}
	if in.OnlyReturn {
		return nil, refuse(400, "accountDoesNotExist", "no account has this key")
	}
	if ca.policy.terms != "" && !in.Agreed {
		p := refuse(403, "userActionRequired", "the terms of service are not agreed to")
		p.header = http.Header{"Link": {"<" + ca.policy.terms + `>;rel="terms-of-service"`}}
		return nil, p
	}
	if p := checkContact(in.Contact); p != nil {
		return nil, p
	}
	switch {
	case in.EAB != nil:
		if p := ca.checkEAB(in.EAB, q.jws.key); p != nil {
			return nil, p
		}
	case ca.policy.eabRequired:
		return nil, refuse(403, "externalAccountRequired", "this CA wants an external account binding")
	}
	a := &account{id: ca.newID(), key: q.jws.key, status: "valid", contact: in.Contact, agreed: in.Agreed, eab: in.EAB}
	ca.accounts[a.id] = a
	return object(201, ca.accountObject(a)).at(ca.url(Account, a.id)), nil
}

// checkContact wants mailto: with one address and no header fields (§7.3).
func checkContact(contact []string) *Problem {
	for _, c := range contact {
		u, err := url.Parse(c)
		if err != nil {
			return refuse(400, "invalidContact", "contact %q is no URI", c)
		}
		if u.Scheme != "mailto" {
			return refuse(400, "unsupportedContact", "contact %q is no mailto URI", c)
		}
		if a, err := mail.ParseAddress(u.Opaque); err != nil || u.RawQuery != "" || a.Address != u.Opaque {
			return refuse(400, "invalidContact", "contact %q is not one plain address", c)
		}
	}
	return nil
}

// updateAccount is RFC 8555 §7.3.2 and §7.3.6; POST-as-GET reads.
func (ca *CA) updateAccount(q *request) (*reply, *Problem) {
	a := ca.accounts[q.id]
	if a == nil || a != q.jws.account {
		return nil, refuse(401, "unauthorized", "not your account")
	}
	if q.postAsGet() {
		return object(200, ca.accountObject(a)), nil
	}
	var in struct {
		Contact *[]string `json:"contact"`
		Status  string    `json:"status"`
		Agreed  bool      `json:"termsOfServiceAgreed"`
	}
	if p := q.readPayload(&in); p != nil {
		return nil, p
	}
	switch in.Status {
	case "", "valid":
	case "deactivated":
		a.status = "deactivated"
		return object(200, ca.accountObject(a)), nil
	default:
		return nil, fault(400, "malformed", "status %q in an account update", in.Status)
	}
	if in.Contact != nil {
		if p := checkContact(*in.Contact); p != nil {
			return nil, p
		}
		a.contact = *in.Contact
	}
	a.agreed = a.agreed || in.Agreed
	return object(200, ca.accountObject(a)), nil
}

// listOrders is RFC 8555 §7.1.2.1, on one page.
func (ca *CA) listOrders(q *request) (*reply, *Problem) {
	a := ca.accounts[q.id]
	if a == nil || a != q.jws.account {
		return nil, refuse(401, "unauthorized", "not your account")
	}
	if !q.postAsGet() {
		return nil, fault(400, "malformed", "payload where POST-as-GET is wanted")
	}
	urls := []string{}
	for id, o := range ca.orders {
		if o.account == a {
			urls = append(urls, ca.url(Order, id))
		}
	}
	sort.Strings(urls)
	return object(200, map[string]any{"orders": urls}), nil
}

// keyChange is RFC 8555 §7.3.5: a JWS of the new key inside one of the old.
func (ca *CA) keyChange(q *request) (*reply, *Problem) {
	h, payload, p := readJWS(q.jws.payload)
	if p != nil {
		p.Detail = "inner JWS: " + p.Detail
		return nil, p
	}
	switch {
	case h.JWK == nil || h.KID != nil:
		return nil, fault(400, "malformed", "inner JWS: wants jwk and no kid")
	case h.URL == nil || *h.URL != ca.url(KeyChange, ""):
		return nil, fault(400, "malformed", "inner JWS: url is not that of the outer one")
	case h.Nonce != nil:
		return nil, fault(400, "malformed", "inner JWS: nonce must be absent")
	}
	key, p := readJWK(*h.JWK)
	if p != nil {
		return nil, p
	}
	if p := checkSignature(q.jws.payload, h.Alg, key, payload); p != nil {
		return nil, p
	}
	var in struct {
		Account string          `json:"account"`
		OldKey  json.RawMessage `json:"oldKey"`
	}
	if err := json.Unmarshal(payload, &in); err != nil {
		return nil, fault(400, "malformed", "inner payload: %v", err)
	}
	old, p := readJWK(in.OldKey)
	if p != nil {
		return nil, p
	}
	a := q.jws.account
	switch {
	case in.Account != ca.url(Account, a.id):
		return nil, fault(400, "malformed", "inner payload: account %q is not the signer's", in.Account)
	case thumbprint(old) != thumbprint(a.key):
		return nil, fault(400, "malformed", "inner payload: oldKey is not the account's")
	}
	if other := ca.accountWith(key); other != nil {
		p := refuse(409, "malformed", "the new key is in use")
		p.header = http.Header{"Location": {ca.url(Account, other.id)}}
		return nil, p
	}
	a.key = key
	return object(200, ca.accountObject(a)).at(ca.url(Account, a.id)), nil
}
