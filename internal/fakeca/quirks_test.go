package fakeca

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestNonceQuirks(t *testing.T) {
	ca := New(t)
	c := newHand(t, ca).register()
	ca.RejectNonces(2)
	for range 2 {
		a := c.post(c.kid, nil, signing{})
		if a.refused(t, "badNonce"); a.header.Get("Replay-Nonce") == "" {
			t.Error("refused without a fresh nonce")
		}
	}
	c.post(c.kid, nil, signing{}).ok(t)
	ca.RejectAllNonces()
	for range 20 {
		c.post(c.kid, nil, signing{}).refused(t, "badNonce")
	}
	ca.Calm().NoNonceInReplies(Account)
	if a := c.post(c.kid, nil, signing{}).ok(t); a.header.Get("Replay-Nonce") != "" {
		t.Error("nonce in the reply")
	}
	c.post(c.kid, nil, signing{}).ok(t) // with one from newNonce
}

func TestProblemsComeInTurn(t *testing.T) {
	ca := New(t)
	c := newHand(t, ca).register()
	ca.Problem(NewOrder, 429, "rateLimited", "too many", 1, "Retry-After: 36000").
		ProblemWith(NewOrder, Problem{Detail: "odd"}, 1).
		SubProblems(NewOrder, Problem{Type: "caa", Identifier: &Identifier{"dns", "example.org"}})
	in := obj{"identifiers": identifiers("example.org")}
	a := c.post(c.dir["newOrder"].(string), in, signing{})
	if a.refused(t, "rateLimited"); a.status != 429 || a.header.Get("Retry-After") != "36000" || !strings.Contains(string(a.body), errorPrefix+"caa") {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	a = c.post(c.dir["newOrder"].(string), in, signing{})
	if _, typed := a.json["type"]; a.status != 400 || typed {
		t.Errorf("%d %s", a.status, a.body)
	}
	c.post(c.dir["newOrder"].(string), in, signing{}).ok(t)
	if ca.NewOrders() != 1 {
		t.Errorf("%d orders", ca.NewOrders())
	}
	ca.Problem("", 503, "", "", -1)
	for range 3 {
		if a := c.do("GET", ca.URL(), nil, signing{}); a.status != 503 {
			t.Errorf("%d", a.status)
		}
	}
}

func TestDropBeforeAndAfter(t *testing.T) {
	for _, modes := range [][]Mode{{}, {HTTP1}, {InMemory}} {
		ca := New(t, modes...)
		c := newHand(t, ca).register()
		in := encode(obj{"identifiers": identifiers("example.org")})
		newOrder := c.dir["newOrder"].(string)
		send := func() error {
			_, err := c.try("POST", newOrder, c.sign(newOrder, in, signing{}), signing{})
			return err
		}
		ca.DropBefore(NewOrder, 1)
		if err := send(); err == nil || ca.NewOrders() != 0 {
			t.Errorf("%v: before: %v, %d orders", modes, err, ca.NewOrders())
		}
		ca.DropAfter(NewOrder, 1)
		if err := send(); err == nil || ca.NewOrders() != 1 {
			t.Errorf("%v: after: %v, %d orders", modes, err, ca.NewOrders())
		}
		if err := send(); err != nil || ca.NewOrders() != 2 {
			t.Errorf("%v: then: %v, %d orders", modes, err, ca.NewOrders())
		}
	}
}

func TestHangLastsUntilTheClientGivesUpOrTheCAEnds(t *testing.T) {
	ca := New(t).Hang(Directory)
	ctx, cancel := context.WithCancel(t.Context())
	ca.On(Directory, func(http.ResponseWriter, *http.Request) bool { cancel(); return false })
	req, _ := http.NewRequestWithContext(ctx, "GET", ca.URL(), nil)
	if _, err := ca.HTTPClient().Do(req); err == nil {
		t.Error("an answer")
	}
	got := make(chan error)
	ca.Calm().Hang(Directory).On(Directory, func(http.ResponseWriter, *http.Request) bool { go ca.Close(); return false })
	go func() {
		_, err := ca.HTTPClient().Get(ca.URL())
		got <- err
	}()
	if err := <-got; err == nil {
		t.Error("an answer")
	}
}

func TestBodiesThatAreWrong(t *testing.T) {
	ca := New(t)
	get := func() answered { return (&hand{t: t, ca: ca}).do("GET", ca.URL(), nil, signing{}) }
	whole := len(get().body)
	ca.TruncateJSON(Directory)
	if a := get(); len(a.body) != whole/2 || a.json != nil {
		t.Errorf("truncated: %s", a.body)
	}
	ca.Calm().DeepJSON(Directory, 500)
	if a := get(); strings.Count(string(a.body), "[[[[") < 100 || a.json["newOrder"] == nil {
		t.Errorf("deep: %s", a.body)
	}
	ca.Calm().HugeBody(Directory, 3<<20)
	if a := get(); len(a.body) < 3<<20 || len(a.body) > 3<<20+100 {
		t.Errorf("huge: %d", len(a.body))
	}
	ca.Calm().ContentType(Directory, "text/html").RetryAfterRaw(Directory, "soon", "-5").DateSkew(48*time.Hour).Status(Directory, 500)
	a := get()
	date, err := http.ParseTime(a.header.Get("Date"))
	if a.status != 500 || a.header.Get("Content-Type") != "text/html" || len(a.header["Retry-After"]) != 2 || err != nil || time.Until(date) < 47*time.Hour {
		t.Errorf("%d %v", a.status, a.header)
	}
	ca.Calm().Header(Directory, "Content-Type").Body(Directory, func([]byte) []byte { return []byte("<html>") })
	if a := get(); string(a.body) != "<html>" {
		t.Errorf("%s", a.body)
	}
	ca.Calm()
	if a := get(); len(a.body) != whole || a.header["Content-Type"][0] != "application/json" {
		t.Errorf("not calm: %v %s", a.header, a.body)
	}
}

func TestHugeBodyStopsWhenNobodyReads(t *testing.T) {
	ca := New(t, HTTP1).HugeBody(Directory, 1<<50)
	res, err := ca.HTTPClient().Get(ca.URL())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, res.Body, 1<<20); err != nil {
		t.Error(err)
	}
	_ = res.Body.Close()
}

func TestMembersThatAreWrong(t *testing.T) {
	ca := New(t)
	c := newHand(t, ca).register()
	ca.ForeignURL(Directory, "newOrder", "http://elsewhere.example/").DropMember(Directory, "revokeCert").
		Member(Directory, "meta.website", 5).
		Member(Authz, "challenges.1.token", nil).
		ForeignURL(NewOrder, "authorizations.0", "https://elsewhere.example/a").
		ForeignURL(NewOrder, "Location", "file:///etc/passwd").
		Identifiers(func(ids []Identifier) []Identifier { return append(ids, Identifier{"dns", "evil.example"}) })
	d := c.do("GET", ca.URL(), nil, signing{})
	if d.json["newOrder"] != "http://elsewhere.example/" || d.json["revokeCert"] != nil || d.json["meta"].(obj)["website"] != 5.0 {
		t.Errorf("%s", d.body)
	}
	o := c.post(c.dir["newOrder"].(string), obj{"identifiers": identifiers("example.org")}, signing{}).ok(t)
	if o.json["authorizations"].([]any)[0] != "https://elsewhere.example/a" || o.header.Get("Location") != "file:///etc/passwd" || len(o.json["identifiers"].([]any)) != 2 {
		t.Errorf("%s", o.body)
	}
	for id := range ca.authzs {
		a := c.post(ca.url(Authz, id), nil, signing{}).ok(t)
		var doc struct{ Challenges []map[string]json.RawMessage }
		if err := json.Unmarshal(a.body, &doc); err != nil || string(doc.Challenges[1]["token"]) != "null" {
			t.Errorf("%v %s", err, a.body)
		}
	}
}

func TestTokensOfTheTestsChoice(t *testing.T) {
	ca := New(t).Token(func(name, typ string) string { return "../" + name + "/" + typ })
	c := newHand(t, ca).register()
	o := c.post(c.dir["newOrder"].(string), obj{"identifiers": identifiers("example.org")}, signing{}).ok(t)
	a := c.post(o.json["authorizations"].([]any)[0].(string), nil, signing{}).ok(t)
	if !strings.Contains(string(a.body), `"../example.org/dns-01"`) {
		t.Errorf("%s", a.body)
	}
}

func TestRedirectLeadsToTheSame(t *testing.T) {
	ca := New(t).Redirect(Directory, "/elsewhere")
	c := newHand(t, ca) // follows
	if c.dir["newOrder"] == nil || ca.Count(Directory) != 2 {
		t.Errorf("%v", ca.Requests())
	}
	ca.Redirect(NewAccount, "https://elsewhere.example/")
	ca.HTTPClient().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if a := c.post(c.dir["newAccount"].(string), "{}", signing{}); a.status != 307 || a.header.Get("Location") != "https://elsewhere.example/" {
		t.Errorf("%d %v", a.status, a.header)
	}
}

func TestChainsThatAreWrong(t *testing.T) {
	for name, c := range map[string]struct {
		quirk func(ca *CA)
		wrong func(ca *CA, pem string, chain []*x509.Certificate) bool
	}{
		"other key": {func(ca *CA) { ca.LeafForOtherKey() }, func(ca *CA, _ string, _ []*x509.Certificate) bool {
			return !ca.CSRs()[0].PublicKey.(*ecdsa.PublicKey).Equal(ca.Issued()[0].PublicKey)
		}},
		"names": {func(ca *CA) { ca.LeafNames("evil.example", "192.0.2.9") }, func(_ *CA, _ string, ch []*x509.Certificate) bool {
			return ch[0].DNSNames[0] == "evil.example" && len(ch[0].IPAddresses) == 1
		}},
		"expired": {func(ca *CA) { ca.LeafExpired() }, func(_ *CA, _ string, ch []*x509.Certificate) bool { return ch[0].NotAfter.Before(time.Now()) }},
		"is a CA": {func(ca *CA) { ca.LeafIsCA() }, func(_ *CA, _ string, ch []*x509.Certificate) bool { return ch[0].IsCA }},
		"extra": {func(ca *CA) { ca.ExtraPEM("-----BEGIN EVIL-----\nAAAA\n-----END EVIL-----\n") }, func(_ *CA, p string, ch []*x509.Certificate) bool {
			return strings.Count(p, "BEGIN") == 3 && strings.Index(p, "EVIL") < strings.LastIndex(p, "BEGIN CERT")
		}},
		"after":   {func(ca *CA) { ca.AppendAfterChain("evil") }, func(_ *CA, p string, _ []*x509.Certificate) bool { return strings.HasSuffix(p, "-----\nevil") }},
		"raw":     {func(ca *CA) { ca.ChainRaw([]byte("evil")) }, func(_ *CA, p string, _ []*x509.Certificate) bool { return p == "evil" }},
		"alone":   {func(ca *CA) { ca.LeafOnly() }, func(_ *CA, _ string, ch []*x509.Certificate) bool { return len(ch) == 1 && !ch[0].IsCA }},
		"reverse": {func(ca *CA) { ca.ReverseChain() }, func(_ *CA, _ string, ch []*x509.Certificate) bool { return ch[0].IsCA }},
		"foreign": {func(ca *CA) { ca.WrongIntermediate() }, func(_ *CA, _ string, ch []*x509.Certificate) bool { return ch[0].CheckSignatureFrom(ch[1]) != nil }},
	} {
		t.Run(name, func(t *testing.T) {
			ca := New(t).ReadyOrder().SyncFinalize()
			c.quirk(ca)
			hand := newHand(t, ca).register()
			url, _ := hand.issue("", "example.org")
			pem := hand.post(url, nil, signing{}).ok(t).body
			if !c.wrong(ca, string(pem), parseChain(t, pem)) {
				t.Errorf("nothing wrong with %s", pem)
			}
		})
	}
}

func TestTLSThatIsWrong(t *testing.T) {
	for name, quirk := range map[string]func(*CA) *CA{"expired": (*CA).ExpiredTLS, "name": (*CA).WrongNameTLS, "old": (*CA).OldTLS} {
		ca := quirk(New(t))
		if _, err := ca.HTTPClient().Get(ca.URL()); err == nil {
			t.Errorf("%s: accepted", name)
		} else {
			t.Log(name, err)
		}
	}
	ca := New(t)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca.RootsPEM()) {
		t.Fatal("no roots in the PEM")
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer client.CloseIdleConnections()
	if _, err := client.Get(ca.URL()); err != nil {
		t.Error(err)
	}
}

func TestSilentTLSLastsUntilTheClientGivesUp(t *testing.T) {
	ca := New(t).SilentTLS()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", ca.URL(), nil)
	if _, err := ca.HTTPClient().Do(req); !errors.Is(err, context.DeadlineExceeded) || ca.Count() != 0 || ca.Connections() != 1 {
		t.Errorf("%v, %d requests, %d connections", err, ca.Count(), ca.Connections())
	}
}

func TestOnSeesTheBodyAndMayAnswer(t *testing.T) {
	ca := New(t)
	c := newHand(t, ca).register()
	var seen []byte
	ca.On(Account, func(w http.ResponseWriter, r *http.Request) bool {
		seen, _ = io.ReadAll(r.Body)
		return false
	})
	c.post(c.kid, nil, signing{}).ok(t)
	if !bytes.Contains(seen, []byte(`"protected"`)) {
		t.Errorf("%s", seen)
	}
	ca.On("", func(w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(418)
		return true
	})
	if a := c.post(c.kid, nil, signing{}); a.status != 418 {
		t.Errorf("%d", a.status)
	}
}

func TestUnknownPathsAreFaults(t *testing.T) {
	ca := New(t).Tolerate()
	c := &hand{t: t, ca: ca}
	for _, path := range []string{"/", "/directory/x", "/nothing", "/new-nonce/x"} {
		if a := c.do("GET", ca.Base()+path, nil, signing{}); a.status != 404 {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	kinds := []string{}
	for _, r := range ca.Requests() {
		kinds = append(kinds, r.Kind)
	}
	if !slices.Equal(kinds, []string{Unknown, Unknown, Unknown, Unknown}) {
		t.Errorf("%q", kinds)
	}
	if a := c.do("GET", ca.Base()+"/terms", nil, signing{}); a.status != 200 || len(a.body) == 0 {
		t.Errorf("terms: %d", a.status)
	}
}
