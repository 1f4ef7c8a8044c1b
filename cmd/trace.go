package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"arid/acme"
	"arid/hooks"
)

// tracer writes what --trace asks for, a line of JSON each, to be pasted into a bug
// report. It is safe for concurrent use.
type tracer struct {
	hide *strings.Replacer // what is no secret to the CA, which may repeat it
	warn func(text string)

	mu     sync.Mutex
	file   *os.File
	headed bool  // the first line is written
	broken error // the first failed write; nothing is written after it
}

// traceHead is the first line of a run.
type traceHead struct {
	Schema   int    `json:"schema"`
	Time     string `json:"time"`
	Arid     string `json:"arid"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	CA       string `json:"ca,omitempty"`
}

// traceRequest is an HTTP request and its reply.
type traceRequest struct {
	Schema        int     `json:"schema"`
	Time          string  `json:"time"`
	Request       string  `json:"request"`
	Method        string  `json:"method"`
	URL           string  `json:"url"`
	Duration      float64 `json:"duration"`
	Status        int     `json:"status,omitempty"`
	Sent          int     `json:"sent,omitempty"`
	Received      int     `json:"received,omitempty"`
	NewConnection bool    `json:"new_connection,omitempty"`
	Protocol      string  `json:"protocol,omitempty"`
	RetryAfter    string  `json:"retry_after,omitempty"`
	Location      string  `json:"location,omitempty"`
	Problem       string  `json:"problem,omitempty"`
	Detail        string  `json:"detail,omitempty"`
	Error         string  `json:"error,omitempty"`
}

// traceHook is a call of the user's program.
type traceHook struct {
	Schema    int     `json:"schema"`
	Time      string  `json:"time"`
	Hook      string  `json:"hook"`
	Program   string  `json:"program"`
	Arguments int     `json:"arguments"`
	Duration  float64 `json:"duration"`
	Status    int     `json:"status"`
	Signal    string  `json:"signal,omitempty"`
	Error     string  `json:"error,omitempty"`
}

// openTrace opens the file of --trace, before anything else is done.
func (a *app) openTrace() error {
	switch a.traceFile {
	case "":
		return nil
	case "-":
		return &usageError{what: "--trace: \"-\" is no file", hint: "stdout is for the product and stderr for talk; /dev/stderr would mix the trace with that"}
	}
	path := a.abs(a.traceFile)
	// A named pipe that nobody reads is an error, and no wait without an end.
	flags := os.O_WRONLY | os.O_APPEND | os.O_CREATE | syscall.O_NONBLOCK
	if a.othersWriteIn(filepath.Dir(path)) {
		flags |= syscall.O_NOFOLLOW
	}
	file, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return fmt.Errorf("--trace: %w", err)
	}
	a.trace = &tracer{file: file, hide: strings.NewReplacer(), warn: a.report.Warning}
	return nil
}

// traceCA writes the first line of a run that may ask a CA. What cannot be written
// ends it before that.
func (a *app) traceCA(ca string) error {
	if a.trace == nil {
		return nil
	}
	if kid := a.settings.Value("EAB_KID"); kid != "" {
		a.trace.hide = strings.NewReplacer(kid, "…")
	}
	a.trace.warn = func(string) {} // it is told as an error
	a.trace.begin(ca)
	a.trace.warn = a.report.Warning
	return a.trace.broken
}

// begin writes the first line of a run, once.
func (t *tracer) begin(ca string) {
	if t.headed {
		return
	}
	t.headed = true
	t.write(traceHead{Schema: 1, Time: traceTime(time.Now()), Arid: version, Go: runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH, CA: ca})
}

// othersWriteIn says whether somebody else could put a link into the directory.
func (a *app) othersWriteIn(dir string) bool {
	info, err := os.Stat(dir)
	if err != nil {
		return false
	}
	owner, known := info.Sys().(*syscall.Stat_t)
	return info.Mode().Perm()&0o022 != 0 || known && owner.Uid != 0 && int(owner.Uid) != a.UID
}

// exchange writes a line for a request to the CA. What acme tells of it has no secrets.
func (t *tracer) exchange(x acme.Exchange) {
	line := traceRequest{
		Schema: 1, Time: traceTime(x.Began), Request: x.What, Method: x.Method, URL: x.URL,
		Duration: x.Duration.Round(time.Microsecond).Seconds(), Status: x.Status, Sent: x.Sent, Received: x.Received,
		NewConnection: x.NewConnection, Protocol: x.Protocol, RetryAfter: x.RetryAfter,
		Location: x.Location, Problem: x.ProblemType, Detail: t.hide.Replace(x.ProblemDetail),
	}
	if x.Err != nil {
		line.Error = t.hide.Replace(x.Err.Error())
	}
	t.write(line)
}

// hook writes a line for a hook call.
func (t *tracer) hook(c hooks.Call) {
	line := traceHook{Schema: 1, Time: traceTime(c.Began), Hook: c.Event, Program: c.Program, Arguments: c.Arguments,
		Duration: c.Duration.Round(time.Microsecond).Seconds()}
	if exit, ok := errors.AsType[*hooks.ExitError](c.Err); ok {
		line.Status = exit.Status
		if exit.Signal != 0 {
			line.Signal = unix.SignalName(exit.Signal)
		}
	} else if c.Err != nil {
		line.Error = t.hide.Replace(c.Err.Error())
	}
	t.write(line)
}

// client is for what lies beside the CA, such as its OCSP responder.
func (t *tracer) client(transport http.RoundTripper) *http.Client {
	return &http.Client{Transport: &tracedTransport{transport, t}}
}

type tracedTransport struct {
	http.RoundTripper
	trace *tracer
}

func (t *tracedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	x := acme.Exchange{What: "beside the CA", Method: r.Method, URL: r.URL.String(), Began: time.Now(), Sent: int(max(r.ContentLength, 0))}
	response, err := t.RoundTripper.RoundTrip(r)
	if x.Duration, x.Err = time.Since(x.Began), err; err == nil {
		x.Status, x.Protocol, x.Received = response.StatusCode, response.Proto, int(max(response.ContentLength, 0))
	}
	t.trace.exchange(x)
	return response, err
}

// write appends one line, whole. A file that takes no more is told once, and does not
// stop the run; it ends with the status for that.
func (t *tracer) write(line any) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false) // & stands in URLs
	err := e.Encode(line)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.broken != nil {
		return
	}
	if err == nil {
		_, err = t.file.Write(text.Bytes())
	}
	if err != nil {
		t.broken = fmt.Errorf("--trace: %w", err)
		t.warn(t.broken.Error())
	}
}

// close is the first error met in writing, if any.
func (t *tracer) close() error {
	if t == nil {
		return nil
	}
	t.begin("")
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.file.Close()
	if t.broken == nil && err != nil {
		t.broken = fmt.Errorf("--trace: %w", err)
		t.warn(t.broken.Error())
	}
	return t.broken
}

// traceTime is a moment, to the millisecond.
func traceTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }
