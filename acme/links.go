package acme

import (
	"net/url"
	"slices"
	"strings"
)

// links are the URLs in Link headers (RFC 8288) that have the relation rel,
// absolute, each once, in order, at most max.
func links(page *url.URL, headers []string, rel string, max int) (found []string) {
	for _, header := range headers {
		for header != "" && len(found) < max {
			var target, rels string
			target, rels, header = nextLink(header)
			if !slices.ContainsFunc(strings.Fields(rels), func(r string) bool { return strings.EqualFold(r, rel) }) {
				continue
			}
			u, err := page.Parse(target)
			if err != nil || slices.Contains(found, u.String()) {
				continue
			}
			found = append(found, u.String())
		}
	}
	return found
}

// nextLink reads one `<target>; name=value; …` up to the comma that ends it.
// What cannot be read as a link is skipped, with an empty target and relation.
func nextLink(s string) (target, rel, rest string) {
	s = strings.TrimLeft(s, " \t,")
	s, ok := strings.CutPrefix(s, "<")
	if !ok {
		_, rest, _ = strings.Cut(s, ",")
		return "", "", rest
	}
	target, s, ok = strings.Cut(s, ">")
	if !ok {
		return "", "", ""
	}
	seen := false
	for {
		s = strings.TrimLeft(s, " \t")
		switch {
		case s == "":
			return target, rel, ""
		case s[0] == ',':
			return target, rel, s[1:]
		case s[0] == ';':
			s = s[1:]
			continue
		}
		end := strings.IndexAny(s, "=;,")
		if end < 0 {
			return target, rel, ""
		}
		name := strings.TrimSpace(s[:end])
		value := ""
		if s[end] == '=' {
			value, s = parameterValue(strings.TrimLeft(s[end+1:], " \t"))
		} else {
			s = s[end:]
		}
		if strings.EqualFold(name, "rel") && !seen { // the first one counts, RFC 8288 §3.3
			rel, seen = value, true
		}
	}
}

// parameterValue reads a token or a quoted string.
func parameterValue(s string) (value, rest string) {
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s, ";,")
		if end < 0 {
			end = len(s)
		}
		return strings.TrimSpace(s[:end]), s[end:]
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:]
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String(), ""
}
