package config

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Curl is what CURL_OPTS means for a client that is not curl. The zero value
// changes nothing.
type Curl struct {
	CAFile, CADir  string // roots to trust beside the system's
	Insecure       bool   // whoever answers is taken for the CA
	Proxy          *url.URL
	NoProxy        string // "": what the environment says
	Interface      string // a device's name or an address of this host
	IPVersion      string // "4", "6", "" both
	ConnectTimeout time.Duration
	MaxTime        time.Duration               // of one request
	Hosts          map[string][]netip.AddrPort // "host:port", host "*" is any: where it is
	DNSServers     []string                    // HOST:PORT
	Cert, Key      string                      // of the client, in PEM; Key may stand in Cert
	HTTP1          bool
	TLS13          bool // no less
	TLS12          bool // no more

	// What is not honoured, by long names. The values are not for a log: headers
	// and passwords are among them.
	unknown   []string
	strays    int  // words that are neither an option nor the value of one
	quotes    bool // there are some, which curl would take literally
	proxyUser *url.Userinfo
	secret    bool // there may be a password among the options
}

// Curl reads CURL_OPTS, and says what of it is not done, and what is done that
// nobody should want.
func (s *Settings) Curl() (*Curl, []string) {
	c, err := parseCurl(s.Value("CURL_OPTS"))
	if err != nil { // Load takes no such thing
		return &Curl{}, []string{err.Error()}
	}
	label := "CURL_OPTS"
	switch o := s.Origin("CURL_OPTS"); {
	case o.File != "":
		label = o.String() + ": " + label
	case o.Name != "":
		label = o.Name
	}
	warnings := c.warnings()
	for i := range warnings {
		warnings[i] = label + ": " + warnings[i]
	}
	return c, warnings
}

func (c *Curl) warnings() []string {
	var all []string
	if c.Insecure {
		all = append(all, "--insecure: nobody checks that it is the CA that answers, and whoever stands in between can answer in its place; CA_BUNDLE trusts one more root")
	}
	for _, name := range c.unknown {
		all = append(all, name+" has no meaning here and is ignored")
	}
	if c.quotes {
		all = append(all, "quotes and backslashes are taken literally: words end at each blank")
	}
	if c.strays > 0 {
		all = append(all, fmt.Sprintf("words that are no option are ignored (%d); curl takes them for URLs", c.strays))
	}
	return all
}

// curlOption is an option that is honoured; a nil use needs nothing done, for the
// reason that docs/settings.md gives.
type curlOption struct {
	name  string
	value bool
	use   func(c *Curl, value string) error
}

var curlLetters = map[byte]string{
	'4': "ipv4", '6': "ipv6", 'A': "user-agent", 'E': "cert", 'L': "location", 'N': "no-buffer", 'S': "show-error", 'U': "proxy-user", '#': "progress-bar",
	'1': "tlsv1", 'f': "fail", 'g': "globoff", 'k': "insecure", 'm': "max-time", 'p': "proxytunnel", 'q': "disable", 's': "silent", 'v': "verbose", 'x': "proxy",
	// Of those that are not honoured: the ones that people use, and all that take a value.
	'C': "continue-at", 'D': "dump-header", 'F': "form", 'H': "header", 'K': "config", 'P': "ftp-port", 'Q': "quote", 'T': "upload-file", 'X': "request", 'Y': "speed-limit",
	'b': "cookie", 'c': "cookie-jar", 'd': "data", 'e': "referer", 'h': "help", 'o': "output", 'r': "range", 't': "telnet-option", 'u': "user", 'w': "write-out",
	'y': "speed-time", 'z': "time-cond", 'i': "include", 'n': "netrc", '0': "http1.0", 'I': "head", 'G': "get",
}

func curlOptions() []curlOption {
	set := func(field func(*Curl) *string) func(*Curl, string) error {
		return func(c *Curl, v string) error { *field(c) = v; return nil }
	}
	yes := func(field func(*Curl) *bool) func(*Curl, string) error {
		return func(c *Curl, _ string) error { *field(c) = true; return nil }
	}
	duration := func(field func(*Curl) *time.Duration) func(*Curl, string) error {
		return func(c *Curl, v string) (err error) { *field(c), err = curlSeconds(v); return err }
	}
	proxy := func(kind string) func(*Curl, string) error {
		return func(c *Curl, v string) (err error) {
			c.secret = c.secret || strings.Contains(v, "@")
			c.Proxy, err = curlProxy(kind, v)
			return err
		}
	}
	family := func(version string) func(*Curl, string) error {
		return func(c *Curl, _ string) error { c.IPVersion = version; return nil }
	}
	all := []curlOption{
		{"cacert", true, set(func(c *Curl) *string { return &c.CAFile })},
		{"capath", true, set(func(c *Curl) *string { return &c.CADir })},
		{"insecure", false, yes(func(c *Curl) *bool { return &c.Insecure })},
		{"no-insecure", false, func(c *Curl, _ string) error { c.Insecure = false; return nil }},
		{"proxy", true, proxy("http")},
		{"proxy1.0", true, proxy("http")},
		{"socks4", true, proxy("socks4")},
		{"socks4a", true, proxy("socks4a")},
		{"socks5", true, proxy("socks5")},
		{"socks5-hostname", true, proxy("socks5h")},
		{"proxy-user", true, (*Curl).setProxyUser},
		{"noproxy", true, set(func(c *Curl) *string { return &c.NoProxy })},
		{"interface", true, (*Curl).setInterface},
		{"ipv4", false, family("4")},
		{"ipv6", false, family("6")},
		{"connect-timeout", true, duration(func(c *Curl) *time.Duration { return &c.ConnectTimeout })},
		{"max-time", true, duration(func(c *Curl) *time.Duration { return &c.MaxTime })},
		{"resolve", true, (*Curl).addHost},
		{"dns-servers", true, (*Curl).setServers},
		{"cert", true, (*Curl).setCert},
		{"key", true, set(func(c *Curl) *string { return &c.Key })},
		{"cert-type", true, onlyPEM},
		{"key-type", true, onlyPEM},
		{"pass", true, func(c *Curl, _ string) error {
			c.secret = true
			return errors.New("a key that needs a passphrase cannot be used")
		}},
		{"http1.1", false, yes(func(c *Curl) *bool { return &c.HTTP1 })},
		{"tlsv1.3", false, yes(func(c *Curl) *bool { return &c.TLS13 })},
		{"tls-max", true, (*Curl).setTLSMax},
	}
	for _, name := range strings.Fields(`disable fail fail-with-body globoff http2 keepalive keepalive-time location max-redirs no-buffer no-keepalive
		no-progress-meter no-sessionid path-as-is progress-bar proto proto-redir proxy-basic proxytunnel retry retry-all-errors retry-connrefused retry-delay
		retry-max-time show-error silent ssl ssl-reqd styled-output suppress-connect-headers tcp-nodelay tlsv1 tlsv1.0 tlsv1.1 tlsv1.2
		user-agent verbose`) {
		all = append(all, curlOption{name: name, value: slices.Contains(curlValues, name)})
	}
	return all
}

// curlValues are the options that take a value, those of curlOptions with one of
// their own aside: without them the value would be taken for a word of its own.
// They are curl 7.88's, and what came since.
var curlValues = strings.Fields(`abstract-unix-socket alt-svc aws-sigv4 ciphers config connect-to continue-at cookie cookie-jar create-file-mode
	crlfile curves data data-ascii data-binary data-raw data-urlencode delegation dns-interface dns-ipv4-addr dns-ipv6-addr doh-url dump-header ech egd-file
	engine etag-compare etag-save expect100-timeout form form-string ftp-account ftp-alternative-to-user ftp-method ftp-port ftp-ssl-ccc-mode
	happy-eyeballs-timeout-ms haproxy-clientip header hostpubmd5 hostpubsha256 hsts ip-tos ipfs-gateway json keepalive-cnt keepalive-time krb libcurl limit-rate
	local-port login-options mail-auth mail-from mail-rcpt max-filesize max-redirs netrc-file oauth2-bearer output output-dir parallel-max pinnedpubkey
	preproxy proto proto-default proto-redir proxy-cacert proxy-capath proxy-cert proxy-cert-type proxy-ciphers proxy-crlfile proxy-header proxy-key
	proxy-key-type proxy-pass proxy-pinnedpubkey proxy-service-name proxy-tls13-ciphers proxy-tlsauthtype proxy-tlspassword proxy-tlsuser pubkey quote
	random-file range rate referer request request-target retry retry-delay retry-max-time sasl-authzid service-name sigalgs socks5-gssapi-service
	speed-limit speed-time stderr telnet-option tftp-blksize time-cond tls13-ciphers tlsauthtype tlspassword tlsuser trace trace-ascii
	trace-config unix-socket upload-file url url-query user user-agent variable vlan-priority write-out`)

// curlSecrets are those of curlValues whose value is, or may hold, a password.
var curlSecrets = strings.Fields(`aws-sigv4 cookie header oauth2-bearer preproxy proxy-cert proxy-header proxy-pass proxy-tlspassword tlspassword user`)

// parseCurl splits the words as a shell does what stands unquoted, globbing
// aside, and reads them as curl does. The error is the first of the mistakes; the
// Curl that comes with it is for showCurl.
func parseCurl(text string) (*Curl, error) {
	known := map[string]curlOption{}
	for _, name := range curlValues {
		known[name] = curlOption{name, true, func(c *Curl, _ string) error { c.ignore(name); return nil }}
	}
	for _, o := range curlOptions() {
		known[o.name] = o
	}
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\t' || r == '\n' })
	c := &Curl{quotes: strings.ContainsAny(text, "\"'\\")}
	var mistakes []error
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		if !strings.HasPrefix(word, "-") || word == "-" || word == "--" {
			c.strays++
			continue
		}
		names, value := curlNames(word, known)
		last := known[names[len(names)-1]]
		if last.value && value == "" {
			if len(words) == 0 {
				mistakes = append(mistakes, fmt.Errorf("--%s: its value is missing", last.name))
				break
			}
			value, words = words[0], words[1:]
		}
		for _, name := range names {
			if err := c.apply(name, value, known); err != nil {
				mistakes = append(mistakes, fmt.Errorf("--%s: %w", name, err))
			}
		}
	}
	return c, cmp.Or(append(mistakes, c.settle())...)
}

// apply does what one option says; only one that takes a value looks at it.
func (c *Curl) apply(name, value string, known map[string]curlOption) error {
	o, ok := known[name]
	if positive, no := strings.CutPrefix(name, "no-"); !ok && no {
		p, is := known[positive]
		ok = is && p.use == nil && !p.value // nothing to be undone
	}
	switch {
	case !ok:
		c.ignore(name)
	case o.use != nil:
		return o.use(c, value)
	}
	return nil
}

// settle looks at the options together.
func (c *Curl) settle() error {
	switch {
	case c.Key != "" && c.Cert == "":
		return errors.New("--key: there is no --cert beside it")
	case c.TLS12 && c.TLS13:
		return errors.New("--tlsv1.3 and --tls-max 1.2 exclude each other")
	case c.Proxy != nil && c.proxyUser != nil:
		c.Proxy.User = c.proxyUser
	}
	return nil
}

// curlNames are the options of one word, -sSm10 has three, and the value that
// stands in it for the last.
func curlNames(word string, known map[string]curlOption) (names []string, value string) {
	if name, long := strings.CutPrefix(word, "--"); long {
		return []string{name}, ""
	}
	for i := 1; i < len(word); i++ {
		name, ok := curlLetters[word[i]]
		if !ok {
			name = word[i : i+1]
		}
		names = append(names, name)
		if known[name].value {
			return names, word[i+1:]
		}
	}
	return names, ""
}

// ignore remembers an option that is not honoured. curl knows no --name=value, and
// whoever writes that may give a password.
func (c *Curl) ignore(name string) {
	bare, _, given := strings.Cut(name, "=")
	c.secret = c.secret || given || slices.Contains(curlSecrets, bare)
	shown := "--" + cut(bare)
	if len(bare) == 1 {
		shown = "-" + bare
	}
	if !slices.Contains(c.unknown, shown) {
		c.unknown = append(c.unknown, shown)
	}
}

// curlSeconds reads seconds with a fraction; 0 is no limit of the user's.
func curlSeconds(text string) (time.Duration, error) {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(n) || n < 0 || n > 1e6 {
		return 0, errors.New("not a number of seconds")
	}
	return time.Duration(n * float64(time.Second)), nil
}

// curlProxy reads [kind://][user:password@]host[:port]; without a port it is 1080,
// as curl has it.
func curlProxy(kind, text string) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		text = kind + "://" + text
	}
	u, err := url.Parse(text) // its error would show a password
	if err != nil || u.Hostname() == "" {
		return nil, errors.New("neither HOST:PORT nor the URL of a proxy")
	}
	port := "1080"
	switch u.Scheme {
	case "http", "socks5", "socks5h":
	case "https":
		port = "443"
	default:
		return nil, fmt.Errorf("a proxy of the kind %.20q cannot be used; http, https, socks5 and socks5h can", u.Scheme)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	return &url.URL{Scheme: u.Scheme, User: u.User, Host: net.JoinHostPort(u.Hostname(), port)}, nil
}

func (c *Curl) setProxyUser(text string) error {
	c.secret = true
	name, password, _ := strings.Cut(text, ":")
	c.proxyUser = url.UserPassword(name, password)
	return nil
}

// setInterface takes what curl writes as if!NAME and host!ADDRESS too.
func (c *Curl) setInterface(text string) error {
	text = strings.TrimPrefix(strings.TrimPrefix(text, "if!"), "host!")
	if text == "" {
		return errors.New("neither a device nor an address")
	}
	c.Interface = text
	return nil
}

// addHost reads [+]HOST:PORT:ADDRESS[,ADDRESS…]. With "-" in front it would take
// an older answer back, of which there is none.
func (c *Curl) addHost(text string) error {
	bad := errors.New("not HOST:PORT:ADDRESS")
	if strings.HasPrefix(text, "-") {
		return nil
	}
	host, rest, ok := strings.Cut(strings.TrimPrefix(text, "+"), ":")
	port, addresses, found := strings.Cut(rest, ":")
	n, err := strconv.ParseUint(port, 10, 16)
	if !ok || !found || host == "" || err != nil || n == 0 {
		return bad
	}
	var places []netip.AddrPort
	for word := range strings.SplitSeq(addresses, ",") {
		a, err := netip.ParseAddr(strings.Trim(word, "[]"))
		if err != nil || len(places) == 16 {
			return bad
		}
		places = append(places, netip.AddrPortFrom(a, uint16(n)))
	}
	if c.Hosts == nil {
		c.Hosts = map[string][]netip.AddrPort{}
	}
	c.Hosts[strings.ToLower(host)+":"+strconv.FormatUint(n, 10)] = places
	return nil
}

func (c *Curl) setServers(text string) error {
	c.DNSServers = nil
	for word := range strings.SplitSeq(text, ",") {
		a, err := netip.ParseAddrPort(word)
		if err != nil {
			var address netip.Addr
			address, err = netip.ParseAddr(strings.Trim(word, "[]"))
			a = netip.AddrPortFrom(address, 53)
		}
		if err != nil || a.Port() == 0 {
			return errors.New("not ADDRESS[:PORT],…")
		}
		c.DNSServers = append(c.DNSServers, a.String())
	}
	return nil
}

// setCert reads FILE[:PASSWORD], where a backslash takes a colon's meaning away.
func (c *Curl) setCert(text string) error {
	if strings.HasPrefix(text, "pkcs11:") {
		c.secret = true // it may hold a PIN
		return errors.New("only files in PEM can be used")
	}
	var file strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && i+1 < len(text) && (text[i+1] == '\\' || text[i+1] == ':'):
			i++
		case text[i] == ':':
			c.secret = true
			return errors.New("a key that needs a passphrase cannot be used")
		}
		file.WriteByte(text[i])
	}
	c.Cert = file.String()
	return nil
}

func onlyPEM(_ *Curl, text string) error {
	if !strings.EqualFold(text, "PEM") {
		return errors.New("only files in PEM can be used")
	}
	return nil
}

func (c *Curl) setTLSMax(text string) error {
	switch text {
	case "default", "1.3":
		c.TLS12 = false
	case "1.2":
		c.TLS12 = true
	default:
		return errors.New("neither 1.2 nor 1.3: no CA speaks less")
	}
	return nil
}

func checkCurl(text string) error {
	_, err := parseCurl(text)
	return err
}

// showCurl hides CURL_OPTS where a password is in it.
func showCurl(text string) string {
	if c, _ := parseCurl(text); c.secret {
		return "(secret)"
	}
	return text
}
