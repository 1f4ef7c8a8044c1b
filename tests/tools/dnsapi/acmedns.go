package main

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"regexp"
)

// acmeDNS is the API of acme-dns 1.0: /register makes accounts, /update takes values. The
// two newest values of an account are there.
type acmeDNS struct {
	zone     string
	server   *server
	accounts map[string]*acmeAccount // by user name
}

type acmeAccount struct {
	Username   string   `json:"username"`
	Password   string   `json:"password"`
	Fulldomain string   `json:"fulldomain"`
	Subdomain  string   `json:"subdomain"`
	Allowfrom  []string `json:"allowfrom"`
	texts      []string
}

func newACMEDNS(zone string, s *server) *acmeDNS {
	return &acmeDNS{zone: zone, server: s, accounts: map[string]*acmeAccount{}}
}

func (a *acmeDNS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path != "/register" && r.URL.Path != "/update":
		http.NotFound(w, r)
	case r.Method != http.MethodPost:
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
	case r.URL.Path == "/register":
		a.register(w, r)
	default:
		a.update(w, r)
	}
}

func acmeError(w http.ResponseWriter, status int, word string) {
	reply(w, status, map[string]string{"error": word})
}

func (a *acmeDNS) register(w http.ResponseWriter, r *http.Request) {
	if body := read(r); len(body) > 0 && !json.Valid(body) {
		acmeError(w, http.StatusBadRequest, "malformed_json_payload")
		return
	}
	n := &acmeAccount{Username: uuid(), Subdomain: uuid(), Password: (rand.Text() + rand.Text())[:38] + `-_`, Allowfrom: []string{}}
	n.Fulldomain = n.Subdomain + "." + a.zone
	a.accounts[n.Username] = n
	reply(w, http.StatusCreated, n)
}

// uuid is one by chance, version 4.
func uuid() string {
	const hex = "0123456789abcdef"
	var b [32]byte
	rand.Read(b[:])
	for i := range b {
		b[i] = hex[b[i]%16]
	}
	b[12], b[16] = '4', '8'
	s := string(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// Only texts that may be a challenge's are taken.
var acmeText = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

func (a *acmeDNS) update(w http.ResponseWriter, r *http.Request) {
	var asked struct{ Subdomain, Txt string }
	account := a.accounts[r.Header.Get("X-Api-User")]
	switch {
	case account == nil, account.Password != r.Header.Get("X-Api-Key"),
		json.Unmarshal(read(r), &asked) != nil, asked.Subdomain != account.Subdomain:
		acmeError(w, http.StatusUnauthorized, "forbidden")
		return
	case !acmeText.MatchString(asked.Txt):
		acmeError(w, http.StatusBadRequest, "bad_txt")
		return
	}
	account.texts = append(account.texts, asked.Txt)
	account.texts = account.texts[max(0, len(account.texts)-2):]
	if a.server.set(a.zone, account.Fulldomain, account.texts) != nil {
		acmeError(w, http.StatusInternalServerError, "db_error")
		return
	}
	reply(w, http.StatusOK, map[string]string{"txt": asked.Txt})
}
