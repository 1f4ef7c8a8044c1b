package house

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	batsName  = regexp.MustCompile(`(?m)^@test "(.*)" \{$`)
	quoted    = regexp.MustCompile(`"([^"]+)"`)
	codeWords = regexp.MustCompile("`([^`]+)`")
)

// Every row of docs/seeds.md is there, and so are the tests that it names.
func TestSeeds(t *testing.T) {
	var tests []string
	for _, file := range files(t, ".bats") {
		for _, m := range batsName.FindAllStringSubmatch(string(read(t, file)), -1) {
			tests = append(tests, strings.ReplaceAll(m[1], `\"`, `"`))
		}
	}
	var rows []string
	for line := range strings.Lines(string(read(t, "docs/seeds.md"))) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		name := strings.TrimPrefix(cells[0], "| ")
		if len(cells) != 4 || strings.Trim(name, "LNT0123456789") != "" {
			continue
		}
		rows = append(rows, name)
		shown := cells[3]
		for _, m := range quoted.FindAllStringSubmatch(shown, -1) {
			begin := strings.TrimSuffix(m[1], "…")
			if !slices.ContainsFunc(tests, func(test string) bool { return strings.HasPrefix(test, begin) }) {
				t.Errorf("%s: there is no test %q", name, m[1])
			}
		}
		for _, m := range codeWords.FindAllStringSubmatch(shown, -1) {
			if _, err := os.Stat(m[1]); err == nil || strings.Contains(m[1], " ") {
				continue
			}
			if _, err := os.Stat("tests/bats/" + m[1] + ".bats"); err != nil {
				t.Errorf("%s: there is no %q", name, m[1])
			}
		}
	}
	var all []string
	for _, part := range []struct {
		letter string
		last   int
	}{{"L", 25}, {"T", 18}, {"N", 16}} {
		for i := range part.last {
			all = append(all, fmt.Sprintf("%s%d", part.letter, i+1))
		}
	}
	if !slices.Equal(rows, all) {
		t.Errorf("the rows are %q", rows)
	}
}
