package report

import (
	"fmt"
	"sync"
)

// Board is the status line of work on many things, several of them at once:
// "37/1000 name, 8 at work". It stands on a terminal only, and not while a hook
// has the screen. It is safe for concurrent use.
type Board struct {
	printer *Printer
	total   int

	mu     sync.Mutex
	begun  int
	atWork int
	last   string          // begun
	away   map[string]bool // those at a hook
}

// Board makes the status line for so many things; one alone needs none.
func (p *Printer) Board(total int) *Board {
	return &Board{printer: p, total: total, away: map[string]bool{}}
}

// Begin is work that begins. Names tell the things apart.
func (b *Board) Begin(name string) {
	b.change(func() { b.begun++; b.atWork++; b.last = name })
}

// Hook says that a hook is to be called for it. Once it has returned, nothing stands
// on the screen before Step or End.
func (b *Board) Hook(name string) {
	b.change(func() { b.away[name] = true })
	b.printer.Clear()
}

// Step says that it goes on.
func (b *Board) Step(name string) {
	b.change(func() { delete(b.away, name) })
}

// End is work that has ended.
func (b *Board) End(name string) {
	b.change(func() { delete(b.away, name); b.atWork-- })
}

func (b *Board) change(do func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	do()
	switch {
	case b.atWork == 0:
		b.printer.Clear()
	case b.total > 1 && len(b.away) == 0:
		b.printer.Progress(fmt.Sprintf("%d/%d %s, %d at work", b.begun, b.total, b.last, b.atWork))
	}
}
