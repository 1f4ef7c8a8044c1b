package fakeca

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestInMemoryInABubbleWhereTimeCostsNothing(t *testing.T) {
	for name, modes := range map[string][]Mode{"h2": {InMemory}, "h1": {InMemory, HTTP1}, "plain": {InMemory, Plain}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca := New(t, modes...).Drip(Order, 10, time.Hour)
				began := time.Now()
				newHand(t, ca).register().issue("http-01", "example.org")
				if d := time.Since(began); d < 24*time.Hour {
					t.Errorf("took %v; dripping did not take its time", d)
				}
			})
		})
	}
}
