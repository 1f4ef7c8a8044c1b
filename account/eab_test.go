package account

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"arid/acme"
	"arid/internal/fakeca"
)

// mailing is a CA for customers alone that has a place which answers so. asked
// counts the questions there.
func mailing(t *testing.T, answer string) (ca *fakeca.CA, s *Store, asked *int) {
	t.Helper()
	asked = new(int)
	place := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked++
		if r.FormValue("email") != "a@example.org" {
			w.WriteHeader(http.StatusBadRequest)
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(place.Close)
	ca = fakeca.New(t).ExternalAccountRequired().EAB("kid-1", []byte("0123456789abcdef0123456789abcdef"))
	s = tree(t, ca)
	s.NeedsEAB, s.MailEAB = true, place.URL
	return ca, s, asked
}

const givenEAB = `{"success":true,"eab_kid":"kid-1","eab_hmac_key":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}`

func TestEABForAMailAddress(t *testing.T) {
	ca, s, asked := mailing(t, givenEAB)
	var terms *TermsError
	if _, _, err := s.Ensure(t.Context(), client(t, ca), Registration{Contact: willing.Contact}); !errors.As(err, &terms) || *asked != 0 {
		t.Errorf("terms not accepted: %v, asked %d times", err, *asked)
	}
	if _, created := ensure(t, ca, s, willing); !created || *asked != 1 {
		t.Errorf("created %v, asked %d times", created, *asked)
	}
	if ensure(t, ca, s, willing); *asked != 1 {
		t.Errorf("asked for an account that is there")
	}
	for _, name := range strings.Fields(files(t, s.Dir)) {
		if strings.Contains(read(t, s.inFolder(name)), "MDEyMzQ1") {
			t.Errorf("the key stands in %s", name)
		}
	}
}

func TestEABThatIsGivenIsNotFetched(t *testing.T) {
	ca, s, asked := mailing(t, givenEAB)
	r := willing
	r.EAB = &acme.EAB{KID: "kid-1", Key: []byte("0123456789abcdef0123456789abcdef")}
	if _, created := ensure(t, ca, s, r); !created || *asked != 0 {
		t.Errorf("created %v, asked %d times", created, *asked)
	}
}

// An account key that is on disk is looked for before anything else.
func TestEABForAKeyThatIsNotRegistered(t *testing.T) {
	ca, s, asked := mailing(t, givenEAB)
	put(t, s.Path(), map[string]string{"account_key.pem": newKeyPEM(t)})
	if _, created := ensure(t, ca, s, willing); !created || *asked != 1 {
		t.Errorf("created %v, asked %d times", created, *asked)
	}
}

func TestEABThatIsMissingIsToldBeforeAnythingIsSent(t *testing.T) {
	for name, c := range map[string]struct {
		mail bool
		hint string
	}{"by hand alone": {false, "--eab-kid ID"}, "for a mail address": {true, "--contact ADDR"}} {
		t.Run(name, func(t *testing.T) {
			ca, s, asked := mailing(t, givenEAB)
			if !c.mail {
				s.MailEAB = ""
			}
			r := Registration{AcceptTerms: true, Contact: []string{"tel:+4912345"}}
			got := requests(ca, func() {
				_, _, err := s.Ensure(t.Context(), client(t, ca), r)
				var missing *EABError
				if !errors.As(err, &missing) || !strings.Contains(missing.Hint(), c.hint) {
					t.Errorf("error %v", err)
				}
				if check := s.Check(r); check == nil || check.Error() != err.Error() {
					t.Errorf("Check says %v", check)
				}
			})
			if got != "" || *asked > 0 || exists(s.Dir) {
				t.Errorf("sent %s, files %s", got, files(t, s.Dir))
			}
		})
	}
}

func TestEABThatIsNotGivenOut(t *testing.T) {
	for answer, text := range map[string]string{
		`{"success":false,"error":{"code":2900,"type":"invalid_email"}}`: "invalid_email",
		`{"eab_kid":"kid-1","eab_hmac_key":"%%MDEyMzQ1%%"}`:              "not base64",
	} {
		ca, s, _ := mailing(t, answer)
		_, _, err := s.Ensure(t.Context(), client(t, ca), willing)
		if err == nil || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "MDEy") {
			t.Errorf("%s: %v", answer, err)
		}
		if exists(s.inFolder("account_key.pem")) || ca.Count(fakeca.NewAccount) > 0 {
			t.Errorf("files %s", files(t, s.Dir))
		}
	}
}
