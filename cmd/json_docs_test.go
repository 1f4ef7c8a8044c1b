package cmd

import (
	"reflect"
	"strings"
	"testing"
)

// members are the JSON names of a struct's fields, in their order.
func members(of reflect.Type) (names []string) {
	for i := range of.NumField() {
		f := of.Field(i)
		if f.Anonymous {
			names = append(names, members(f.Type)...)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// documented are the members that the first table after these words lists.
func documented(t *testing.T, text, after string) (names []string) {
	t.Helper()
	_, rest, found := strings.Cut(text, after)
	_, table, there := strings.Cut(rest, "| member | |\n|---|---|\n")
	if !found || !there {
		t.Fatalf("docs/json.md has no table after %q", after)
	}
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "| ") {
			break
		}
		cell := strings.Split(line, "|")[1]
		for word := range strings.FieldsSeq(cell) {
			names = append(names, strings.Trim(word, "`"))
		}
	}
	return names
}

func TestEveryMemberOfEveryObjectIsInTheDocs(t *testing.T) {
	text := page(t, "json.md")
	for after, object := range map[string]any{
		"## Failures\n":                errorJSON{},
		"The objects in `failures`:\n": failureJSON{},
		"## Certificates\n":            certificateJSON{},
		"## arid status, arid due\n":   statusJSON{},
		"## arid register\n":           registerJSON{},
		"## arid account\n":            accountJSON{},
		"## arid revoke\n":             revokeJSON{},
		"## arid cleanup\n":            cleanupJSON{},
		"## arid config\n":             configJSON{},
		"## arid dns\n":                dnsJSON{},
		"## arid version\n":            versionJSON{},
		"tells which arid it is:\n":    traceHead{},
		"\nA request:\n":               traceRequest{},
		"\nA hook call:\n":             traceHook{},
	} {
		got, want := strings.Join(documented(t, text, after), " "), strings.Join(members(reflect.TypeOf(object)), " ")
		if got != want {
			t.Errorf("docs/json.md after %q\nlists   %s\nand %T has %s", after, got, object, want)
		}
	}
	for _, result := range []string{resultIssued, resultDeployed, resultUnchanged, resultHeld, resultFailed, resultDue, resultOwed} {
		if !strings.Contains(text, "`"+result+"`") {
			t.Errorf("docs/json.md does not have the result %q", result)
		}
	}
}
