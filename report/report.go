// Package report is the one place that writes for people and programs: the
// product on stdout, talk on stderr.
package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/fatih/color"
	"golang.org/x/term"
)

// Options says where to write and how much.
type Options struct {
	Out, Err io.Writer
	Env      []string // NO_COLOR, CLICOLOR_FORCE and TERM are looked at
	Color    string   // always, never, or auto (the default)
	Quiet    bool     // errors only
	Verbose  bool     // every step
}

// Printer writes whole lines. It is safe for concurrent use.
type Printer struct {
	mu             sync.Mutex
	out, err       stream
	quiet, verbose bool
	status         bool     // a status line stands on the terminal
	odd            []string // warnings that wait
}

type stream struct {
	w        io.Writer
	terminal bool
	rewrites bool // a terminal on which a line can be written anew
	color    bool
	broken   error // the first failed write; nothing is written after it
}

// New makes a printer. Colour is decided for each stream by itself: --color,
// then NO_COLOR, then CLICOLOR_FORCE, then whether it is a terminal that can.
func New(o Options) *Printer {
	return &Printer{
		out: newStream(o.Out, o), err: newStream(o.Err, o),
		quiet: o.Quiet, verbose: o.Verbose,
	}
}

func newStream(w io.Writer, o Options) stream {
	s := stream{w: w, terminal: isTerminal(w)}
	s.rewrites = s.terminal && env(o.Env, "TERM") != "dumb"
	switch {
	case o.Color == "always":
		s.color = true
	case o.Color == "never", env(o.Env, "NO_COLOR") != "":
	case env(o.Env, "CLICOLOR_FORCE") != "" && env(o.Env, "CLICOLOR_FORCE") != "0":
		s.color = true
	default:
		s.color = s.rewrites
	}
	return s
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func env(environ []string, name string) string {
	for _, e := range environ {
		if value, ok := strings.CutPrefix(e, name+"="); ok {
			return value
		}
	}
	return ""
}

func (s *stream) paint(text string, attributes ...color.Attribute) string {
	if !s.color {
		return text
	}
	// fatih/color looks at stdout alone; the decision was ours, made above.
	c := color.New(attributes...)
	c.EnableColor()
	return c.Sprint(text)
}

func (s *stream) write(text string) error {
	if s.broken == nil {
		_, s.broken = io.WriteString(s.w, text)
	}
	return s.broken
}

// Terminal tells whether stderr is a terminal, where somebody watches.
func (p *Printer) Terminal() bool { return p.err.terminal }

// Broken is the first error met in writing the product, such as a closed pipe; nil if
// all of it was written. Talk that nobody takes is not missed.
func (p *Printer) Broken() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.broken
}

// Out writes the product to stdout, in one write. A regular file that took only
// a part of it is cut back to what it was.
func (p *Printer) Out(text string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	f, _ := p.out.w.(*os.File)
	var before os.FileInfo
	if f != nil {
		before, _ = f.Stat()
	}
	err := p.out.write(text)
	if err != nil && before != nil && before.Mode().IsRegular() {
		_ = f.Truncate(before.Size())
	}
	return err
}

// Object writes one JSON object, on a line of its own, to stdout. What would steer a
// terminal is written as \uXXXX, which means the same.
func (p *Printer) Object(v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	return p.Out(printable(b.String()))
}

// printable escapes what is no printable character in JSON, where such a one stands
// in strings alone.
func printable(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case unicode.IsPrint(r) || r == '\n': // the line's own end
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// Note is a line that stands below an error: a hint, or what was seen.
type Note struct {
	Label, Text string
}

// Error writes "arid: …" and, each on a line of its own, what might help.
func (p *Printer) Error(text string, notes ...Note) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	p.err.write(p.err.paint("arid: ", color.FgRed, color.Bold) + Escape(text) + "\n")
	for _, n := range notes {
		p.err.write("arid: " + p.err.paint(n.Label+": ", color.FgCyan) + Escape(n.Text) + "\n")
	}
}

// Warning writes what went wrong without stopping the run.
func (p *Printer) Warning(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.warn(text)
}

func (p *Printer) warn(text string) {
	if p.quiet {
		return
	}
	p.clear()
	p.err.write("arid: " + p.err.paint("warning: ", color.FgYellow) + Escape(text) + "\n")
}

// Odd is a warning about what works all the same. Off a terminal it waits for TellOdd: a
// run that does nothing says nothing.
func (p *Printer) Odd(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err.terminal || p.verbose {
		p.warn(text)
	} else {
		p.odd = append(p.odd, text)
	}
}

// TellOdd writes the warnings that have waited, since something is done.
func (p *Printer) TellOdd() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, text := range p.odd {
		p.warn(text)
	}
	p.odd = nil
}

// Result writes the one line that a changed certificate is worth.
func (p *Printer) Result(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.quiet {
		return
	}
	p.clear()
	p.err.write("arid: " + p.err.paint(Escape(text), color.FgGreen) + "\n")
}

// Note writes a line that only somebody at a terminal, or -v, wants.
func (p *Printer) Note(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.quiet || !p.err.terminal && !p.verbose {
		return
	}
	p.clear()
	p.err.write("arid: " + Escape(text) + "\n")
}

// Step tells what is being done: with -v a line that stays, on a terminal the
// one status line, else nothing.
func (p *Printer) Step(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.quiet:
	case p.verbose:
		p.clear()
		p.err.write("arid: " + p.err.paint(Escape(text), color.Faint) + "\n")
	default:
		p.rewrite(text)
	}
}

// Progress tells how far long work is: on a terminal in the status line, else
// not at all.
func (p *Printer) Progress(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.quiet && !p.verbose {
		p.rewrite(text)
	}
}

// rewrite puts text into the status line.
func (p *Printer) rewrite(text string) {
	if p.err.rewrites {
		p.status = true
		p.err.write("\r\x1b[K" + cut(Escape(text), p.width()))
	}
}

// Explain writes a line of a guided run as it is: what happens, for a reader
// who meets it for the first time.
func (p *Printer) Explain(head, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.quiet {
		return
	}
	p.clear()
	if head != "" {
		head = p.err.paint(Escape(head), color.Bold) + "  "
	}
	p.err.write(head + Escape(text) + "\n")
}

// Clear takes the status line away, before a hook has the screen.
func (p *Printer) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

func (p *Printer) clear() {
	if p.status {
		p.status = false
		p.err.write("\r\x1b[K")
	}
}

func (p *Printer) width() int {
	if f, ok := p.err.w.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 1 {
			return w - 1
		}
	}
	return 79
}

func cut(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:width])
}

// Escape makes text from outside fit to be shown: control characters, line
// ends, and marks that turn the direction of writing become \x1b, \n, \u202e.
func Escape(text string) string {
	clean := func(r rune) bool { return unicode.IsPrint(r) || r == ' ' }
	if utf8.ValidString(text) && strings.IndexFunc(text, func(r rune) bool { return !clean(r) }) < 0 {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case clean(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		i += size
	}
	return b.String()
}

// Table lays rows out in columns, the last one left ragged.
func Table(rows [][]string) string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		for i, cell := range row {
			b.WriteString(cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}
