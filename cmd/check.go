package cmd

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"arid/certs"
	"arid/config"
	"arid/probe"
	"arid/report"
)

type checkFlags struct {
	name     string
	cert     string
	startTLS string
	dns      bool
}

func (a *app) checkCommand() *cobra.Command {
	var f checkFlags
	c := &cobra.Command{
		Use:   "check HOST:PORT… | --dns NAME…",
		Short: "is the certificate on disk the one that is served? could a CA validate the names?",
		Long: `Looks at every address of HOST, and prints what is served there and what is on
disk. Status 0 if it is the same, 1 if not, 75 if nobody answers. With --dns it looks
at names as a CA would before a certificate is ordered, by the challenge of the
settings. Nobody else is asked.`,
		Example: `  arid check www.example.org:443
  arid check mail.example.org:25/smtp mail.example.org:143/imap
  arid check '[2001:db8::7]:443' --name www.example.org
  arid check localhost:443 --cert /etc/lighttpd/www.pem
  arid check --dns www.example.org example.org`,
		GroupID: groupDeploy,
		Args:    cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, words []string) error {
			if f.dns {
				return a.checkDNS(c, &f, words)
			}
			return a.check(c, &f, words)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := c.Flags()
	flags.StringVar(&f.name, "name", "", "ask for `NAME` (SNI) instead of HOST, and look for its certificate on disk")
	flags.StringVar(&f.cert, "cert", "", "what is on disk is `FILE`, not a certificate of the tree")
	flags.StringVar(&f.startTLS, "starttls", "", "begin TLS as `PROTOCOL` does, smtp or imap: as /smtp and /imap behind the port")
	flags.BoolVar(&f.dns, "dns", false, "look at the names as a CA would")
	settingFlags(c, "CERTDIR", "CHALLENGETYPE", "WELLKNOWN", "DNS_RESOLVER")
	flags.Lookup("out").Usage = "look for the certificate in `DIR` instead of CERTDIR"
	flags.BoolP("ipv4", "4", false, "look at IPv4 addresses only")
	flags.BoolP("ipv6", "6", false, "look at IPv6 addresses only")
	_ = c.MarkFlagFilename("cert")
	_ = c.RegisterFlagCompletionFunc("starttls", cobra.FixedCompletions([]string{probe.StartSMTP, probe.StartIMAP}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (a *app) check(c *cobra.Command, f *checkFlags, words []string) error {
	targets, err := f.targets(words)
	if err != nil {
		return err
	}
	if err := a.load(c, "check", nil); err != nil {
		return err
	}
	disk, err := a.onDisk(f.cert)
	if err != nil {
		return err
	}
	if f.name != "" {
		if f.name, err = sniName(f.name); err != nil {
			return err
		}
	}
	worst := &verdicts{}
	for _, target := range targets {
		if err := a.checkTarget(c.Context(), target, f.name, disk, worst); err != nil {
			return err
		}
	}
	return worst.error()
}

func (f *checkFlags) targets(words []string) ([]probe.Target, error) {
	if len(words) == 0 {
		return nil, &usageError{what: "no HOST:PORT given", hint: "arid check www.example.org:443"}
	}
	if f.startTLS != "" && f.startTLS != probe.StartSMTP && f.startTLS != probe.StartIMAP {
		return nil, &usageError{what: fmt.Sprintf("--starttls: %q is neither smtp nor imap", f.startTLS)}
	}
	var all []probe.Target
	for _, word := range words {
		target, err := parseTarget(word)
		if err != nil {
			return nil, &usageError{what: err.Error(), hint: "such as www.example.org:443, [2001:db8::7]:443, mail.example.org:25/smtp; arid check --dns NAME looks at names"}
		}
		target.StartTLS = cmp.Or(target.StartTLS, f.startTLS)
		all = append(all, target)
	}
	return all, nil
}

// parseTarget reads HOST:PORT, in which the host may have other letters than a
// server is told.
func parseTarget(word string) (probe.Target, error) {
	target, err := probe.ParseTarget(word)
	if err != nil {
		return target, err
	}
	if _, err := netip.ParseAddr(target.Host); err != nil {
		if name, err := config.CanonicalName(target.Host); err == nil {
			target.Host = name
		}
	}
	return target, nil
}

// sniName is a name as a server is told it.
func sniName(word string) (string, error) {
	name, err := config.CanonicalName(strings.Replace(word, "*.", "www.", 1)) // any host of those that it stands for
	if err != nil {
		return "", &usageError{what: "--name: " + err.Error()}
	}
	return name, nil
}

// diskCertificate is one that a server might show.
type diskCertificate struct {
	certificate *certs.Certificate // nil: a file elsewhere
	path        string
	chain       []*x509.Certificate
}

func (d *diskCertificate) String() string {
	if d.certificate != nil {
		return "the live certificate of " + d.certificate.Alias
	}
	return fmt.Sprintf("the certificate in %q", d.path)
}

// onDisk are the certificates that servers should show: that of the file, or all
// that are live.
func (a *app) onDisk(file string) ([]diskCertificate, error) {
	if file != "" {
		data, err := a.readInput(a.abs(file), 1<<20)
		if err != nil {
			return nil, &inputError{"--cert", err}
		}
		chain, err := certificatesIn(data)
		if err != nil {
			return nil, &inputError{fmt.Sprintf("--cert %q", file), err}
		}
		return []diskCertificate{{path: a.abs(file), chain: chain}}, nil
	}
	shown, err := liveOnes(a.store())
	if err != nil {
		return nil, err
	}
	var all []diskCertificate
	for _, l := range shown {
		all = append(all, diskCertificate{l.certificate, l.live.Paths.Cert, l.live.Chain})
	}
	return all, nil
}

// forName are those that are for a name; where none is, any may be meant: the
// default of a server that is asked by address, say.
func forName(disk []diskCertificate, name string) []diskCertificate {
	fits := slices.DeleteFunc(slices.Clone(disk), func(d diskCertificate) bool {
		return d.certificate != nil && d.chain[0].VerifyHostname(name) != nil
	})
	if len(fits) > 0 {
		return fits
	}
	return disk
}

// What a server shows, beside what is on disk.
const (
	servedSame   = "same"
	servedOther  = "other"
	servedNoTLS  = "no-tls"
	servedNobody = "nobody"
)

// verdicts gathers what was found at all targets.
type verdicts struct{ same, other, nobody int }

func (v *verdicts) error() error {
	switch {
	case v.other > 0:
		return &toldError{statusFailed}
	case v.nobody > 0:
		return &toldError{statusLater}
	}
	return nil
}

// checkTarget looks at one target, and tells what it shows.
func (a *app) checkTarget(ctx context.Context, target probe.Target, name string, disk []diskCertificate, all *verdicts) error {
	name = cmp.Or(name, target.Host)
	fits := forName(disk, name)
	served, err := a.served(ctx, target, name, leaves(fits))
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		all.nobody++
		return a.tellNobody(target, err.Error())
	}
	here := verdicts{}
	var silent []string
	for _, s := range served {
		if len(s.Chain) == 0 && !s.Spoke {
			silent = append(silent, s.Where()+s.Text)
			continue
		}
		v := &view{target: target, name: name, served: s, disk: fits}
		v.judge(disk)
		if v.result == servedSame {
			here.same++
		} else {
			here.other++
		}
		if err := a.tellView(v); err != nil {
			return err
		}
	}
	all.same, all.other = all.same+here.same, all.other+here.other
	switch text := strings.Join(silent, "; "); {
	case len(silent) == 0:
	case here.same+here.other > 0: // localhost may be two addresses, with a server at one
		a.report.Warning(fmt.Sprintf("%s: nobody answers at %s", target, text))
	default:
		all.nobody++
		return a.tellNobody(target, "nobody answers at "+text)
	}
	return nil
}

func (a *app) tellNobody(target probe.Target, why string) error {
	err := fmt.Errorf("%s: %s", target, why)
	a.tellError(err)
	if !a.json {
		return nil
	}
	return a.emit(&checkJSON{Target: target.String(), Result: servedNobody, Reason: why})
}

func leaves(disk []diskCertificate) (all []*x509.Certificate) {
	for _, d := range disk {
		all = append(all, d.chain[0])
	}
	return all
}

// served asks a target. A server with several certificates for a name chooses by
// what the client can do: where it shows none of those expected, it is asked again for
// each kind of key that they have.
func (a *app) served(ctx context.Context, target probe.Target, name string, expected []*x509.Certificate) ([]probe.Served, error) {
	q := probe.Query{Target: target, Name: name, Network: a.settings.Value("IP_VERSION")}
	served, err := probe.Ask(ctx, q)
	if err != nil {
		return nil, err
	}
	for _, kind := range []x509.PublicKeyAlgorithm{x509.RSA, x509.ECDSA} {
		kindOf := func(c *x509.Certificate) bool { return c.PublicKeyAlgorithm == kind }
		wanting := func(s probe.Served) bool {
			return len(s.Chain) > 0 && !kindOf(s.Chain[0]) && !shows(s, expected)
		}
		if !slices.ContainsFunc(expected, kindOf) || !slices.ContainsFunc(served, wanting) {
			continue
		}
		q.Key = kind
		again, err := probe.Ask(ctx, q)
		if err != nil {
			continue
		}
		for i := range served {
			for _, s := range again {
				if s.At == served[i].At && wanting(served[i]) && shows(s, expected) {
					served[i] = s
				}
			}
		}
	}
	return served, nil
}

// shows tells whether one of the certificates is served.
func shows(s probe.Served, expected []*x509.Certificate) bool {
	return len(s.Chain) > 0 && slices.ContainsFunc(expected, s.Chain[0].Equal)
}

// servedAt returns why a target does not show a certificate, for arid install. It is
// asked for a name that the certificate is for.
func (a *app) servedAt(ctx context.Context, target probe.Target, leaf *x509.Certificate) error {
	name := target.Host
	if names := certs.Names(leaf); leaf.VerifyHostname(name) != nil && len(names) > 0 {
		name = strings.Replace(names[0], "*.", "www.", 1)
	}
	served, err := a.served(ctx, target, name, []*x509.Certificate{leaf})
	if err != nil {
		return err
	}
	var silent, wrong []string
	seen := 0
	for _, s := range served {
		switch {
		case shows(s, []*x509.Certificate{leaf}):
			seen++
		case len(s.Chain) > 0:
			wrong = append(wrong, fmt.Sprintf("%s shows another certificate, for %s, until %s", s.Where(), someNames(s.Chain[0]), timeJSON(s.Chain[0].NotAfter)))
		case s.Spoke:
			wrong = append(wrong, s.Where()+s.Text)
		default:
			silent = append(silent, s.Where()+s.Text)
		}
	}
	if len(wrong) > 0 || seen == 0 {
		return errors.New(strings.Join(append(wrong, silent...), "; "))
	}
	return nil
}

// someNames are the first names of a certificate.
func someNames(c *x509.Certificate) string {
	const most = 5
	names := certs.Names(c)
	if len(names) == 0 {
		return "no name"
	}
	if more := len(names) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}

// view is one address beside what is on disk.
type view struct {
	target probe.Target
	name   string // that was asked for
	served probe.Served
	disk   []diskCertificate // that may be meant

	result   string
	match    *diskCertificate
	reason   string
	hint     string
	warnings []string
}

// judge holds what is served against what is on disk.
func (v *view) judge(all []diskCertificate) {
	if len(v.served.Chain) == 0 {
		v.result, v.reason = servedNoTLS, v.served.Where()+v.served.Text
		if v.served.Start != "" {
			v.hint = fmt.Sprintf("it speaks %s: arid check %s/%s", strings.ToUpper(v.served.Start), v.target, v.served.Start)
		}
		return
	}
	leaf := v.served.Chain[0]
	if v.match = withLeaf(v.disk, leaf); v.match != nil {
		v.result = servedSame
		v.warn(time.Now())
		return
	}
	v.result, v.reason = servedOther, "it is not on disk"
	if other := withLeaf(all, leaf); other != nil {
		v.reason = fmt.Sprintf("it is %s, which is not for %s", other, v.name)
		v.hint = "does the server know which certificate belongs to which name?"
		return
	}
	for _, d := range v.disk {
		if d.certificate == nil {
			continue
		}
		if version := d.certificate.VersionOf(leaf); version != "" {
			v.reason = fmt.Sprintf("it is an older one of %s, version %s", d.certificate.Alias, version)
			v.hint = "has the server been told of the new one? Does it read these files?"
			return
		}
	}
	if len(all) == 0 {
		v.hint = "there is no certificate on disk: --out DIR, or --cert FILE, says where it is"
	}
}

// warn tells what is wrong although the certificate is the right one.
func (v *view) warn(now time.Time) {
	leaf := v.served.Chain[0]
	if !leaf.NotAfter.After(now) {
		v.warnings = append(v.warnings, fmt.Sprintf("%s: the certificate was valid until %s", v.target, timeJSON(leaf.NotAfter)))
	}
	if len(v.served.Chain) == 1 && len(v.match.chain) > 1 {
		v.warnings = append(v.warnings, fmt.Sprintf("%s: the server shows no intermediate certificate, which many clients need: give it fullchain.pem", v.target))
	}
}

func withLeaf(disk []diskCertificate, leaf *x509.Certificate) *diskCertificate {
	for i := range disk {
		if bytes.Equal(disk[i].chain[0].Raw, leaf.Raw) {
			return &disk[i]
		}
	}
	return nil
}

// tellView prints what was found, as text or as an object, and says what is wrong.
func (a *app) tellView(v *view) error {
	if a.json {
		if err := a.emit(v.object()); err != nil {
			return err
		}
	} else if err := a.out(v.text(time.Now(), a.report.Shade)); err != nil {
		return err
	}
	for _, w := range v.warnings {
		a.report.Warning(w)
	}
	if v.result == servedSame {
		return nil
	}
	wrong := fmt.Sprintf("%s at %s: what is served is not what is on disk: %s", v.target, v.served.Where(), v.reason)
	if v.result == servedNoTLS {
		wrong = fmt.Sprintf("%s: no certificate to be seen at %s", v.target, v.reason)
	}
	a.tellError(&hintedError{errors.New(wrong), v.hint})
	return nil
}

// text is the view for people: a line that says it all, then the certificates.
func (v *view) text(now time.Time, shade func(string, report.Tone) string) string {
	at := fmt.Sprintf("%s at %s", v.target, v.served.Where())
	if v.name != v.target.Host {
		at += ", asked for " + v.name
	}
	head := map[string]string{
		servedSame:  shade(report.Escape(at)+": served as it is on disk", report.Calm),
		servedOther: shade(report.Escape(at)+": ANOTHER certificate than on disk", report.Alarm),
		servedNoTLS: shade(report.Escape(at)+": no certificate", report.Alarm),
	}[v.result]
	lines := []string{head}
	add := func(label string, texts ...string) {
		for _, text := range texts {
			lines = append(lines, fmt.Sprintf("  %-8s %s", label, report.Escape(text)))
			label = ""
		}
	}
	if len(v.served.Chain) > 0 {
		add("served", describe(v.served.Chain[0], now)...)
	}
	switch {
	case v.result == servedSame:
		add("on disk", v.match.path)
	case v.result == servedNoTLS:
	case len(v.disk) == 0:
		add("on disk", "none")
	case len(v.disk) > mostOnDisk:
		add("on disk", fmt.Sprintf("%d certificates, none of them this one", len(v.disk)))
	default:
		for _, d := range v.disk {
			add("on disk", append([]string{d.path}, describe(d.chain[0], now)...)...)
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// mostOnDisk is how many certificates are told in full that might have been meant.
const mostOnDisk = 3

// describe is a certificate in three lines.
func describe(c *x509.Certificate, now time.Time) []string {
	left := c.NotAfter.Sub(now)
	day := 24 * time.Hour
	ends := fmt.Sprintf("%d days left", int(left/day))
	switch {
	case left <= 0:
		ends = "EXPIRED"
	case left < 2*day:
		ends = fmt.Sprintf("%d hours left", int(left/time.Hour))
	}
	return []string{
		"for " + someNames(c),
		fmt.Sprintf("from %q, until %s (%s)", issuerOf(c), timeJSON(c.NotAfter), ends),
		"SHA-256 " + certs.Fingerprint(c),
	}
}

func issuerOf(c *x509.Certificate) string { return cmp.Or(c.Issuer.CommonName, c.Issuer.String()) }

func (v *view) object() *checkJSON {
	o := &checkJSON{
		Target: v.target.String(), Address: v.served.At.String(), Name: v.name, Result: v.result,
		Reason: v.reason, Hint: v.hint, Warnings: v.warnings,
	}
	if len(v.served.Chain) > 0 {
		o.Served = shownObject(v.served.Chain, "", "")
	}
	for _, d := range v.disk {
		if v.match != nil && !bytes.Equal(v.match.chain[0].Raw, d.chain[0].Raw) {
			continue
		}
		name := ""
		if d.certificate != nil {
			name = d.certificate.Alias
		}
		o.Disk = append(o.Disk, *shownObject(d.chain, name, filepath.Clean(d.path)))
	}
	return o
}

func shownObject(chain []*x509.Certificate, name, path string) *shownJSON {
	return &shownJSON{
		Name: name, Path: path, Names: certs.Names(chain[0]), Issuer: issuerOf(chain[0]),
		NotAfter: timeJSON(chain[0].NotAfter), SHA256: certs.Fingerprint(chain[0]), Chain: len(chain),
	}
}

// checkJSON is what one address shows: of arid check.
type checkJSON struct {
	head
	Target   string      `json:"target"`
	Address  string      `json:"address,omitempty"`
	Name     string      `json:"name,omitempty"`
	Result   string      `json:"result"`
	Reason   string      `json:"reason,omitempty"`
	Hint     string      `json:"hint,omitempty"`
	Warnings []string    `json:"warnings,omitempty"`
	Served   *shownJSON  `json:"served,omitempty"`
	Disk     []shownJSON `json:"disk,omitempty"`
}

// shownJSON is a certificate that is served, or on disk.
type shownJSON struct {
	Name     string   `json:"name,omitempty"`
	Path     string   `json:"path,omitempty"`
	Names    []string `json:"names,omitempty"`
	Issuer   string   `json:"issuer"`
	NotAfter string   `json:"not_after"`
	SHA256   string   `json:"sha256"`
	Chain    int      `json:"chain"`
}

// certificatesIn are those of a PEM file, which must have one at least.
func certificatesIn(data []byte) ([]*x509.Certificate, error) {
	chain, err := certs.ParseChain(data)
	if err == nil && len(chain) == 0 {
		err = errors.New("no certificate in PEM in it")
	}
	return chain, err
}
