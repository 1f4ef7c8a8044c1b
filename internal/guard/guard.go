// Package guard turns a panic into an error, so that one goroutine's bug ends
// the run with a status and with its clean-up done.
package guard

import (
	"fmt"
	"runtime/debug"
)

// Panic is a bug that was caught.
type Panic struct {
	Value any
	Stack []byte
}

func (p *Panic) Error() string { return fmt.Sprintf("a bug in arid: %v", p.Value) }

// Run calls do and returns its error, or a *Panic. Every goroutine of ours
// starts through it.
func Run(do func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &Panic{v, debug.Stack()}
		}
	}()
	return do()
}
