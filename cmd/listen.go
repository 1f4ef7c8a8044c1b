package cmd

import (
	"context"
	"fmt"
	"net"
	"sync"

	"arid/internal/guard"
	"arid/issue"
	"arid/respond"
)

// listening answers the CA on sockets of arid's own, those of LISTEN, while something
// is ordered. Without LISTEN it does nothing.
type listening struct {
	*app
	addrs  []string
	proofs respond.Proofs

	mu     sync.Mutex
	begun  bool
	err    error              // to begin
	stop   context.CancelFunc // nil where nothing is open
	serves sync.WaitGroup
}

// check finds what is no address.
func (l *listening) check() error {
	for _, addr := range l.addrs {
		if err := respond.CheckAddr(addr); err != nil {
			return l.settings.Wrong("LISTEN", err)
		}
	}
	return nil
}

// fill lets a request be answered from memory. Directories are for servers of the
// user's: one counts that stands on the command line, or where LISTEN stands.
func (l *listening) fill(r *issue.Request) {
	if len(l.addrs) == 0 {
		return
	}
	counts := func(setting string) bool {
		kind := l.settings.Origin(setting).Kind
		return kind == "flag" || kind == l.settings.Origin("LISTEN").Kind
	}
	r.Proofs, r.Listen, r.ListenOn = &l.proofs, l.begin, l.addrs
	if !counts("WELLKNOWN") {
		r.WellKnown = ""
	}
	if !counts("ALPNCERTDIR") {
		r.ALPNDir = ""
	}
}

// begin opens the sockets before the first order. That is after startup_hook, which may
// stop a server that has the port.
func (l *listening) begin(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.begun {
		l.begun, l.err = true, l.open(ctx)
	}
	return l.err
}

// open opens the sockets and answers. After an error none is open.
func (l *listening) open(ctx context.Context) error {
	var listeners []net.Listener
	for _, addr := range l.addrs {
		opened, err := respond.Listen(ctx, addr)
		if err != nil {
			closeAll(listeners)
			return err
		}
		listeners = append(listeners, opened)
		l.report.Step(fmt.Sprintf("listens on %s", opened.Addr()))
	}
	// A run that is told to end closes them when it has cleaned up.
	ctx, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	l.serves.Go(func() {
		err := guard.Run(func() error {
			return respond.Serve(ctx, listeners, respond.Options{Proofs: &l.proofs, Tell: l.tell})
		})
		if err != nil {
			l.report.Warning(err.Error())
		}
	})
	return nil
}

// end closes the sockets, once nothing is ordered any more: before exit_hook, which may
// start that server again.
func (l *listening) end() {
	if l.stop != nil {
		l.stop()
		l.serves.Wait()
		l.stop = nil
	}
}

// tell is tellAnswer, but for strangers who speak the PROXY protocol: cron has nothing
// to do about them.
func (l *listening) tell(text string, trouble error) {
	if is[*respond.ProxyError](trouble) {
		trouble = nil
	}
	l.tellAnswer(text, trouble)
}

// tellAnswer tells what became of a connection.
func (a *app) tellAnswer(text string, trouble error) {
	if trouble != nil {
		a.report.Warning(text)
		return
	}
	a.report.Step(text)
}
