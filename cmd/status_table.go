package cmd

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"arid/report"
)

// statusTable lays certificates out for people. On a terminal it is never wider than
// that, and why something is not well stands below it; elsewhere each certificate is
// one line.
type statusTable struct {
	now     time.Time
	columns int                              // of the terminal; 0: it is none
	blocks  bool                             // the bar is drawn in more than ASCII
	shade   func(string, report.Tone) string // colours a line
}

// Columns, those first that are left out last where the terminal is narrow. The bar
// has a width of its own.
const (
	colName = iota
	colState
	colExpires
	colNext
	colBar
	colNames
	colIssuer
	colWhy
)

const (
	barWidth    = 10
	leastName   = 24  // columns that a name is given before others are left out
	shortName   = 10  // before it is not even told when a certificate expires
	mostIssuer  = 24  // columns that an issuer is given on a terminal
	mostWhy     = 600 // letters of a reason on a terminal
	columnSpace = 2   // between columns
)

func (t *statusTable) text(sights []*sight) string {
	rows := [][]string{{"CERTIFICATE", "STATE", "EXPIRES", "NEXT", "LIFETIME", "NAMES", "ISSUER", "WHY"}}
	for _, s := range sights {
		rows = append(rows, t.row(s))
	}
	if t.columns > 0 {
		rows = fit(rows, t.columns)
	}
	var b strings.Builder
	i := 0
	for line := range strings.Lines(report.Table(rows)) {
		line = strings.TrimRight(line, " \n")
		if i == 0 {
			b.WriteString(line + "\n")
		} else {
			s := sights[i-1]
			b.WriteString(t.shade(line, toneOf(s.State)) + "\n")
			if t.columns > 0 && s.State != stateOK {
				b.WriteString(wrap(cut(report.Escape(s.story()), mostWhy), t.columns))
			}
		}
		i++
	}
	return b.String()
}

func (t *statusTable) row(s *sight) []string {
	expires, bar, issuer := "-", "-", "-"
	if s.Spent != nil {
		expires, bar, issuer = until(t.now, s.NotAfter), t.bar(*s.Spent), report.Escape(s.Issuer)
	}
	if t.columns > 0 {
		issuer = cut(issuer, mostIssuer)
	}
	return []string{
		report.Escape(s.Name), s.State, expires, s.coming(t.now), bar, strconv.Itoa(len(s.Names)), issuer, report.Escape(s.story()),
	}
}

// story is why, with what went wrong.
func (s *sight) story() string {
	if s.Error == "" || strings.Contains(s.Why, s.Error) {
		return s.Why
	}
	return s.Why + ": " + s.Error
}

// coming is what arid does next, and when.
func (s *sight) coming(now time.Time) string {
	switch {
	case s.now:
		return s.Action + " now"
	case s.act.IsZero():
		return "-"
	}
	return s.Action + " in " + span(s.act.Sub(now))
}

// bar draws how much of a lifetime is over.
func (t *statusTable) bar(spent float64) string {
	full := min(barWidth, int(spent*barWidth))
	if t.blocks {
		return strings.Repeat("█", full) + strings.Repeat("░", barWidth-full)
	}
	return "[" + strings.Repeat("#", full) + strings.Repeat("-", barWidth-full) + "]"
}

func toneOf(state string) report.Tone {
	switch state {
	case stateExpired, stateMissing, stateMismatch, stateRevoked, stateFailed:
		return report.Alarm
	case stateOwed, stateOrphan:
		return report.Warning
	}
	return report.Calm
}

// fit leaves out columns, and cuts names, until the table is no wider than that. Why
// is no column there.
func fit(rows [][]string, columns int) [][]string {
	widths := make([]int, colWhy)
	for _, row := range rows {
		for i := range widths {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	rest := func(kept int) (n int) { // what all columns but the name's take
		for _, w := range widths[1:kept] {
			n += w + columnSpace
		}
		return n
	}
	kept := colWhy
	for kept > colNext && rest(kept)+min(widths[colName], leastName) > columns {
		kept--
	}
	if rest(kept)+min(widths[colName], shortName) > columns {
		kept = colExpires
	}
	most := max(1, columns-rest(kept))
	fitted := make([][]string, len(rows))
	for i, row := range rows {
		fitted[i] = slices.Clone(row[:kept])
		fitted[i][colName] = cut(row[colName], most)
	}
	return fitted
}

// cut leaves off the end of a text that is longer than that, and says so by its last
// letter.
func cut(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most-1]) + "~"
}

// wrap breaks a text into indented lines that are no wider than that.
func wrap(text string, columns int) string {
	const indent = "    "
	width := max(1, columns-len(indent))
	var b strings.Builder
	line := ""
	for word := range strings.FieldsSeq(text) {
		for {
			joined := strings.TrimLeft(line+" "+word, " ")
			if utf8.RuneCountInString(joined) <= width {
				line = joined
				break
			}
			if line == "" { // a word longer than a line
				letters := []rune(word)
				line, word = string(letters[:width]), string(letters[width:])
			}
			b.WriteString(indent + line + "\n")
			line = ""
		}
	}
	return b.String() + indent + line + "\n"
}

// until tells how far a time is ahead, or how long ago it was.
func until(now, t time.Time) string {
	if t.After(now) {
		return span(t.Sub(now))
	}
	return span(now.Sub(t)) + " ago"
}

// span is a length of time in one unit, rounded down.
func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return fmt.Sprintf("%ds", max(0, d)/time.Second)
}
