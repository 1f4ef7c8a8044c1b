package cmd

import (
	"strings"
	"testing"
)

func TestParseSubject(t *testing.T) {
	for _, tc := range []struct{ text, want, fails string }{
		{text: "", want: ""},
		{text: "C=TW,ST=Taipei,L=Xiaobitan,O=Crash Barrier Ltd", want: "O=Crash Barrier Ltd,L=Xiaobitan,ST=Taipei,C=TW"},
		{text: "/C=TW/O=Crash Barrier/CN=www.example.org", want: "CN=www.example.org,O=Crash Barrier,C=TW"},
		{text: " c = TW , O = Example, Inc. ,OU=R/D", want: `OU=R/D,O=Example\, Inc.,C=TW`},
		{text: "O=Bücher", want: "O=Bücher"},
		{text: "O=a=b", want: "O=a=b"},
		{text: "O", fails: "does not begin with FIELD=value"},
		{text: "Example, O=Inc", fails: "does not begin"},
		{text: "O=", fails: `"O" has no value`},
		{text: "O=,C=TW", fails: `"O" has no value`},
		{text: "O=x,EMAIL=y", fails: "none of C, ST"},
		{text: "C=Taiwan", fails: "country code"},
	} {
		got, err := parseSubject(tc.text)
		if tc.fails != "" && (err == nil || !strings.Contains(err.Error(), tc.fails)) || tc.fails == "" && (err != nil || got.String() != tc.want) {
			t.Errorf("%q: %s, %v", tc.text, got, err)
		}
	}
}
