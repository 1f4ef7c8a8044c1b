//go:build linux

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// figures are those of one client in one scenario at one distance.
type figures struct {
	client   *client
	samples  []sample
	failures []error
	lacks    string
	counted  *sample // the traced run
	varied   bool    // the runs differ from each other
}

// wall, cpu and memory are medians; what is counted is a mean, and wall too where the
// runs differ on purpose.
func (f *figures) wall() time.Duration {
	if f.varied {
		return time.Duration(mean(f.samples, func(s sample) float64 { return float64(s.wall) }))
	}
	return median(f.samples, func(s sample) time.Duration { return s.wall })
}
func (f *figures) cpu() time.Duration {
	return median(f.samples, func(s sample) time.Duration { return s.cpu })
}
func (f *figures) memory() float64 {
	return float64(median(f.samples, func(s sample) int64 { return s.memory })) / 1024
}
func (f *figures) requests() float64 {
	return mean(f.samples, func(s sample) float64 { return s.requests })
}
func (f *figures) connections() float64 {
	return mean(f.samples, func(s sample) float64 { return s.connections })
}
func (f *figures) handshakes() float64 {
	return mean(f.samples, func(s sample) float64 { return s.handshakes })
}

// first is how long the first run took that went well; long where none did.
func (f *figures) first() time.Duration {
	if len(f.samples) == 0 {
		return oftenBelow
	}
	return f.samples[0].wall
}

// guessed says whether the figures are from a part; one look at that is enough.
func (f *figures) guessed() bool { return len(f.samples) > 0 && f.samples[0].guessed }

// ours says whether it is arid or the floor.
func (f *figures) ours() bool { return f.client.version == "" }

// good says whether there is anything to compare with.
func (f *figures) good() bool { return f != nil && len(f.samples) > 0 && len(f.failures) == 0 }

func median[T cmp.Ordered](all []sample, of func(sample) T) T {
	var values []T
	for _, s := range all {
		values = append(values, of(s))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func mean(all []sample, of func(sample) float64) (sum float64) {
	for _, s := range all {
		sum += of(s)
	}
	return sum / float64(len(all))
}

var columns = []string{"client", "wall", "× floor", "× best other", "requests", "connections", "handshakes",
	"processes", "programs", "CPU", "peak memory", "runs"}

// printTable writes the table of one scenario at one distance, and what is to be said of it.
func printTable(w io.Writer, title string, all []*figures) {
	var floor, best *figures
	for _, f := range all {
		switch {
		case !f.good():
		case f.client.name == floorName:
			floor = f
		case f.client.name != ourName && (best == nil || f.wall() < best.wall()):
			best = f
		}
	}
	rows := [][]string{columns}
	var notes []string
	for _, f := range all {
		name := f.client.name
		switch {
		case f.lacks != "":
			rows = append(rows, dashes(name))
			notes = append(notes, fmt.Sprintf("%s: %s", name, f.lacks))
			continue
		case len(f.failures) > 0 && f.ours():
			notes = append(notes, fmt.Sprintf("%s: FAILED %d of %d: %v", name, len(f.failures), len(f.failures)+len(f.samples), f.failures[0]))
		}
		if len(f.samples) == 0 {
			rows = append(rows, dashes(name))
			continue
		}
		rows = append(rows, f.row(floor, best))
	}
	fmt.Fprintf(w, "\n### %s\n\n", title)
	printRows(w, rows)
	for _, note := range notes {
		fmt.Fprintf(w, "\n%s\n", note)
	}
}

func dashes(name string) []string {
	row := slices.Repeat([]string{"–"}, len(columns))
	row[0] = name
	return row
}

func (f *figures) row(floor, best *figures) []string {
	about, runs := "", fmt.Sprint(len(f.samples))
	if f.guessed() {
		about = "~"
	}
	if len(f.failures) > 0 && f.ours() {
		runs = fmt.Sprintf("%d, and %d FAILED", len(f.samples), len(f.failures))
	}
	processes, programs := "–", "–"
	if f.counted != nil {
		processes, programs = count(f.counted.processes), count(f.counted.programs)
	}
	return []string{f.client.name, about + seconds(f.wall()), ratio(f, floor), ratio(f, best),
		about + count(f.requests()), about + count(f.connections()), about + count(f.handshakes()),
		processes, programs, about + milliseconds(f.cpu()), fmt.Sprintf("%.0f MB", f.memory()), runs}
}

func ratio(f, to *figures) string {
	if to == nil {
		return "–"
	}
	return fmt.Sprintf("%.2f", f.wall().Seconds()/to.wall().Seconds())
}

func seconds(d time.Duration) string {
	switch {
	case d < time.Second:
		return milliseconds(d)
	case d < 100*time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}

func milliseconds(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.1f ms", ms(d))
	}
	return fmt.Sprintf("%.0f ms", ms(d))
}

// count is a whole number, or a mean.
func count(n float64) string {
	if n == float64(int(n)) {
		return fmt.Sprint(int(n))
	}
	return fmt.Sprintf("%.1f", n)
}

func printRows(w io.Writer, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for n, row := range rows {
		for i, cell := range row {
			fmt.Fprintf(w, "| %s%s ", cell, strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)))
		}
		fmt.Fprintln(w, "|")
		if n == 0 {
			for _, width := range widths {
				fmt.Fprintf(w, "|%s", strings.Repeat("-", width+2))
			}
			fmt.Fprintln(w, "|")
		}
	}
}

// lacking says why a client cannot do something, where that is what err says.
func lacking(err error) (string, bool) {
	var why errLacks
	ok := errors.As(err, &why)
	return string(why), ok
}
