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
		{"expired, and its dates are reversed", day(92), good(day(90), func(f *renew.Facts) { f.NotBefore = day(100) }), renew.Policy{}, true, "expired"},
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

func TestDueAsTheCASuggests(t *testing.T) {
	left30 := renew.Policy{Left: 30 * 24 * time.Hour} // due on day 60
	for _, tc := range []struct {
		what      string
		suggested time.Time
		policy    renew.Policy
		now       time.Time
		due       bool
		at        time.Time
		byCA      bool
	}{
		{"no suggestion: a third of the lifetime", time.Time{}, renew.Policy{}, day(59), false, day(60), false},
		{"before the third, ahead", day(20), renew.Policy{}, day(19), false, day(20), true},
		{"before the third, reached", day(20), renew.Policy{}, day(20), true, day(20), true},
		{"after the third, ahead", day(70), renew.Policy{}, day(65), false, day(70), true},
		{"after the third, reached", day(70), renew.Policy{}, day(71), true, day(70), true},
		{"a window in the past is due now", window(1, 2).Instant("a"), renew.Policy{}, day(30), true, window(1, 2).Instant("a"), true},
		{"no window", renew.Window{}.Instant("a"), renew.Policy{}, day(60), true, day(60), false},
		{"a reversed window", window(80, 70).Instant("a"), renew.Policy{}, day(60), true, day(60), false},
		{"at the end of the lifetime", day(90), renew.Policy{}, day(60), true, day(60), false},
		{"after the lifetime", day(4000), renew.Policy{}, day(60), true, day(60), false},
		{"after the lifetime, and not yet due", day(4000), renew.Policy{}, day(59), false, day(60), false},
		{"at the start of the lifetime", day(0), renew.Policy{}, day(59), false, day(60), false},
		{"before the lifetime", day(-1), renew.Policy{}, day(59), false, day(60), false},
		{"1970", time.Unix(0, 0), renew.Policy{}, day(59), false, day(60), false},
		{"earlier than the user's", day(20), left30, day(21), true, day(20), true},
		{"later than the user's", day(70), left30, day(59), false, day(60), false},
		{"later than the user's, reached", day(70), left30, day(60), true, day(60), false},
		{"nonsense beside the user's", day(4000), left30, day(60), true, day(60), false},
		{"just before the end, expired", day(89.9), renew.Policy{}, day(90), true, day(89.9), true},
	} {
		f := renew.Facts{KeyFits: true, NotBefore: start, NotAfter: day(90), Suggested: tc.suggested}
		got := renew.Due(tc.now, f, tc.policy)
		if got.Due != tc.due || !got.At.Equal(tc.at) || got.ByCA != tc.byCA {
			t.Errorf("%s: due %v at %s, by the CA %v (%s); want %v at %s, %v", tc.what, got.Due, got.At, got.ByCA, got.Reason, tc.due, tc.at, tc.byCA)
		}
	}
}

func TestReason(t *testing.T) {
	facts := renew.Facts{KeyFits: true, NotBefore: start, NotAfter: day(90), ID: "a"}
	with := func(change func(*renew.Facts)) renew.Facts {
		f := facts
		change(&f)
		return f
	}
	suggested := func(url string) renew.Facts {
		return with(func(f *renew.Facts) { f.Suggested, f.Explanation = day(20), url })
	}
	for _, tc := range []struct {
		now   time.Time
		facts renew.Facts
		says  string
	}{
		{day(19), facts, "not due before 2026-03-02T00:00:00Z"},
		{day(61), facts, "it expires at 2026-04-01T00:00:00Z"},
		{day(91), facts, "it expired at 2026-04-01T00:00:00Z"},
		{day(19), suggested(""), "not due before 2026-01-21T00:00:00Z (as the CA suggests)"},
		{day(20), suggested(""), "the CA suggests renewing it since 2026-01-21T00:00:00Z"},
		{day(20), suggested("https://ca.example/why"), `the CA suggests renewing it since 2026-01-21T00:00:00Z: "https://ca.example/why"`},
		{day(20), suggested("https://ca.example/\n\x1b[2J\u202e\"$(id)"),
			`the CA suggests renewing it since 2026-01-21T00:00:00Z: "https://ca.example/\n\x1b[2J\u202e\"$(id)"`},
		{day(91), suggested("https://ca.example/why"), "it expired at 2026-04-01T00:00:00Z"},
		{day(61), with(func(f *renew.Facts) { f.Failures, f.LastFailure = 1, day(61) }),
			"it expires at 2026-04-01T00:00:00Z; not tried before " + text(renew.Retry("a", 1, day(61))) + ": the last attempt failed at 2026-03-03T00:00:00Z"},
		{day(61), with(func(f *renew.Facts) { f.Failures, f.LastFailure = 3, day(61) }),
			"it expires at 2026-04-01T00:00:00Z; not tried before " + text(renew.Retry("a", 3, day(61))) + ": the last 3 attempts failed, the latest at 2026-03-03T00:00:00Z"},
		{day(61), with(func(f *renew.Facts) {
			f.Force, f.HoldUntil, f.HoldWhy = true, day(62), `"ca.example" had too many orders`
		}),
			`forced; not tried before 2026-03-04T00:00:00Z: "ca.example" had too many orders`},
		{day(61), with(func(f *renew.Facts) { f.HoldUntil = day(62) }),
			"it expires at 2026-04-01T00:00:00Z; not tried before 2026-03-04T00:00:00Z: the CA asks to wait"},
	} {
		if got := renew.Due(tc.now, tc.facts, renew.Policy{}).Reason; got != tc.says {
			t.Errorf("got  %s\nwant %s", got, tc.says)
		}
	}
}

func text(t time.Time) string { return t.Format(time.RFC3339) }

func TestLongExplanationIsCut(t *testing.T) {
	const told = "the CA suggests renewing it since 2026-01-21T00:00:00Z: "
	for _, url := range []string{
		"https://ca.example/" + strings.Repeat("x", 1<<20),
		"https://ca.example/" + strings.Repeat("\x00", 1000),
		"https://ca.example/" + strings.Repeat("ä", 100),
		strings.Repeat("\xff", 300),
	} {
		f := renew.Facts{KeyFits: true, NotBefore: start, NotAfter: day(90), Suggested: day(20), Explanation: url}
		shown, ok := strings.CutPrefix(renew.Due(day(20), f, renew.Policy{}).Reason, told)
		if !ok || len(shown) > 200 || len(shown) < 190 || !strings.HasSuffix(shown, `..."`) {
			t.Errorf("%.30q: %d bytes: %.300s", url, len(shown), shown)
		}
	}
}
