package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"arid/report"
)

func printer(o report.Options) (*report.Printer, *bytes.Buffer, *bytes.Buffer) {
	var out, err bytes.Buffer
	o.Out, o.Err = &out, &err
	return report.New(o), &out, &err
}

func TestOffATerminalOnlyResultsAndErrorsAreSaid(t *testing.T) {
	p, out, err := printer(report.Options{})
	p.Step("ordering")
	p.Note("nothing is due")
	p.Result("a.example: issued")
	p.Warning("clean_challenge failed")
	p.Error("b.example: refused", report.Note{Label: "hint", Text: "look at the log"})
	p.Out("product\n")
	want := "arid: a.example: issued\narid: warning: clean_challenge failed\narid: b.example: refused\narid: hint: look at the log\n"
	if err.String() != want || out.String() != "product\n" {
		t.Errorf("stderr %q, stdout %q", err, out)
	}
}

func TestQuietAndVerbose(t *testing.T) {
	p, _, err := printer(report.Options{Quiet: true})
	p.Step("x")
	p.Note("x")
	p.Result("x")
	p.Warning("x")
	p.Error("only this")
	if err.String() != "arid: only this\n" {
		t.Errorf("quiet: %q", err)
	}
	p, _, err = printer(report.Options{Verbose: true})
	p.Step("one")
	p.Note("two")
	if err.String() != "arid: one\narid: two\n" {
		t.Errorf("verbose: %q", err)
	}
}

// What is odd waits until something is done, but for somebody who watches.
func TestOddWarningsWait(t *testing.T) {
	p, _, err := printer(report.Options{})
	p.Odd("a.example stands twice")
	if err.Len() != 0 {
		t.Errorf("at once: %q", err)
	}
	p.TellOdd()
	p.TellOdd()
	if err.String() != "arid: warning: a.example stands twice\n" {
		t.Errorf("told: %q", err)
	}
	p, _, err = printer(report.Options{Verbose: true})
	p.Odd("b.example stands twice")
	if err.String() != "arid: warning: b.example stands twice\n" {
		t.Errorf("verbose: %q", err)
	}
}

func TestColourIsDecidedByFlagThenEnvironment(t *testing.T) {
	for _, tc := range []struct {
		color  string
		env    []string
		colour bool
	}{
		{"auto", nil, false},
		{"always", []string{"NO_COLOR=1"}, true},
		{"auto", []string{"CLICOLOR_FORCE=1"}, true},
		{"auto", []string{"CLICOLOR_FORCE=0"}, false},
		{"auto", []string{"NO_COLOR=1", "CLICOLOR_FORCE=1"}, false},
		{"never", []string{"CLICOLOR_FORCE=1"}, false},
	} {
		p, _, err := printer(report.Options{Color: tc.color, Env: tc.env})
		p.Error("x")
		if got := strings.Contains(err.String(), "\x1b["); got != tc.colour {
			t.Errorf("--color %s, %v: coloured %v", tc.color, tc.env, got)
		}
	}
}

func TestTextFromOutsideCannotSteerTheTerminal(t *testing.T) {
	for in, want := range map[string]string{
		"plain ünï":         "plain ünï",
		"a\x1b[31mb":        `a\x1b[31mb`,
		"two\nlines\r\ttab": `two\nlines\x0d\ttab`,
		"bidi \u202e\u2066": `bidi \u202e\u2066`,
		"c1 \u009b \xff":    `c1 \u009b \xff`,
	} {
		if got := report.Escape(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

type brokenPipe struct{ writes int }

func (b *brokenPipe) Write([]byte) (int, error) { b.writes++; return 0, errors.New("broken pipe") }

func TestAfterABrokenPipeNothingMoreIsWritten(t *testing.T) {
	out, talk := &brokenPipe{}, &brokenPipe{}
	p := report.New(report.Options{Out: out, Err: talk})
	p.Error("one")
	p.Error("two")
	if p.Broken() != nil || talk.writes != 1 {
		t.Errorf("stderr: broken %v, %d writes", p.Broken(), talk.writes)
	}
	_, _ = p.Out("one"), p.Out("two")
	if p.Broken() == nil || out.writes != 1 {
		t.Errorf("stdout: broken %v, %d writes", p.Broken(), out.writes)
	}
}

func TestAProductThatDoesNotFitIsCutBack(t *testing.T) {
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "out"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("before\n"); err != nil {
		t.Fatal(err)
	}
	// The kernel takes what fits, and refuses the rest with EFBIG.
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1024, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	p := report.New(report.Options{Out: f, Err: &bytes.Buffer{}})
	outErr := p.Out(strings.Repeat("x", 4096))
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	data, _ := os.ReadFile(f.Name())
	if outErr == nil || string(data) != "before\n" {
		t.Errorf("error %v, file %q", outErr, data)
	}
}

func TestTable(t *testing.T) {
	got := report.Table([][]string{{"a", "bb"}, {"cccc", "d"}})
	if got != "a     bb\ncccc  d\n" {
		t.Errorf("%q", got)
	}
}

func FuzzEscape(f *testing.F) {
	f.Add("\x1b]0;title\x07")
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range report.Escape(s) {
			if r < 0x20 || r >= 0x7f && r < 0xa0 {
				t.Errorf("%q: %q came through", s, r)
			}
		}
	})
}

func TestAnObjectIsOneLineThatCannotSteerTheTerminal(t *testing.T) {
	p, out, _ := printer(report.Options{Quiet: true})
	in := map[string]string{"text": "a&b <ünï>\nnext \x1b[2J \x7f \u009b31m \u202e \u2028 \U000e0041 \U0001f600"}
	if err := p.Object(in); err != nil {
		t.Fatal(err)
	}
	want := `{"text":"a&b <ünï>\nnext \u001b[2J \u007f \u009b31m \u202e \u2028 \udb40\udc41 ` + "\U0001f600" + "\"}\n"
	if out.String() != want {
		t.Errorf("got  %s\nwant %s", out, want)
	}
	var back map[string]string
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || back["text"] != in["text"] {
		t.Errorf("%v: %q", err, back["text"])
	}
}
