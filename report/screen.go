package report

import (
	"os"

	"github.com/fatih/color"
	"golang.org/x/term"
)

// Tone is how much a line on stdout wants to be seen.
type Tone int

const (
	Calm    Tone = iota
	Warning      // somebody should look at it one of these days
	Alarm        // somebody has to do something
)

// Columns is how wide the terminal is that stdout is; 0: it is none.
func (p *Printer) Columns() int {
	f, ok := p.out.w.(*os.File)
	if !ok || !p.out.terminal {
		return 0
	}
	if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
		return w
	}
	return 80
}

// Shade colours a line for stdout, if that has colours.
func (p *Printer) Shade(text string, t Tone) string {
	switch t {
	case Warning:
		return p.out.paint(text, color.FgYellow)
	case Alarm:
		return p.out.paint(text, color.FgRed, color.Bold)
	}
	return text
}
