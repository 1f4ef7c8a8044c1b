package rehearse

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"

	"arid/challenge"
	"arid/internal/guard"
	"arid/issue"
	"arid/respond"
)

// startAnswers starts what the request's names need and o has no port for, and
// writes the ports into o. stop ends it all, after an error too.
func startAnswers(ctx context.Context, o *CAOptions, r *issue.Request) (stop func(), err error) {
	var serving sync.WaitGroup
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop = func() {
		cancel()
		serving.Wait()
	}
	for _, a := range []struct {
		typ, dir string
		port     *int
		serve    func(ctx context.Context, l net.Listener, dir string) error
	}{
		{challenge.HTTP01, r.WellKnown, &o.HTTPPort, respond.ServeHTTP01},
		{challenge.TLSALPN01, r.ALPNDir, &o.TLSPort, respond.ServeTLSALPN01},
	} {
		if *a.port != 0 || !r.Types.Uses(a.typ, r.Names) {
			continue
		}
		listeners, err := listen(ctx, r.Names)
		if err != nil {
			return stop, fmt.Errorf("listen for %s: %w", a.typ, err)
		}
		*a.port = listeners[0].Addr().(*net.TCPAddr).Port
		for _, l := range listeners {
			serving.Go(func() {
				_ = guard.Run(func() error { return a.serve(ctx, l, a.dir) })
			})
		}
	}
	return stop, nil
}

// listen takes one free port at 127.0.0.1, where the names are, and at the other
// loopback addresses among them, where the CA goes without asking the DNS.
func listen(ctx context.Context, names []string) ([]net.Listener, error) {
	addresses := []string{"127.0.0.1"}
	for _, name := range names {
		if ip, err := netip.ParseAddr(name); err == nil && ip.IsLoopback() && !slices.Contains(addresses, name) {
			addresses = append(addresses, name)
		}
	}
	for tries := 1; ; tries++ {
		all, err := listenAt(ctx, addresses)
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) || tries == 10 {
			return all, err
		}
	}
}

func listenAt(ctx context.Context, addresses []string) (all []net.Listener, err error) {
	var config net.ListenConfig
	port := "0"
	for _, address := range addresses {
		l, err := config.Listen(ctx, "tcp", net.JoinHostPort(address, port))
		if err != nil {
			for _, l := range all {
				l.Close()
			}
			return nil, err
		}
		all = append(all, l)
		_, port, _ = net.SplitHostPort(l.Addr().String())
	}
	return all, nil
}
