package renew_test

import (
	"errors"
	"testing"
	"time"

	"arid/renew"
)

func TestCheckClock(t *testing.T) {
	released := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	issued := released.Add(30 * 24 * time.Hour)
	none := time.Time{}
	for _, tc := range []struct {
		what           string
		now, notBefore time.Time
		says           string // "" where the clock may be right
	}{
		{"now", issued.Add(time.Hour), issued, ""},
		{"ten years ahead", issued.AddDate(10, 0, 0), issued, ""},
		{"a day before the release", released.Add(-24 * time.Hour), none, ""},
		{"more than a day before the release", released.Add(-24*time.Hour - time.Second), none,
			"this host's clock says 2026-11-20T11:59:59Z, before this arid was released (2026-11-21T12:00:00Z)"},
		{"2020", time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), issued,
			"this host's clock says 2020-01-01T00:00:00Z, before this arid was released (2026-11-21T12:00:00Z)"},
		{"1970", time.Unix(0, 0), none,
			"this host's clock says 1970-01-01T00:00:00Z, before this arid was released (2026-11-21T12:00:00Z)"},
		{"an hour before the certificate", issued.Add(-time.Hour), issued, ""},
		{"more than an hour before the certificate", issued.Add(-time.Hour - time.Second), issued,
			"this host's clock says 2026-12-21T10:59:59Z, before the live certificate's notBefore (2026-12-21T12:00:00Z)"},
		{"no certificate", issued.Add(-time.Hour - time.Second), none, ""},
	} {
		err := renew.CheckClock(tc.now, released, tc.notBefore)
		var clock *renew.ClockError
		switch {
		case tc.says == "" && err != nil:
			t.Errorf("%s: %v", tc.what, err)
		case tc.says != "" && (!errors.As(err, &clock) || err.Error() != tc.says):
			t.Errorf("%s: got %v, want %s", tc.what, err, tc.says)
		}
	}
	if err := renew.CheckClock(time.Unix(0, 0), none, none); err != nil {
		t.Errorf("neither release nor certificate known: %v", err)
	}
}
