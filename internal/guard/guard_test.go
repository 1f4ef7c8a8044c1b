package guard_test

import (
	"errors"
	"testing"

	"arid/internal/guard"
)

func TestRun(t *testing.T) {
	plain := errors.New("plain")
	if err := guard.Run(func() error { return plain }); err != plain {
		t.Errorf("got %v", err)
	}
	var p *guard.Panic
	err := guard.Run(func() error { var m map[string]int; m["x"] = 1; return nil })
	if !errors.As(err, &p) || len(p.Stack) == 0 {
		t.Errorf("got %v", err)
	}
}
