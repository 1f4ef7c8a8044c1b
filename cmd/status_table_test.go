package cmd

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"arid/report"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return noon.Add(-d) }

const aDay = 24 * time.Hour

// seen is a certificate with a life of ninety days, of which so many are over.
func seen(name, state string, days float64, change func(*sight)) *sight {
	spent := days / 90
	s := &sight{subject: &subject{alias: name}, statusJSON: statusJSON{
		Name: name, State: state, Names: []string{name}, Issuer: "Test CA 1", Spent: &spent, Action: actionRenew,
		NotAfter: noon.Add(time.Duration((90 - days) * float64(aDay))), Why: "not due before 2027-01-20T12:00:00Z",
	}}
	s.act = s.NotAfter.Add(-30 * aDay)
	if change != nil {
		change(s)
	}
	return s
}

func everyState() []*sight {
	none := func(s *sight) { s.Spent, s.NotAfter, s.Issuer = nil, time.Time{}, "" }
	now := func(s *sight) { s.due, s.now, s.act = true, true, noon }
	in := func(s *sight, d time.Duration) { s.due, s.act = true, noon.Add(d) }
	all := []*sight{
		seen("www.example.org", stateOK, 0, nil),
		seen("fine.example.org", stateOK, 59, func(s *sight) { s.Names = append(s.Names, "a.example.org", "b.example.org") }),
		seen("held.example.org", stateHeld, 61, func(s *sight) {
			in(s, 90*time.Minute)
			s.Why = `it expires at 2026-12-20T12:00:00Z; not tried before 2026-11-21T13:30:00Z: "ca.example" had too many orders`
		}),
		seen("due.example.org", stateDue, 61, func(s *sight) { now(s); s.Why = "it expires at 2026-12-20T12:00:00Z" }),
		seen("lost.example.org", stateOrphan, 62, func(s *sight) {
			s.Action, s.act, s.due = actionNone, time.Time{}, true
			s.Why = "no line of domains.txt covers it; it expires at 2026-12-19T12:00:00Z"
		}),
		seen("quiet.example.org", stateOrphan, 9, func(s *sight) {
			s.Action, s.act = actionNone, time.Time{}
			s.Why = "no line of domains.txt covers it; not due before 2027-01-11T12:00:00Z"
		}),
		seen("owed.example.org", stateOwed, 1, func(s *sight) {
			in(s, 9*time.Minute+59*time.Second)
			s.Action, s.Error = actionDeploy, `hooks: "/etc/arid/hook" deploy_cert: exit status 3`
			s.Why = "version 1795000000 is owed to a hook, which failed (" + s.Error + "); not again before 2026-11-21T12:09:59Z"
		}),
		seen("failed.example.org", stateFailed, 70, func(s *sight) {
			now(s)
			s.Why, s.Error = "it expires at 2026-12-11T12:00:00Z", "failed.example.org: http-01: the CA could not connect to \x1b[31m 192.0.2.7 (connection)"
		}),
		seen("revoked.example.org", stateRevoked, 3, func(s *sight) { now(s); s.Why = "changed: it was revoked" }),
		seen("mismatch.example.org", stateMismatch, 3, func(s *sight) { now(s); s.Why = "its names changed: +new.example.org" }),
		seen("missing.example.org", stateMissing, 0, func(s *sight) { none(s); now(s); s.Why = "there is none yet" }),
		seen("expired.example.org", stateExpired, 93.5, func(s *sight) { now(s); s.Why = "it expired at 2026-11-18T00:00:00Z" }),
	}
	sortByUrgency(all)
	return all
}

func plain(text string, _ report.Tone) string { return text }

// What is not on a terminal is a line for each, whole and in ASCII.
func TestStatusTableOffATerminal(t *testing.T) {
	want := `CERTIFICATE           STATE     EXPIRES  NEXT          LIFETIME      NAMES  ISSUER     WHY
expired.example.org   expired   3d ago   renew now     [##########]  1      Test CA 1  it expired at 2026-11-18T00:00:00Z
missing.example.org   missing   -        renew now     -             1      -          there is none yet
mismatch.example.org  mismatch  87d      renew now     [----------]  1      Test CA 1  its names changed: +new.example.org
revoked.example.org   revoked   87d      renew now     [----------]  1      Test CA 1  changed: it was revoked
failed.example.org    failed    20d      renew now     [#######---]  1      Test CA 1  it expires at 2026-12-11T12:00:00Z: failed.example.org: http-01: the CA could not connect to \x1b[31m 192.0.2.7 (connection)
owed.example.org      owed      89d      deploy in 9m  [----------]  1      Test CA 1  version 1795000000 is owed to a hook, which failed (hooks: "/etc/arid/hook" deploy_cert: exit status 3); not again before 2026-11-21T12:09:59Z
lost.example.org      orphan    28d      -             [######----]  1      Test CA 1  no line of domains.txt covers it; it expires at 2026-12-19T12:00:00Z
due.example.org       due       29d      renew now     [######----]  1      Test CA 1  it expires at 2026-12-20T12:00:00Z
held.example.org      held      29d      renew in 90m  [######----]  1      Test CA 1  it expires at 2026-12-20T12:00:00Z; not tried before 2026-11-21T13:30:00Z: "ca.example" had too many orders
fine.example.org      ok        31d      renew in 24h  [######----]  3      Test CA 1  not due before 2027-01-20T12:00:00Z
quiet.example.org     orphan    81d      -             [#---------]  1      Test CA 1  no line of domains.txt covers it; not due before 2027-01-11T12:00:00Z
www.example.org       ok        90d      renew in 60d  [----------]  1      Test CA 1  not due before 2027-01-20T12:00:00Z
`
	table := statusTable{now: noon, shade: plain}
	if got := table.text(everyState()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestStatusTableAt80Columns(t *testing.T) {
	want := `CERTIFICATE           STATE     EXPIRES  NEXT          LIFETIME    NAMES
expired.example.org   expired   3d ago   renew now     ██████████  1
    it expired at 2026-11-18T00:00:00Z
missing.example.org   missing   -        renew now     -           1
    there is none yet
mismatch.example.org  mismatch  87d      renew now     ░░░░░░░░░░  1
    its names changed: +new.example.org
revoked.example.org   revoked   87d      renew now     ░░░░░░░░░░  1
    changed: it was revoked
failed.example.org    failed    20d      renew now     ███████░░░  1
    it expires at 2026-12-11T12:00:00Z: failed.example.org: http-01: the CA
    could not connect to \x1b[31m 192.0.2.7 (connection)
owed.example.org      owed      89d      deploy in 9m  ░░░░░░░░░░  1
    version 1795000000 is owed to a hook, which failed (hooks: "/etc/arid/hook"
    deploy_cert: exit status 3); not again before 2026-11-21T12:09:59Z
lost.example.org      orphan    28d      -             ██████░░░░  1
    no line of domains.txt covers it; it expires at 2026-12-19T12:00:00Z
due.example.org       due       29d      renew now     ██████░░░░  1
    it expires at 2026-12-20T12:00:00Z
held.example.org      held      29d      renew in 90m  ██████░░░░  1
    it expires at 2026-12-20T12:00:00Z; not tried before 2026-11-21T13:30:00Z:
    "ca.example" had too many orders
fine.example.org      ok        31d      renew in 24h  ██████░░░░  3
quiet.example.org     orphan    81d      -             █░░░░░░░░░  1
    no line of domains.txt covers it; not due before 2027-01-11T12:00:00Z
www.example.org       ok        90d      renew in 60d  ░░░░░░░░░░  1
`
	table := statusTable{now: noon, columns: 80, blocks: true, shade: plain}
	if got := table.text(everyState()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestStatusTableAt40Columns(t *testing.T) {
	want := `CERTIFICATE           STATE     EXPIRES
expired.example.org   expired   3d ago
`
	table := statusTable{now: noon, columns: 40, shade: plain}
	if got := table.text(everyState()); !strings.HasPrefix(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// However narrow the terminal and long the names: no line is wider, and no state is cut.
func TestStatusTableIsNoWiderThanTheTerminal(t *testing.T) {
	long := strings.Repeat("long.", 40) + "example.org"
	for columns := 12; columns <= 300; columns++ {
		sights := everyState()
		sights[columns%len(sights)].Name = long
		sights[columns/2%len(sights)].Error = long
		sights[columns/3%len(sights)].Issuer = long
		table := statusTable{now: noon, columns: columns, blocks: columns%2 == 0, shade: plain}
		text := table.text(sights)
		for line := range strings.Lines(text) {
			if n := utf8.RuneCountInString(line) - 1; n > columns {
				t.Fatalf("%d columns: a line of %d:\n%s", columns, n, line)
			}
		}
		for _, state := range byUrgency {
			if !strings.Contains(text, "  "+state+"  ") && !strings.Contains(text, "  "+state+"\n") {
				t.Errorf("%d columns: %q is cut:\n%s", columns, state, text)
			}
		}
	}
}

func TestMoment(t *testing.T) {
	now := noon.Add(300 * time.Millisecond)
	for _, tc := range []struct {
		what string
		t    time.Time
		want string // rfc3339 epoch seconds
	}{
		{"now", now, "2026-11-21T12:00:00Z 1795262400 0"},
		{"past", ago(time.Hour), "2026-11-21T12:00:00Z 1795262400 0"},
		{"a moment ahead", now.Add(time.Millisecond), "2026-11-21T12:00:01Z 1795262401 1"},
		{"a whole second", noon.Add(time.Minute), "2026-11-21T12:01:00Z 1795262460 60"},
		{"between seconds", noon.Add(time.Minute + 1), "2026-11-21T12:01:01Z 1795262461 60"},
		{"more than a minute away", now.Add(time.Minute + 1), "2026-11-21T12:01:01Z 1795262461 61"},
		{"in another zone", noon.Add(time.Hour).In(time.FixedZone("", 3600)), "2026-11-21T13:00:00Z 1795266000 3600"},
	} {
		got := fmt.Sprint(moment(tc.t, now, "rfc3339"), " ", moment(tc.t, now, "epoch"), " ", moment(tc.t, now, "seconds"))
		if got != tc.want {
			t.Errorf("%s: %s, want %s", tc.what, got, tc.want)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "0s", 0: "0s", 119 * time.Second: "119s", 120 * time.Second: "2m", 119 * time.Minute: "119m", 2 * time.Hour: "2h",
		47*time.Hour + 59*time.Minute: "47h", 48 * time.Hour: "2d", 90*aDay - 1: "89d",
	} {
		if got := span(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}

func TestBar(t *testing.T) {
	for spent, want := range map[float64]string{
		0: "[----------] ░░░░░░░░░░", 0.0999: "[----------] ░░░░░░░░░░", 0.5: "[#####-----] █████░░░░░", 0.9999: "[#########-] █████████░",
		1: "[##########] ██████████", 25: "[##########] ██████████",
	} {
		ascii, blocks := statusTable{}, statusTable{blocks: true}
		if got := ascii.bar(spent) + " " + blocks.bar(spent); got != want {
			t.Errorf("%v: %s, want %s", spent, got, want)
		}
	}
}
