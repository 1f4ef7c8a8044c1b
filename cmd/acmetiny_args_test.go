package cmd

import (
	"reflect"
	"strings"
	"testing"
)

func TestAcmeTinysCommandLine(t *testing.T) {
	all := tinyLine{accountKey: "k", csr: "c", acmeDir: "d"}
	with := func(change func(*tinyLine)) tinyLine {
		l := all
		change(&l)
		return l
	}
	const must = "--account-key k --csr c --acme-dir d "
	for _, tc := range []struct {
		words string
		want  tinyLine
		says  string // in the error; "" where there is none
	}{
		{must, all, ""},
		{"--account-key=k --csr=c --acme-dir=d", all, ""},
		{"--acc k --cs c --acme d", all, ""},
		{must + "--csr e", with(func(l *tinyLine) { l.csr = "e" }), ""},
		{must + "--csr -", with(func(l *tinyLine) { l.csr = "-" }), ""},
		{must + "--csr=", with(func(l *tinyLine) { l.csr = "" }), ""},
		{must + "--quiet --dis", with(func(l *tinyLine) { l.quiet, l.disableCheck = true, true }), ""},
		{must + "--ca x --check-port 81 --di u", tinyLine{}, "ambiguous option: --di could match --disable-check, --directory-url"},
		{must + "--ca x --check-port 81 --dir u", with(func(l *tinyLine) { l.ca, l.checkPort, l.directoryURL = "x", "81", "u" }), ""},
		{must + "--contact", with(func(l *tinyLine) { l.contact = []string{} }), ""},
		{must + "--contact a b --quiet", with(func(l *tinyLine) { l.contact, l.quiet = []string{"a", "b"}, true }), ""},
		{must + "--contact a --contact=b", with(func(l *tinyLine) { l.contact = []string{"b"} }), ""},
		{"--help --frobnicate", tinyLine{help: true}, ""},
		{"-h", tinyLine{help: true}, ""},

		{"", tinyLine{}, "required: --account-key, --csr, --acme-dir"},
		{"--csr c", tinyLine{}, "required: --account-key, --acme-dir"},
		{must + "word", tinyLine{}, "unrecognized arguments: word"},
		{must + "-q --xyz w", tinyLine{}, "unrecognized arguments: -q --xyz w"},
		{must + "-- --quiet", tinyLine{}, "unrecognized arguments: --quiet"},
		{"--xyz", tinyLine{}, "required: "},
		{must + "--csr", tinyLine{}, "argument --csr: expected one argument"},
		{must + "--csr --quiet", tinyLine{}, "argument --csr: expected one argument"},
		{must + "--csr -x", tinyLine{}, "argument --csr: expected one argument"},
		{must + "--quiet=1", tinyLine{}, "argument --quiet: "},
		{must + "--c", tinyLine{}, "ambiguous option: --c could match --csr, --ca, --contact, --check-port"},
		{must + "-quiet", tinyLine{}, "unrecognized arguments: -quiet"},
	} {
		l, err := parseTiny(strings.Fields(tc.words))
		switch {
		case tc.says == "" && (err != nil || !reflect.DeepEqual(*l, tc.want)):
			t.Errorf("%s: got %+v, %v", tc.words, l, err)
		case tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)):
			t.Errorf("%s: got %+v, %v; want %q", tc.words, l, err, tc.says)
		case err != nil && tinyStatus(err) != 2:
			t.Errorf("%s: status %d", tc.words, tinyStatus(err))
		}
	}
	if _, err := parseTiny([]string{"--csr", "-a file"}); err == nil || !strings.Contains(err.Error(), "required: --account-key, --acme-dir") {
		t.Errorf("a value with a blank in it: %v", err)
	}
}
