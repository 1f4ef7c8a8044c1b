package cmd

import (
	"strings"
	"testing"

	"arid/probe"
)

func TestEveryCauseHasAHintAndAPlaceInTheDocs(t *testing.T) {
	text := page(t, "hints.md")
	rows := map[string]bool{}
	for _, row := range hintTable() {
		if rows[row.name] {
			t.Errorf("%q stands twice", row.name)
		}
		rows[row.name] = true
		if want := "| `" + row.name + "` | " + row.text + " |\n"; !strings.Contains(text, want) {
			t.Errorf("docs/hints.md lacks %s", want)
		}
	}
	for _, c := range probe.Causes() {
		if !rows[string(c)] {
			t.Errorf("no hint for %q", c)
		}
	}
}
