package cmd

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/spf13/cobra"

	"arid/internal/guard"
	"arid/issue"
	"arid/respond"
)

// listening answers the CA on sockets of arid's own, those of --listen, while something
// is ordered. Without --listen it does nothing.
type listening struct {
	*app
	addrs  []string
	proofs respond.Proofs

	stop   context.CancelFunc // nil until it has begun
	serves sync.WaitGroup
}

func listenFlag(c *cobra.Command, addrs *[]string) {
	c.Flags().StringArrayVar(addrs, "listen", nil, "answer http-01 and tls-alpn-01 on `ADDR`, as :80 or [fe80::1%eth0]:443, while it lasts; may be repeated")
}

// check finds what is no address.
func (l *listening) check() error {
	for _, addr := range l.addrs {
		if err := respond.CheckAddr(addr); err != nil {
			return listenTrouble(err)
		}
	}
	return nil
}

// fill lets a request be answered from memory. Directories are for servers of the
// user's, so that only those count that stand on the command line too.
func (l *listening) fill(r *issue.Request) {
	if len(l.addrs) == 0 {
		return
	}
	r.Proofs = &l.proofs
	if l.settings.Origin("WELLKNOWN").Kind != "flag" {
		r.WellKnown = ""
	}
	if l.settings.Origin("ALPNCERTDIR").Kind != "flag" {
		r.ALPNDir = ""
	}
}

// begin opens the sockets and answers. After an error none is open.
func (l *listening) begin(ctx context.Context) error {
	var listeners []net.Listener
	for _, addr := range l.addrs {
		opened, err := respond.Listen(ctx, addr)
		if err != nil {
			closeAll(listeners)
			return listenTrouble(err)
		}
		listeners = append(listeners, opened)
		l.report.Step(fmt.Sprintf("listens on %s", opened.Addr()))
	}
	if len(listeners) == 0 {
		return nil
	}
	// A run that is told to end closes them when it has cleaned up.
	ctx, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	l.serves.Go(func() {
		err := guard.Run(func() error {
			return respond.Serve(ctx, listeners, respond.Options{Proofs: &l.proofs, Tell: l.tellAnswer})
		})
		if err != nil {
			l.report.Warning("--listen: " + err.Error())
		}
	})
	return nil
}

// end closes the sockets, once nothing is ordered any more.
func (l *listening) end() {
	if l.stop != nil {
		l.stop()
		l.serves.Wait()
		l.stop = nil
	}
}

// tellAnswer tells what became of a connection.
func (a *app) tellAnswer(text string, trouble error) {
	if trouble != nil {
		a.report.Warning(text)
		return
	}
	a.report.Step(text)
}
