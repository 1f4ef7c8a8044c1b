package cmd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/syslog"
	"net"
	"os"

	"github.com/spf13/cobra"

	"arid/internal/atomicfile"
	"arid/report"
	"arid/respond"
)

type respondFlags struct {
	options     respond.Options // ALPN, HTTP and Backend are set by flags
	listen      []string
	sendProxy   string
	proxy       string
	proxyFrom   []string
	fallback    [2]string // certificate and key
	user, group string
}

func (a *app) respondCommand() *cobra.Command {
	var f respondFlags
	c := &cobra.Command{
		Use:   "respond --alpn DIR | --http DIR",
		Short: "answer tls-alpn-01 and http-01 from the directories that sign fills",
		Long: `Answers a CA's validations from the directories that "arid sign" fills: tls-alpn-01
from --alpn, http-01 from --http. With --listen it does so until it gets TERM. Without,
it takes the sockets that systemd passes, or answers on descriptor 0, which is one
connection under tcpserver, s6 and inetd. Other connections are refused, or
forwarded untouched to --backend.

It reads no settings. It says nothing but what is wrong on this host; with -v a line
for each connection.`,
		Example: `  arid respond --alpn /var/lib/arid/alpn --listen :10443 --user nobody --group www-data
  arid respond --alpn /var/lib/arid/alpn --listen :443 --backend 127.0.0.1:8443
  arid respond --alpn /var/lib/arid/alpn --listen 127.0.0.1:10443 --proxy-from 127.0.0.1
  tcpserver -u 65534 -g 33 0 10443 arid respond --alpn /var/lib/arid/alpn`,
		GroupID:           groupChallenges,
		Args:              noArguments,
		RunE:              func(c *cobra.Command, _ []string) error { return a.respond(c, &f) },
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := c.Flags()
	flags.StringVar(&f.options.ALPN, "alpn", "", "answer tls-alpn-01 with the certificates in `DIR`")
	flags.StringVar(&f.options.HTTP, "http", "", "answer http-01 with the tokens in `DIR`")
	flags.StringArrayVar(&f.listen, "listen", nil, "listen on `ADDR`, as :443, 192.0.2.1:443 or [fe80::1%eth0]:443; may be repeated")
	flags.StringVar(&f.options.Backend, "backend", "", "forward what is no challenge to `HOST:PORT`, untouched")
	flags.StringVar(&f.sendProxy, "send-proxy", "", "begin what is forwarded with a PROXY header of `VERSION` v1 or v2")
	flags.StringArrayVar(&f.proxyFrom, "proxy-from", nil, "take PROXY headers from `CIDR`, an address or \"unix\", and from nobody else; may be repeated")
	flags.StringVar(&f.proxy, "proxy-protocol", "require", "what those of --proxy-from do, by `WORD`: require (they must send a header), accept (they may), off")
	flags.StringVar(&f.fallback[0], "fallback-cert", "", "show the certificate in `FILE` for names that have none, instead of an alert")
	flags.StringVar(&f.fallback[1], "fallback-key", "", "its key, in `FILE`")
	words := func(flag string, words ...string) {
		_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
	words("send-proxy", "v1", "v2")
	words("proxy-protocol", "require", "accept", "off")
	flags.StringVar(&f.user, "user", "", "once it listens, become `USER`, with that user's groups")
	flags.StringVar(&f.group, "group", "", "once it listens, be of `GROUP` first of all")
	return c
}

func (a *app) respond(c *cobra.Command, f *respondFlags) (err error) {
	a.leaveConnection()
	if err := f.check(); err != nil {
		return err
	}
	user, err := respond.FindUser(f.user, f.group)
	if err != nil {
		return &usageError{what: err.Error()}
	}
	// Before privileges are given up: the key may be root's.
	if f.options.Fallback, err = a.readFallback(f); err != nil {
		return err
	}
	listeners, connection, err := a.sockets(c, f.listen)
	if err != nil {
		return err
	}
	defer closeAll(listeners)
	if err := f.checkLoop(listeners); err != nil {
		return err
	}
	if err := user.Become(); err != nil {
		return err
	}
	f.options.Tell = a.tellAnswer
	if connection != nil {
		return a.respondOnce(c, connection, f.options)
	}
	if err := a.checkDirs(f.options); err != nil {
		return err
	}
	for _, l := range listeners {
		a.report.Step(fmt.Sprintf("listens on %s", l.Addr()))
	}
	// The end by a signal is the usual one, and no error.
	return respond.Serve(c.Context(), listeners, f.options)
}

// check looks at the flags alone, and fills the options.
func (f *respondFlags) check() error {
	o := &f.options
	var err error
	switch {
	case o.ALPN == "" && o.HTTP == "":
		return &usageError{what: "nothing to answer with", hint: "--alpn DIR, --http DIR, or both"}
	case (f.fallback[0] == "") != (f.fallback[1] == ""):
		return &usageError{what: "--fallback-cert and --fallback-key belong together"}
	case f.fallback[0] != "" && o.ALPN == "":
		return &usageError{what: "--fallback-cert is for tls-alpn-01, and there is no --alpn"}
	case f.sendProxy != "" && o.Backend == "":
		return &usageError{what: "--send-proxy is for what goes to a --backend, and there is none"}
	}
	if o.Backend != "" {
		if host, port, err := net.SplitHostPort(o.Backend); err != nil || host == "" || port == "" {
			return &usageError{what: fmt.Sprintf("--backend: %q is not HOST:PORT", o.Backend)}
		}
	}
	switch f.sendProxy {
	case "":
	case "v1":
		o.SendProxy = 1
	case "v2":
		o.SendProxy = 2
	default:
		return &usageError{what: fmt.Sprintf("--send-proxy: %q is neither v1 nor v2", f.sendProxy)}
	}
	if o.ProxyFrom, err = respond.ParsePeers(f.proxyFrom); err != nil {
		return &usageError{what: "--proxy-from: " + err.Error()}
	}
	switch f.proxy {
	case "require":
	case "accept":
		o.ProxyOptional = true
	case "off":
		o.ProxyFrom = respond.Peers{}
	default:
		return &usageError{what: fmt.Sprintf("--proxy-protocol: %q is none of require, accept, off", f.proxy)}
	}
	if o.ProxyOptional && len(f.proxyFrom) == 0 {
		return &usageError{what: "--proxy-protocol accept: from whom?", hint: "--proxy-from CIDR names those who are believed"}
	}
	return nil
}

func (a *app) readFallback(f *respondFlags) (*tls.Certificate, error) {
	if f.fallback[0] == "" {
		return nil, nil
	}
	var data [2][]byte
	for i, flag := range []string{"--fallback-cert", "--fallback-key"} {
		var err error
		if data[i], err = a.readInput(f.fallback[i], 64<<10); err != nil {
			return nil, &inputError{flag, err}
		}
	}
	pair, err := tls.X509KeyPair(data[0], data[1])
	if err != nil {
		return nil, &inputError{fmt.Sprintf("--fallback-cert %q, --fallback-key %q", f.fallback[0], f.fallback[1]), err}
	}
	return &pair, nil
}

// sockets are those of --listen and of systemd, or the one connection there is.
func (a *app) sockets(c *cobra.Command, addrs []string) ([]net.Listener, net.Conn, error) {
	listeners, connection, err := respond.Activated()
	if err != nil {
		return nil, nil, &inputError{"socket activation", err}
	}
	if connection != nil && len(addrs) > 0 {
		return nil, nil, &usageError{what: "--listen, and a connection of systemd's: one of them too many"}
	}
	for _, addr := range addrs {
		l, err := respond.Listen(c.Context(), addr)
		if err != nil {
			closeAll(listeners)
			return nil, nil, listenTrouble(err)
		}
		listeners = append(listeners, l)
	}
	if listeners != nil || connection != nil {
		return listeners, connection, nil
	}
	l, connection, err := respond.Standard(a.Stdin)
	switch {
	case errors.Is(err, respond.ErrNoSocket):
		return nil, nil, &usageError{what: "no --listen, and no connection on descriptor 0", hint: "--listen ADDR; or start it by tcpserver, inetd, s6 or systemd"}
	case err != nil:
		return nil, nil, &inputError{"descriptor 0", err}
	case l != nil:
		return []net.Listener{l}, nil, nil
	}
	return nil, connection, nil
}

// listenTrouble makes a mistake of what is no address.
func listenTrouble(err error) error {
	if is[*respond.AddrError](err) {
		return &usageError{what: "--listen: " + err.Error()}
	}
	return err
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		l.Close()
	}
}

// checkLoop refuses a backend that is ourselves.
func (f *respondFlags) checkLoop(listeners []net.Listener) error {
	backend, err := net.ResolveTCPAddr("tcp", f.options.Backend)
	if f.options.Backend == "" || err != nil {
		return nil // it may be there when somebody comes
	}
	for _, l := range listeners {
		at, ok := l.Addr().(*net.TCPAddr)
		all := ok && at.IP.IsUnspecified() && backend.IP.IsLoopback() && (at.IP.To4() == nil || backend.IP.To4() != nil) // [::] may be both families
		if ok && at.Port == backend.Port && (all || at.IP.Equal(backend.IP)) {
			return &usageError{what: fmt.Sprintf("--backend %s is where arid itself listens", f.options.Backend), hint: "let the server behind it have another port or address"}
		}
	}
	return nil
}

// checkDirs finds, as the user that answers, what would keep each answer back. A
// directory that is missing may come yet: sign makes it.
func (a *app) checkDirs(o respond.Options) error {
	for flag, dir := range map[string]string{"--alpn": o.ALPN, "--http": o.HTTP} {
		if dir == "" {
			continue
		}
		d, err := atomicfile.OpenDir(dir)
		switch {
		case err == nil:
			d.Close()
		case errors.Is(err, fs.ErrNotExist):
			a.report.Warning(fmt.Sprintf("%s %q does not exist; nothing is answered until it does", flag, dir))
		case errors.Is(err, fs.ErrPermission):
			return fmt.Errorf("%s %q cannot be read by user %d: %w", flag, dir, os.Geteuid(), fs.ErrPermission)
		default:
			return a.ended(statusConfig, fmt.Errorf("%s %q: %w", flag, dir, cause(err)))
		}
	}
	return nil
}

// cause leaves out what was done to which file.
func cause(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// respondOnce answers on one connection. Only what is wrong on this host makes it
// fail.
func (a *app) respondOnce(c *cobra.Command, connection net.Conn, o respond.Options) error {
	err := respond.One(c.Context(), connection, o)
	switch {
	case is[*respond.BackendError](err):
		return a.ended(statusLater, err)
	case is[*respond.DirError](err) && !errors.Is(err, fs.ErrPermission), is[*respond.ProxyError](err):
		return a.ended(statusConfig, err)
	}
	return err
}

// ended tells an error that ends the run with this status.
func (a *app) ended(status int, err error) error {
	a.report.Error(err.Error())
	return &toldError{status}
}

// leaveConnection keeps what is said for people off a connection: tcpserver has it on
// descriptor 1 too, and inetd on 2, so that the system's log is left.
func (a *app) leaveConnection() {
	out, talk := a.Stdout, a.Stderr
	if sameSocket(a.Stdin, out) {
		out = io.Discard
	}
	if sameSocket(a.Stdin, talk) {
		talk = io.Discard
		if log, err := syslog.New(syslog.LOG_DAEMON|syslog.LOG_NOTICE, "arid"); err == nil {
			talk = log
		}
	}
	if out != a.Stdout || talk != a.Stderr {
		a.report = report.New(report.Options{Out: out, Err: talk, Color: "never", Quiet: a.quiet, Verbose: a.verbose})
	}
}

// sameSocket tells whether both are the same socket.
func sameSocket(in, out any) bool {
	one, ok := in.(*os.File)
	if !ok {
		return false
	}
	other, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := one.Stat()
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return false
	}
	same, err := other.Stat()
	return err == nil && os.SameFile(info, same)
}
