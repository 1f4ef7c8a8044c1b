package respond

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"arid/internal/atomicfile"
	"arid/internal/guard"
)

// prefix is where a CA looks for http-01 answers (RFC 8555 §8.3).
const prefix = "/.well-known/acme-challenge/"

// maxAnswer bounds one answer in bytes. A key authorization is a token and a
// SHA-256 thumbprint, some 90 bytes; whatever is larger is not one.
const maxAnswer = 4096

// HTTP01 answers GET and HEAD of /.well-known/acme-challenge/TOKEN with the
// regular file TOKEN in dir, if that holds a key authorization for it, whatever the
// request's Host. All else is 404: other paths and methods, names that are no
// token, missing, unreadable and other files, symlinks, FIFOs. An answer holds
// nothing of the request. dir is opened for each request, so that it may be
// made or replaced while the handler serves.
func HTTP01(dir string) http.Handler {
	read := func(token string) ([]byte, error) { return readToken(dir, token) }
	return http01(read, func(string, error) {})
}

// http01 is HTTP01 for what read gives, and tells which token was asked for, "" for none, and what
// kept it from being answered.
func http01(read func(token string) ([]byte, error), tell func(token string, err error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The path as it was sent: a token needs no escapes, so one that has
		// some fails the grammar instead of being decoded into it.
		token, under := strings.CutPrefix(r.URL.EscapedPath(), prefix)
		if !under || !isToken(token) || (r.Method != http.MethodGet && r.Method != http.MethodHead) {
			tell("", errNoChallenge)
			http.Error(w, "not found", http.StatusNotFound)
			return
		}
		answer, err := read(token)
		tell(token, err)
		if err != nil {
			http.Error(w, "not found", http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream") // as RFC 8555 §8.3 has it
		w.Header().Set("Content-Length", fmt.Sprint(len(answer)))
		w.Write(answer) // net/http leaves the body of a HEAD out
	})
}

var errNoChallenge = errors.New("does not ask for a challenge")

// isToken tells whether s is a challenge token as we accept it: base64url
// without padding (RFC 8555 §8.3), 16 to 256 characters.
func isToken(s string) bool {
	return len(s) >= 16 && len(s) <= 256 && strings.Trim(s, base64url) == ""
}

const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// token is the answer to a token. What is no fault of who asks is a *DirError.
func (r *responder) token(token string) ([]byte, error) {
	if keyAuth, found := r.Proofs.token(token); found {
		return []byte(keyAuth), nil
	}
	if r.HTTP == "" {
		return nil, fs.ErrNotExist
	}
	return readToken(r.HTTP, token)
}

// readToken reads the regular file token in dir. It follows no symlink at that
// name and never waits for a FIFO's writer. What is no fault of who asks is a
// *DirError.
func readToken(dir, token string) ([]byte, error) {
	root, err := atomicfile.OpenDir(dir)
	if err != nil {
		return nil, &DirError{Type: "http-01", Name: token, Dir: dir, Err: err}
	}
	defer root.Close()
	data, err := readIn(root, token)
	if fault(err) {
		return nil, &DirError{Type: "http-01", Name: token, Dir: dir, Err: err}
	}
	return data, err
}

func readIn(root *os.Root, token string) ([]byte, error) {
	seen, err := root.Lstat(token)
	if err != nil {
		return nil, err
	}
	if !seen.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: token, Err: atomicfile.ErrNotRegular}
	}
	f, err := root.OpenFile(token, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// os.Root follows links that stay inside it, so one put here since Lstat
	// shows as another file.
	opened, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !os.SameFile(seen, opened) {
		return nil, errors.New("replaced while being opened")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxAnswer {
		return nil, errors.New("larger than a key authorization can be")
	}
	if !isKeyAuthorization(string(data), token) {
		return nil, errors.New("the file is no key authorization for it")
	}
	return data, nil
}

// isKeyAuthorization tells whether text is token, a dot and a thumbprint (RFC 8555
// §8.1), perhaps with white space after it: whatever else lies in the directory is
// nobody's business.
func isKeyAuthorization(text, token string) bool {
	thumbprint, begins := strings.CutPrefix(strings.TrimRight(text, " \t\r\n"), token+".")
	return begins && thumbprint != "" && strings.Trim(thumbprint, base64url) == ""
}

// ServeHTTP01 is Serve for http-01 alone, on one listener.
func ServeHTTP01(ctx context.Context, l net.Listener, dir string) error {
	return Serve(ctx, []net.Listener{l}, Options{HTTP: dir})
}

// http answers the one request that a connection is worth. Slow and large ones
// are cut off: 5 s for the header, 8 KiB of it, 10 s for the request and 10 s for
// the answer.
func (r *responder) http(p *peer) (trouble error) {
	// The handler has ended when the connection is closed, and that is waited for.
	closed := &closing{peer: p, done: make(chan struct{})}
	s := &http.Server{
		Handler: guarded(&trouble, http01(r.token, func(token string, err error) {
			trouble = r.toldHTTP(p, token, err)
		})),
		DisableGeneralOptionsHandler: true, // "OPTIONS *" is 404 as all else is
		ReadHeaderTimeout:            5 * time.Second,
		ReadTimeout:                  10 * time.Second,
		WriteTimeout:                 10 * time.Second,
		MaxHeaderBytes:               8 << 10,
		ErrorLog:                     log.New(io.Discard, "", 0), // peers' mistakes are no concern of ours
	}
	s.SetKeepAlivesEnabled(false)
	s.Serve(&single{conn: closed})
	return trouble
}

// guarded is a handler whose bugs become a trouble: net/http would keep them to itself.
func guarded(trouble *error, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := guard.Run(func() error {
			h.ServeHTTP(w, r)
			return nil
		})
		if err != nil {
			*trouble = err
			panic(http.ErrAbortHandler)
		}
	})
}

// toldHTTP says what became of a request; what is no fault of the peer's is
// returned.
func (r *responder) toldHTTP(p *peer, token string, err error) error {
	var ours *DirError
	switch {
	case err == nil:
		r.tell(p, "http-01: answered %q", token)
	case token == "":
		r.tell(p, "http-01: refused: %v", err)
	case errors.As(err, &ours):
		return ours
	case errors.Is(err, fs.ErrNotExist):
		r.tell(p, "http-01: refused %q: there is no such token", token)
	default:
		r.tell(p, "http-01: refused %q: %v", token, err)
	}
	return nil
}
