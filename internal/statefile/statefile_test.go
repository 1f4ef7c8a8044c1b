package statefile

import (
	"bytes"
	"strings"
	"testing"
)

type memory struct {
	Schema int    `json:"schema"`
	Name   string `json:"name"`
	Inner  *inner `json:"inner"`
}

type inner struct {
	Step string `json:"step"`
}

func TestUnknownMembersStay(t *testing.T) {
	v := &memory{}
	f, err := Parse([]byte(`{"schema":1,"name":"a","inner":{"step":"s","x":12345678901234567890},"big":1.50,"deep":[{"y":1}]}`), 1, v)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := f.Write(v); text != nil || err != nil {
		t.Errorf("nothing changed, and %q is to be written (%v)", text, err)
	}
	v.Name = "<b>"
	text, err := f.Write(v)
	for _, want := range []string{`"<b>"`, "12345678901234567890", `"big": 1.50`, `"y": 1`} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("%s is lost in %s (%v)", want, text, err)
		}
	}
	f.Written(text)
	if text, _ := f.Write(v); text != nil {
		t.Errorf("written, and to be written again: %s", text)
	}
	v.Inner = nil
	if text, _ := f.Write(v); bytes.Contains(text, []byte("inner")) || !bytes.Contains(text, []byte("deep")) {
		t.Errorf("what was removed stays, or more went: %s", text)
	}
}

func TestNewerIsReadOnly(t *testing.T) {
	v := &memory{}
	f, err := Parse([]byte(`{"schema":2,"inner":[],"name":"a"}`), 1, v)
	if err != nil || !f.ReadOnly() || *v != (memory{Schema: 2}) {
		t.Fatalf("%+v, %v", v, err)
	}
	v.Name = "b"
	if text, err := f.Write(v); text != nil || err != nil {
		t.Errorf("to be written: %q, %v", text, err)
	}
}

func TestDamaged(t *testing.T) {
	for _, text := range []string{"", "[]", "null", "{", "{} {}", `{"schema":"x"}`, `{"schema":-1}`, `{"schema":1,"name":7}`, `{"schema":1.5}`} {
		if _, err := Parse([]byte(text), 1, &memory{}); err == nil {
			t.Errorf("%q was understood", text)
		}
	}
}

// What was written would not be read again, and takes long to be made.
func TestNeitherHugeNorDeep(t *testing.T) {
	deep := `{"schema":1,"x":` + strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000) + "}"
	if _, err := Parse([]byte(deep), 1, &memory{}); err == nil {
		t.Error("5000 objects in each other were taken")
	}
	v := &memory{}
	f, err := Parse([]byte(`{"schema":1,"x":[`+strings.Repeat("1,", Max/4)+`1]}`), 1, v)
	if err != nil {
		t.Fatal(err)
	}
	v.Name = "a"
	if text, err := f.Write(v); err == nil {
		t.Errorf("%d bytes are to be written", len(text))
	}
}

// FuzzParse: what would be written can be read, and would be written so again.
func FuzzParse(f *testing.F) {
	f.Add(`{"schema":1,"inner":{"step":"1","x":1},"y":[]}`)
	f.Add(`{"schema":2,"inner":[]}`)
	f.Add(`{"Schema":1,"schema":1,"inner":{"Step":"a"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		file, err := Parse([]byte(text), 1, &memory{})
		if err != nil {
			return
		}
		v := &memory{}
		again, err := Parse(file.saved, 1, v)
		if err != nil {
			t.Fatalf("%q: what would be written cannot be read: %v", file.saved, err)
		}
		if !bytes.Equal(again.saved, file.saved) {
			t.Errorf("%q\nthen %q", file.saved, again.saved)
		}
	})
}
