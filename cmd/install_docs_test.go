package cmd

import (
	"reflect"
	"strings"
	"testing"
)

func TestEveryMemberOfADeploymentIsInTheDocs(t *testing.T) {
	text := page(t, "install.md")
	for after, object := range map[string]any{
		"`arid install` prints an object":     installJSON{},
		"`arid check` prints an object":       checkJSON{},
		"The objects in `served` and `disk`:": shownJSON{},
		"`arid check --dns` prints an object": nameJSON{},
		"`arid promote` prints one object":    promoteJSON{},
	} {
		got, want := strings.Join(documented(t, text, after), " "), strings.Join(members(reflect.TypeOf(object)), " ")
		if got != want {
			t.Errorf("docs/install.md after %q\nlists   %s\nand %T has %s", after, got, object, want)
		}
	}
	for _, result := range []string{
		resultInstalled, resultUnchanged, resultStaged, resultRestored, servedSame, servedOther, servedNoTLS, servedNobody,
		resultFine, resultBad, resultUnknown, resultPromoted, resultWaiting, resultSelfSigned,
	} {
		if !strings.Contains(text, "`"+result+"`") {
			t.Errorf("docs/install.md does not have the result %q", result)
		}
	}
}
