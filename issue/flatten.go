package issue

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// flatten writes a JSON document as hooks know it from dehydrated: a line
// ["path",0,"to"]<TAB>value for each value in it, in the document's order, and one
// for each object and array after those of its members. What is no JSON comes back
// as it is.
func flatten(raw json.RawMessage) string {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var b strings.Builder
	if _, err := flattenValue(d, nil, &b); err != nil {
		return string(raw)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// flattenValue writes the lines of the next value, those of its members before its
// own, and gives the value as compact JSON. The outermost has no line of its own.
func flattenValue(d *json.Decoder, path []string, b *strings.Builder) (string, error) {
	token, err := d.Token()
	if err != nil {
		return "", err
	}
	var members []string
	text := ""
	switch token {
	case json.Delim('{'):
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return "", err
			}
			member, err := flattenValue(d, append(path, encode(key)), b)
			if err != nil {
				return "", err
			}
			members = append(members, encode(key)+":"+member)
		}
		_, err = d.Token()
		text = "{" + strings.Join(members, ",") + "}"
	case json.Delim('['):
		for d.More() {
			member, err := flattenValue(d, append(path, strconv.Itoa(len(members))), b)
			if err != nil {
				return "", err
			}
			members = append(members, member)
		}
		_, err = d.Token()
		text = "[" + strings.Join(members, ",") + "]"
	default:
		text = encode(token)
	}
	if len(path) > 0 {
		fmt.Fprintf(b, "[%s]\t%s\n", strings.Join(path, ","), text)
	}
	return text, err
}

// encode writes one JSON value without turning <, > and & into escapes.
func encode(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return ""
	}
	return strings.TrimSuffix(b.String(), "\n")
}
