package hooks

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestLine(t *testing.T) {
	var out bytes.Buffer
	r := &Runner{Env: []string{"PATH=" + os.Getenv("PATH"), "A=ours"}, Stdin: strings.NewReader("not for it"), Stdout: &out, Stderr: &out}
	for _, tc := range []struct {
		text, out, fails string
	}{
		{`echo "$A $B" && cat`, "its; $(echo 1) `x` too\n", ""},
		{"echo a; echo b >&2; exit 7", "a\nb\n", `"echo a; echo b >&2; exit 7" --reload: exit status 7`},
		{"kill -TERM $$", "", `"kill -TERM $$" --reload: killed by SIGTERM`},
		{"no-such-program-anywhere", "", "exit status 127"},
	} {
		out.Reset()
		err := r.RunLine(t.Context(), Line{What: "--reload", Text: tc.text, Env: []string{"A=its;", "B=$(echo 1) `x` too"}})
		if tc.fails == "" && err != nil || tc.fails != "" && (err == nil || !strings.Contains(err.Error(), tc.fails)) {
			t.Errorf("%s: %v", tc.text, err)
		}
		if tc.out != "" && out.String() != tc.out {
			t.Errorf("%s: printed %q", tc.text, &out)
		}
	}
}

func TestLineAsAnotherUser(t *testing.T) {
	var out bytes.Buffer
	r := &Runner{Env: []string{"PATH=" + os.Getenv("PATH")}, Stdout: &out}
	as := &syscall.Credential{Uid: 65534, Gid: 65534, Groups: []uint32{7}}
	err := r.RunLine(t.Context(), Line{What: "--preflight", Text: "id -u; id -g; id -G", As: as})
	if os.Getuid() != 0 {
		if !errors.Is(err, os.ErrPermission) {
			t.Errorf("%v", err)
		}
		return
	}
	if err != nil || out.String() != "65534\n65534\n65534 7\n" {
		t.Errorf("%v, %q", err, &out)
	}
}

// What a line has started is ended with it, in a group of its own.
func TestLineIsEnded(t *testing.T) {
	for _, how := range []string{"time limit", "told to end"} {
		r, out := runner(t, "")
		r.Group = true
		ctx, end := context.WithCancelCause(t.Context())
		told := errors.New("told to end")
		if how == "time limit" {
			r.Timeout = 100 * time.Millisecond
		} else {
			go func() {
				await(t, out+"/child")
				end(told)
			}()
		}
		stdout, released := held(t)
		r.Stdout = stdout
		err := r.RunLine(ctx, Line{What: "--reload", Text: `sleep 1000 & echo $! >"$OUT/child"; wait`})
		var limit *TimeoutError
		if how == "time limit" && !errors.As(err, &limit) || how != "time limit" && !errors.Is(err, told) {
			t.Errorf("%s: %v", how, err)
		}
		if !released() {
			t.Errorf("%s: its child goes on", how)
		}
		end(nil)
	}
}
