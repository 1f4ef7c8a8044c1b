package renew_test

import (
	"fmt"
	"testing"
	"time"

	"arid/renew"
)

func window(from, to float64) renew.Window { return renew.Window{Start: day(from), End: day(to)} }

func TestInstantSpreadsCertificates(t *testing.T) {
	for _, w := range []renew.Window{window(58, 62), {Start: day(3), End: day(3).Add(10)}} {
		var tenths [10]int
		for i := range 1000 {
			at := w.Instant(fmt.Sprintf("aYhba4dGQEHhs3uEe6CuLN4ByNQ.%04X", i))
			if at.Before(w.Start) || !at.Before(w.End) {
				t.Fatalf("%s is outside %v", at, w)
			}
			tenths[at.Sub(w.Start)*10/w.End.Sub(w.Start)]++
		}
		for i, n := range tenths {
			if n < 50 || n > 150 {
				t.Errorf("%d of 1000 are in tenth %d: %v", n, i, tenths)
			}
		}
	}
}

func TestInstantIsKept(t *testing.T) {
	w := window(58, 62)
	at := w.Instant("a.b")
	elsewhere := renew.Window{Start: w.Start.In(time.FixedZone("", 3600)), End: w.End.In(time.FixedZone("", -3600))}
	if again := elsewhere.Instant("a.b"); again != at {
		t.Errorf("the second time %s, the first %s", again, at)
	}
	if other := w.Instant("a.c"); other.Equal(at) {
		t.Errorf("two certificates have the same instant %s", at)
	}
	if moved := window(59, 63).Instant("a.b"); !moved.Equal(at.Add(24 * time.Hour)) {
		t.Errorf("in a window a day later %s, not a day after %s", moved, at)
	}
}

func TestInstantOfNoWindow(t *testing.T) {
	for what, w := range map[string]renew.Window{
		"none":     {},
		"reversed": window(62, 58),
		"empty":    window(58, 58),
		"no start": {End: day(58)},
		"no end":   {Start: day(58)},
	} {
		if at := w.Instant("a.b"); !at.IsZero() {
			t.Errorf("%s: %s", what, at)
		}
	}
}
