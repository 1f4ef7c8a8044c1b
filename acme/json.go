package acme

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// maxNesting is how deep arrays and objects of a reply may stand in each other.
const maxNesting = 64

// shallow refuses what is nested too deeply, before a decoder works on it.
func shallow(data []byte) error {
	depth, inString := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > maxNesting {
				return fmt.Errorf("nested more than %d deep", maxNesting)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// object reads the reply's body, which has to be one JSON object. Members that
// we do not know are no concern of ours, and of two alike the last one counts.
// The Content-Type is not asked: CAs differ in it.
func (r *reply) object(v any) error {
	err := shallow(r.body)
	if err == nil {
		err = json.Unmarshal(r.body, v)
	}
	var wrongType *json.UnmarshalTypeError
	switch {
	case err == nil && bytes.HasPrefix(bytes.TrimLeft(r.body, " \t\r\n"), []byte("{")):
		return nil
	case looksLikeHTML(r):
		return r.wrong("an HTML page instead of JSON", nil)
	case err == nil, errors.As(err, &wrongType) && wrongType.Field == "":
		return r.wrong("no JSON object", nil)
	case wrongType != nil:
		return r.wrong(fmt.Sprintf("member %q is of a wrong type (%s)", wrongType.Field, wrongType.Value), nil)
	}
	return r.wrong("no readable JSON", err)
}

func looksLikeHTML(r *reply) bool {
	return strings.Contains(r.header.Get("Content-Type"), "html") || bytes.HasPrefix(bytes.TrimSpace(r.body), []byte("<"))
}

// wrong is a ProtocolError about the reply.
func (r *reply) wrong(what string, err error) error {
	return &ProtocolError{URL: r.call.url, What: what, Err: err, call: r.call.what}
}
