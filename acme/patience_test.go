package acme_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"arid/acme"
	"arid/internal/fakeca"
)

// bubble runs f where time costs nothing.
func bubble(t *testing.T, name string, f func(*testing.T, *fakeca.CA, *acme.Client)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ca := fakeca.New(t, fakeca.InMemory)
			f(t, ca, newCustomer(t, ca))
		})
	})
}

func TestRule6RetryAfterOnRefusals(t *testing.T) {
	for _, status := range []int{429, 503} {
		bubble(t, fmt.Sprint(status, " twice, as seconds and as a date, is waited for"), func(t *testing.T, ca *fakeca.CA, c *acme.Client) {
			began := time.Now()
			ca.Problem(fakeca.NewOrder, status, "rateLimited", "busy", 1, "Retry-After: 20").
				Problem(fakeca.NewOrder, status, "rateLimited", "busy", 1, "Retry-After: "+began.Add(60*time.Second).UTC().Format(http.TimeFormat))
			if _, err := c.NewOrder(t.Context(), request("example.org")); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(began); d < 60*time.Second || d > 62*time.Second {
				t.Errorf("took %v", d)
			}
		})
		for _, asked := range []string{"36000", "31536000", "99999999999999999999"} {
			bubble(t, fmt.Sprint(status, " with ", asked, " goes up to the caller at once"), func(t *testing.T, ca *fakeca.CA, c *acme.Client) {
				began := time.Now()
				ca.Problem(fakeca.NewOrder, status, "rateLimited", "too many certificates", 1, "Retry-After: "+asked)
				_, err := c.NewOrder(t.Context(), request("example.org"))
				e := wantTemporary(t, err)
				if time.Since(began) != 0 || ca.Count(fakeca.NewOrder) != 1 {
					t.Errorf("took %v and %d requests", time.Since(began), ca.Count(fakeca.NewOrder))
				}
				wait := e.Until.Sub(began)
				if want, err := time.ParseDuration(asked + "s"); err == nil && wait != want || err != nil && wait != 365*24*time.Hour {
					t.Errorf("until %v from now", wait)
				}
				if p := wantProblem(t, err, "rateLimited"); p.Status != status || !p.RetryAfter.Equal(e.Until) {
					t.Errorf("%+v", p)
				}
				if !strings.Contains(err.Error(), "too many certificates") {
					t.Error(err)
				}
			})
		}
		bubble(t, fmt.Sprint(status, " beyond the caller's deadline"), func(t *testing.T, ca *fakeca.CA, c *acme.Client) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			began := time.Now()
			ca.Problem(fakeca.NewOrder, status, "rateLimited", "busy", 1, "Retry-After: 40")
			_, err := c.NewOrder(ctx, request("example.org"))
			if e := wantTemporary(t, err); e.Until.IsZero() || time.Since(began) != 0 {
				t.Errorf("%+v after %v", e, time.Since(began))
			}
		})
		bubble(t, fmt.Sprint(status, " for ever"), func(t *testing.T, ca *fakeca.CA, c *acme.Client) {
			ca.Problem(fakeca.NewOrder, status, "rateLimited", "busy", -1, "Retry-After: 0")
			_, err := c.NewOrder(t.Context(), request("example.org"))
			wantTemporary(t, err)
			if n := ca.Count(fakeca.NewOrder); n != 11 {
				t.Errorf("%d tries", n)
			}
		})
	}
	for _, junk := range []string{"-5", "soon", "1e3", "", "0x10", "12 s"} {
		bubble(t, "503 with junk: "+junk, func(t *testing.T, ca *fakeca.CA, c *acme.Client) {
			began := time.Now()
			ca.Problem(fakeca.NewOrder, 503, "serverInternal", "down", 2, "Retry-After: "+junk)
			if _, err := c.NewOrder(t.Context(), request("example.org")); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(began); d < 2*time.Second || d > 4*time.Second {
				t.Errorf("took %v, not about 1+2 s", d)
			}
		})
	}
	bubble(t, "429 without a time is not tried again", func(t *testing.T, ca *fakeca.CA, c *acme.Client) {
		ca.Problem(fakeca.NewOrder, 429, "rateLimited", "no", -1)
		_, err := c.NewOrder(t.Context(), request("example.org"))
		if e := wantTemporary(t, err); !e.Until.IsZero() || ca.Count(fakeca.NewOrder) != 1 {
			t.Errorf("%v, %d tries", e, ca.Count(fakeca.NewOrder))
		}
	})
	bubble(t, "directory and nonces as well", func(t *testing.T, ca *fakeca.CA, _ *acme.Client) {
		c := newClient(t, ca)
		ca.Problem(fakeca.Directory, 503, "", "", 1, "Retry-After: 7").Problem(fakeca.Nonce, 503, "", "", 1, "Retry-After: 7")
		began := time.Now()
		if _, err := c.NewAccount(t.Context(), newKey(t), acme.AccountRequest{TermsOfServiceAgreed: true}); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d != 14*time.Second {
			t.Errorf("took %v", d)
		}
	})
}

func TestRule6RetryAfterOfOrders(t *testing.T) {
	bubble(t, "soon at first, then as asked", func(t *testing.T, ca *fakeca.CA, c *acme.Client) {
		ca.ValidationPolls(9).RetryAfter(20 * time.Second)
		o, err := ordered(t, c, "example.org")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if o, err = c.WaitOrder(t.Context(), o, is("ready")); err != nil || o.Status != "ready" {
			t.Fatal(o, err)
		}
		if d := time.Since(began); d < 61*time.Second-100*time.Millisecond || d > 63*time.Second {
			t.Errorf("took %v", d)
		}
	})
	bubble(t, "more than there is time for", func(t *testing.T, ca *fakeca.CA, c *acme.Client) {
		ca.StuckProcessing().RetryAfter(time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		o, err := ordered(t, c, "example.org")
		if err != nil {
			t.Fatal(err)
		}
		if o, err = c.WaitOrder(ctx, o, is("ready")); err != nil {
			t.Fatal(err)
		}
		if o, err = c.Finalize(ctx, o, csr(t, "example.org")); err != nil {
			t.Fatal(err)
		}
		began, looks := time.Now(), ca.Count(fakeca.Order)
		o, err = c.WaitOrder(ctx, o, is("valid"))
		e := wantTemporary(t, err)
		if time.Since(began) > 2*time.Second || ca.Count(fakeca.Order)-looks > 7 || e.Until.Before(began.Add(time.Hour)) {
			t.Errorf("%v after %v and %d looks", err, time.Since(began), ca.Count(fakeca.Order)-looks)
		}
		if !strings.Contains(err.Error(), "still processing") || o.Status != "processing" {
			t.Errorf("%v %+v", err, o)
		}
		// Asked to go on, it keeps what the CA said in mind.
		looks = ca.Count(fakeca.Order)
		if _, err = c.WaitOrder(ctx, o, is("valid")); err == nil || ca.Count(fakeca.Order) != looks {
			t.Errorf("%v, %d looks", err, ca.Count(fakeca.Order)-looks)
		}
	})
	for _, junk := range []string{"", "-5", "soon", "0", "Thu, 01 Jan 1970 00:00:00 GMT"} {
		bubble(t, "processing for ever with Retry-After "+junk, func(t *testing.T, ca *fakeca.CA, c *acme.Client) {
			ca.StuckProcessing()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			o, err := ordered(t, c, "example.org")
			if err == nil {
				o, err = c.WaitOrder(ctx, o, is("ready"))
			}
			if err == nil {
				o, err = c.Finalize(ctx, o, csr(t, "example.org"))
			}
			if err != nil {
				t.Fatal(err)
			}
			if junk != "" {
				ca.RetryAfterRaw(fakeca.Order, junk, junk)
			}
			began, looks := time.Now(), ca.Count(fakeca.Order)
			_, err = c.WaitOrder(ctx, o, is("valid"))
			wantTemporary(t, err)
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "still processing") {
				t.Error(err)
			}
			if n := ca.Count(fakeca.Order) - looks; n > 30 || n < 15 || time.Since(began) > 11*time.Minute {
				t.Errorf("%d looks in %v", n, time.Since(began))
			}
		})
	}
}

func TestParseRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	const none = -1
	for value, want := range map[string]time.Duration{
		"0": 0, "1": time.Second, " 120 ": 2 * time.Minute, "36000": 10 * time.Hour, "007": 7 * time.Second,
		"99999999999999999999": 365 * 24 * time.Hour, "9223372036854775807": 365 * 24 * time.Hour,
		"Sat, 21 Nov 2026 12:05:00 GMT": 5 * time.Minute, "Saturday, 21-Nov-26 12:05:00 GMT": 5 * time.Minute,
		"Sat Nov 21 12:05:00 2026": 5 * time.Minute, "Thu, 01 Jan 1970 00:00:00 GMT": 0,
		"Fri, 31 Dec 9999 23:59:59 GMT": 365 * 24 * time.Hour,
		"":                              none, "-5": none, "soon": none, "1e3": none, "1.5": none, "+3": none, "１": none, "1 2": none,
	} {
		at, ok := acme.ParseRetryAfter([]string{value}, now)
		if ok != (want != none) || ok && at.Sub(now) != want {
			t.Errorf("%q: %v %v, want %v", value, at, ok, want)
		}
	}
	if at, ok := acme.ParseRetryAfter([]string{"junk", "5", "7"}, now); !ok || at.Sub(now) != 5*time.Second {
		t.Errorf("several: %v %v", at, ok)
	}
	if _, ok := acme.ParseRetryAfter(nil, now); ok {
		t.Error("none gives a time")
	}
}

func FuzzParseRetryAfter(f *testing.F) {
	for _, s := range []string{"0", "120", "99999999999999999999", "-1", "Sat, 21 Nov 2026 12:05:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "\x00"} {
		f.Add(s)
	}
	now := time.Now()
	f.Fuzz(func(t *testing.T, value string) {
		at, ok := acme.ParseRetryAfter([]string{value}, now)
		if ok && (at.Before(now) || at.Sub(now) > 365*24*time.Hour) || !ok && !at.IsZero() {
			t.Errorf("%q: %v %v", value, at, ok)
		}
	})
}

func TestHangingEndsByRequestTimeout(t *testing.T) {
	for _, kind := range []string{fakeca.Directory, fakeca.Nonce, fakeca.NewOrder, fakeca.Authz, fakeca.Challenge, fakeca.Order, fakeca.Finalize, fakeca.Certificate} {
		bubble(t, kind, func(t *testing.T, ca *fakeca.CA, _ *acme.Client) {
			c := newCustomer(t, ca)
			ca.Hang(kind)
			began := time.Now()
			_, err := issued(t, c, "example.org")
			wantTemporary(t, err)
			if !strings.Contains(err.Error(), "1m0s") {
				t.Error(err)
			}
			// The challenge is sent once and then read, which hangs too.
			tries := map[string]int{fakeca.NewOrder: 1, fakeca.Challenge: 5}[kind]
			if tries == 0 {
				tries = 4
			}
			if d := time.Since(began); d < time.Duration(tries)*time.Minute || d > time.Duration(tries)*time.Minute+30*time.Second {
				t.Errorf("took %v", d)
			}
		})
		bubble(t, kind+" drips", func(t *testing.T, ca *fakeca.CA, _ *acme.Client) {
			if kind == fakeca.Nonce {
				t.Skip("a HEAD has no body to drip")
			}
			c := newCustomer(t, ca)
			ca.Drip(kind, 1, 5*time.Second)
			began := time.Now()
			_, err := issued(t, c, "example.org")
			if kind == fakeca.Finalize || kind == fakeca.Challenge { // looked up instead
				if err != nil && kind == fakeca.Finalize {
					t.Error(err)
				}
				return
			}
			wantTemporary(t, err)
			if d := time.Since(began); d > 5*time.Minute {
				t.Errorf("took %v", d)
			}
		})
	}
}

func TestEndedByTheCaller(t *testing.T) {
	cause := errors.New("SIGTERM came")
	for _, kind := range []string{fakeca.Directory, fakeca.Nonce, fakeca.NewOrder, fakeca.Order} {
		bubble(t, kind, func(t *testing.T, ca *fakeca.CA, _ *acme.Client) {
			c := newCustomer(t, ca)
			ca.Hang(kind)
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(3*time.Second, func() { cancel(cause) })
			began := time.Now()
			_, err := c.NewOrder(ctx, request("example.org"))
			if kind == fakeca.Order {
				_, err = c.FetchOrder(ctx, ca.Base()+"/order/1")
			}
			var temporary *acme.TemporaryError
			if !errors.Is(err, cause) || errors.As(err, &temporary) || time.Since(began) != 3*time.Second {
				t.Errorf("%v after %v", err, time.Since(began))
			}
			oneLine(t, err)
		})
	}
	bubble(t, "while waiting", func(t *testing.T, ca *fakeca.CA, c *acme.Client) {
		ca.Problem(fakeca.NewOrder, 503, "", "", -1, "Retry-After: 200")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(3*time.Second, func() { cancel(cause) })
		began := time.Now()
		if _, err := c.NewOrder(ctx, request("example.org")); !errors.Is(err, cause) || time.Since(began) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
	bubble(t, "by a deadline with a cause", func(t *testing.T, ca *fakeca.CA, c *acme.Client) {
		ca.Hang(fakeca.NewOrder)
		late := errors.New("the CA took longer than 10m")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Second, late)
		defer cancel()
		_, err := c.NewOrder(ctx, request("example.org"))
		wantTemporary(t, err)
		if !errors.Is(err, late) {
			t.Error(err)
		}
	})
}

func TestHalfTheNoncesRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := fakeca.New(t, fakeca.InMemory)
		refuse := 0
		for range 20 {
			c := newCustomer(t, ca)
			ca.On("", func(http.ResponseWriter, *http.Request) bool {
				if refuse++; refuse%2 == 0 {
					ca.RejectNonces(1)
				}
				return false
			})
			if _, err := issued(t, c, "example.org"); err != nil {
				t.Fatal(err)
			}
			ca.Calm()
		}
	})
}

func TestNoncesAreAskedForFourTimesAtMost(t *testing.T) {
	for _, times := range []int{-1, 1} {
		bubble(t, fmt.Sprint("503 ", times), func(t *testing.T, ca *fakeca.CA, c *acme.Client) {
			o, err := c.NewOrder(t.Context(), request("example.org"))
			if err != nil {
				t.Fatal(err)
			}
			ca.NoNonceInReplies(fakeca.Order)
			if _, err = c.FetchOrder(t.Context(), o.URL); err != nil { // uses the last one up
				t.Fatal(err)
			}
			asked := ca.Count(fakeca.Nonce)
			ca.DropBefore(fakeca.Nonce, times)
			_, err = c.FetchOrder(t.Context(), o.URL)
			if n := ca.Count(fakeca.Nonce) - asked; times < 0 && n != 4 || times > 0 && n != 2 {
				t.Errorf("asked %d times", n)
			}
			if times < 0 {
				wantTemporary(t, err)
				asked = ca.Count(fakeca.Nonce)
				_, err = c.Finalize(t.Context(), &acme.Order{URL: o.URL, Finalize: o.Finalize}, nil)
				wantTemporary(t, err)
				if n := ca.Count(fakeca.Nonce) - asked; n != 4 {
					t.Errorf("asked %d times", n)
				}
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRule6RetryAfterOf5xx(t *testing.T) {
	bubble(t, "goes up to the caller where a request may have been carried out", func(t *testing.T, ca *fakeca.CA, c *acme.Client) {
		began := time.Now()
		ca.Problem(fakeca.NewOrder, 500, "serverInternal", "down", 1, "Retry-After: 3600")
		_, err := c.NewOrder(t.Context(), request("example.org"))
		if e := wantTemporary(t, err); e.Until.Sub(began) != time.Hour {
			t.Errorf("until %v", e.Until)
		}
	})
	bubble(t, "is waited for by those that can be sent again", func(t *testing.T, ca *fakeca.CA, c *acme.Client) {
		o, err := ordered(t, c, "example.org")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		ca.Problem(fakeca.Order, 502, "", "down", 1, "Retry-After: 100")
		if _, err := c.FetchOrder(t.Context(), o.URL); err != nil || time.Since(began) != 100*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
	ready := func(t *testing.T, c *acme.Client) *acme.Order {
		o, err := ordered(t, c, "example.org")
		if err == nil {
			o, err = c.WaitOrder(t.Context(), o, is("ready"))
		}
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	bubble(t, "of finalize, where nobody knows whether it was carried out", func(t *testing.T, ca *fakeca.CA, c *acme.Client) {
		o := ready(t, c)
		began := time.Now()
		ca.Problem(fakeca.Finalize, 500, "serverInternal", "down", 1, "Retry-After: 100")
		if _, err := c.Finalize(t.Context(), o, csr(t, "example.org")); err != nil || time.Since(began) < 100*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
	bubble(t, "of finalize, after a lost answer", func(t *testing.T, ca *fakeca.CA, c *acme.Client) {
		o := ready(t, c)
		ca.DropBefore(fakeca.Finalize, 1).Problem(fakeca.Finalize, 429, "rateLimited", "too much", -1, "Retry-After: 3600")
		_, err := c.Finalize(t.Context(), o, csr(t, "example.org"))
		if e := wantTemporary(t, err); e.Until.IsZero() || ca.Count(fakeca.Finalize) != 2 {
			t.Errorf("until %v, after %d requests", e.Until, ca.Count(fakeca.Finalize))
		}
	})
}

func TestChallengeThatIsBeingTriedAlready(t *testing.T) {
	for _, polls := range []int{0, 3} { // valid by then, or not yet
		bubble(t, fmt.Sprint(polls), func(t *testing.T, ca *fakeca.CA, c *acme.Client) {
			ca.ValidationPolls(polls)
			o, err := ordered(t, c, "example.org") // accepts
			if err != nil {
				t.Fatal(err)
			}
			a, err := c.FetchAuthorization(t.Context(), o.Authorizations[0])
			if err != nil {
				t.Fatal(err)
			}
			for _, ch := range a.Challenges {
				if ch.Type != "http-01" {
					continue
				}
				ca.Problem(fakeca.Challenge, 400, "malformed", "cannot update challenge", 1)
				if _, err := c.Accept(t.Context(), ch); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
