package config

import (
	"context"
	"errors"
	"io/fs"
	"testing"
	"time"
)

// FuzzConfig evaluates text inside the process. No command is run, and no file
// but the text itself is read.
func FuzzConfig(f *testing.F) {
	for _, c := range evaluatorCases {
		f.Add(c.config)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4<<10 {
			return
		}
		sh := testShell(t, "/")
		sh.NoExec, sh.Dropins, sh.Timeout = true, false, 200*time.Millisecond
		sh.Read = func(path string) ([]byte, error) {
			if path != "/config" {
				return nil, &Error{File: path, What: "cannot be read", Err: fs.ErrNotExist}
			}
			return []byte(text), nil
		}
		start := time.Now()
		res, err := sh.evaluate(context.Background(), "/config")
		if took := time.Since(start); took > time.Minute {
			t.Fatalf("took %v", took)
		}
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.File == "" || e.Error() == "" {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		for name, v := range res.Vars {
			if name == "" || v.Array && v.Value != "" {
				t.Fatalf("%q: %+v", name, v)
			}
		}
	})
}
