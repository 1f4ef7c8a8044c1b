package issue

import (
	"encoding/json"
	"testing"
)

func TestFlatten(t *testing.T) {
	for in, want := range map[string]string{
		`{"type":"http-01","error":{"detail":"a \"b\" <c>","status":403},"validated":null,"list":[{"x":true},[]]}`: `["type"]	"http-01"
["error","detail"]	"a \"b\" <c>"
["error","status"]	403
["error"]	{"detail":"a \"b\" <c>","status":403}
["validated"]	null
["list",0,"x"]	true
["list",0]	{"x":true}
["list",1]	[]
["list"]	[{"x":true},[]]`,
		`not json`: `not json`,
		``:         ``,
	} {
		if got := flatten(json.RawMessage(in)); got != want {
			t.Errorf("%s:\n got %s\nwant %s", in, got, want)
		}
	}
}
