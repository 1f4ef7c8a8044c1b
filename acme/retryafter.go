package acme

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxRetryAfter bounds what a CA may ask for.
const maxRetryAfter = 365 * 24 * time.Hour

// ParseRetryAfter reads Retry-After (RFC 9110 §10.2.3), seconds or an HTTP-date;
// the first value that is either counts, and false means that none is. The time
// lies between now and a year ahead, whatever was asked.
func ParseRetryAfter(values []string, now time.Time) (time.Time, bool) {
	for _, value := range values {
		value = strings.TrimSpace(value)
		if value != "" && strings.Trim(value, "0123456789") == "" {
			wait := maxRetryAfter
			if n, err := strconv.ParseInt(value, 10, 64); err == nil && n < int64(maxRetryAfter/time.Second) {
				wait = time.Duration(n) * time.Second
			}
			return now.Add(wait), true
		}
		at, err := http.ParseTime(value)
		switch {
		case err != nil:
		case at.Before(now):
			return now, true
		case at.After(now.Add(maxRetryAfter)):
			return now.Add(maxRetryAfter), true
		default:
			return at, true
		}
	}
	return time.Time{}, false
}
