package issue

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// flatten writes a JSON document as hooks know it from dehydrated: a line
// ["path",0,"to"]<TAB>value for each value that is no object and no array, in the
// document's order. What is no JSON comes back as it is.
func flatten(raw json.RawMessage) string {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var b strings.Builder
	if err := flattenValue(d, nil, &b); err != nil {
		return string(raw)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func flattenValue(d *json.Decoder, path []string, b *strings.Builder) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('{'):
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return err
			}
			if err := flattenValue(d, append(path, encode(key)), b); err != nil {
				return err
			}
		}
		_, err = d.Token()
	case json.Delim('['):
		for i := 0; d.More(); i++ {
			if err := flattenValue(d, append(path, strconv.Itoa(i)), b); err != nil {
				return err
			}
		}
		_, err = d.Token()
	default:
		fmt.Fprintf(b, "[%s]\t%s\n", strings.Join(path, ","), encode(token))
	}
	return err
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
