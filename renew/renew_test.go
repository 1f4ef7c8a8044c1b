package renew_test

import (
	"strings"
	"testing"
	"time"

	"arid/renew"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func day(n float64) time.Time { return start.Add(time.Duration(n * 24 * float64(time.Hour))) }

func TestParsePolicy(t *testing.T) {
	for text, want := range map[string]renew.Policy{
		"":    {},
		"30":  {Left: 30 * 24 * time.Hour},
		"7d":  {Left: 7 * 24 * time.Hour},
		"33%": {Share: 33},
	} {
		got, err := renew.ParsePolicy(text)
		if err != nil || got != want {
			t.Errorf("%q: got %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"0", "-1", "x", "30h", "%", "100%", "1e3", "99999999999999999999", " 30"} {
		if got, err := renew.ParsePolicy(text); err == nil {
			t.Errorf("%q: accepted as %v", text, got)
		}
	}
}

func TestDue(t *testing.T) {
	names := []string{"a.example", "b.example"}
	good := func(notAfter time.Time, change func(*renew.Facts)) renew.Facts {
		f := renew.Facts{KeyFits: true, Wanted: names, Ordered: []string{"b.example", "a.example"}, NotBefore: start, NotAfter: notAfter}
		if change != nil {
			change(&f)
		}
		return f
	}
	for _, tc := range []struct {
		what   string
		now    time.Time
		facts  renew.Facts
		policy renew.Policy
		due    bool
		reason string
	}{
		{"fresh, 90 days", day(1), good(day(90), nil), renew.Policy{}, false, "not due before 2026-03-02"},
		{"a third left", day(60), good(day(90), nil), renew.Policy{}, true, "expires"},
		{"just more than a third left", day(59.99), good(day(90), nil), renew.Policy{}, false, ""},
		{"six days: half left", day(3), good(day(6), nil), renew.Policy{}, true, ""},
		{"six days: more than half left", day(2.9), good(day(6), nil), renew.Policy{}, false, ""},
		{"thirty days before the end", day(60), good(day(90), nil), renew.Policy{Left: 30 * 24 * time.Hour}, true, ""},
		{"thirty-one days before the end", day(59), good(day(90), nil), renew.Policy{Left: 30 * 24 * time.Hour}, false, ""},
		{"ten percent left", day(81), good(day(90), nil), renew.Policy{Share: 10}, true, ""},
		{"eleven percent left", day(80), good(day(90), nil), renew.Policy{Share: 10}, false, ""},
		{"expired", day(91), good(day(90), nil), renew.Policy{Share: 10}, true, "expired"},
		{"forced", day(1), good(day(90), func(f *renew.Facts) { f.Force = true }), renew.Policy{}, true, "forced"},
		{"missing", day(1), renew.Facts{Unusable: "there is none yet"}, renew.Policy{}, true, "there is none yet"},
		{"key gone", day(1), good(day(90), func(f *renew.Facts) { f.KeyFits = false }), renew.Policy{}, true, "private key"},
		{"a name more", day(1), good(day(90), func(f *renew.Facts) { f.Wanted = append(names, "c.example") }), renew.Policy{}, true, "+c.example"},
		{"a name less", day(1), good(day(90), func(f *renew.Facts) { f.Wanted = names[:1] }), renew.Policy{}, true, "-b.example"},
		{"a name twice is no change", day(1), good(day(90), func(f *renew.Facts) { f.Wanted = append(names, "a.example") }), renew.Policy{}, false, ""},
		{"a setting changed", day(1), good(day(90), func(f *renew.Facts) { f.Changed = []string{"KEY_ALGO"} }), renew.Policy{}, true, "KEY_ALGO"},
	} {
		got := renew.Due(tc.now, tc.facts, tc.policy)
		if got.Due != tc.due || !strings.Contains(got.Reason, tc.reason) {
			t.Errorf("%s: got due %v, %q; want %v, %q", tc.what, got.Due, got.Reason, tc.due, tc.reason)
		}
	}
}
