//go:build linux

package main

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// place is what a client needs to know.
type place struct {
	bin       string // arid's and floor's folder
	directory string // URL
	dir       string // the client's own, empty at first
	webroot   string
	wellKnown string
}

// client is how one of them is called. What it cannot do is nil, and why stands in
// lacks. Everything is left as it is by default but for: a P-256 key, no questions
// asked, no random pauses.
type client struct {
	name     string
	version  string  // Debian package that it comes in; "": this tree
	startup  command // version or help
	prepare  func(p place) error
	register func(p place) []command
	sign     func(p place, names []string) command
	again    func(p place, names []string) command // when the certificate is not due
	daily    func(p place, tree string) command    // over a tree of dehydrated's that is not due; nil: it has no domains.txt
	renewal  func(p place, tree string) command    // over one in which some are; nil: as above
	lacks    string                                // why there is no again
	files    func(p place, name string) [2]string  // chain and key
}

const floorName, ourName = "floor", "arid"

// acmeTiny is what an administrator writes around acme-tiny.
//
//go:embed acme-tiny.sh
var acmeTiny []byte

var clients = []*client{
	{
		name:    floorName,
		startup: command{args: []string{"floor", "version"}},
		register: func(p place) []command {
			return []command{{args: []string{p.bin + "/floor", "register", p.directory, p.dir}}}
		},
		sign: func(p place, names []string) command {
			out := filepath.Join(p.dir, names[0])
			return command{args: append([]string{p.bin + "/floor", "sign", p.directory, p.dir, p.webroot, out}, names...)}
		},
		daily: func(p place, tree string) command {
			return command{args: []string{p.bin + "/floor", "daily", tree}}
		},
		lacks: "it always orders",
		files: func(p place, name string) [2]string {
			return [2]string{filepath.Join(p.dir, name, "cert.pem"), filepath.Join(p.dir, name, "key.pem")}
		},
	},
	{
		name:    ourName,
		startup: command{args: []string{"arid", "version"}},
		register: func(p place) []command {
			return []command{arid(p, "register", "--accept-terms")}
		},
		sign:  func(p place, names []string) command { return arid(p, "sign", names...) },
		again: func(p place, names []string) command { return arid(p, "sign", names...) },
		daily: func(p place, tree string) command {
			p.dir = tree
			return arid(p, "renew")
		},
		renewal: func(p place, tree string) command { return aridRenewal(p, tree) },
		files: func(p place, name string) [2]string {
			folder := filepath.Join(p.dir, "certs", name)
			return [2]string{folder + "/fullchain.pem", folder + "/privkey.pem"}
		},
	},
	aridAtOnce("one by one", "1"), // to be compared with itself
	aridAtOnce("16 at once", "16"),
	{
		name:    "dehydrated",
		version: "dehydrated",
		startup: command{args: []string{"dehydrated", "--version"}},
		prepare: func(p place) error {
			config := fmt.Sprintf("CA=%q\nWELLKNOWN=%q\nKEY_ALGO=prime256v1\n", p.directory, p.wellKnown)
			return os.WriteFile(filepath.Join(p.dir, "config"), []byte(config), 0o600)
		},
		register: func(p place) []command { return []command{dehydrated(p, "--register", "--accept-terms")} },
		sign:     func(p place, names []string) command { return dehydrated(p, "--cron", each("--domain", names)...) },
		again:    func(p place, names []string) command { return dehydrated(p, "--cron", each("--domain", names)...) },
		daily: func(p place, tree string) command {
			return dehydrated(p, "--cron", "--out", filepath.Join(tree, "certs"), "--domains-txt", filepath.Join(tree, "domains.txt"))
		},
		files: func(p place, name string) [2]string {
			folder := filepath.Join(p.dir, "certs", name)
			return [2]string{folder + "/fullchain.pem", folder + "/privkey.pem"}
		},
	},
	{
		name:    "uacme",
		version: "uacme",
		startup: command{args: []string{"uacme", "--version"}, status: 2}, // which is how it ends
		register: func(p place) []command {
			return []command{uacme(p, 0, "new")}
		},
		sign: func(p place, names []string) command { return uacme(p, 0, "issue", names...) },
		// It says by status 1 that nothing was due.
		again: func(p place, names []string) command { return uacme(p, 1, "issue", names...) },
		files: func(p place, name string) [2]string {
			return [2]string{filepath.Join(p.dir, name, "cert.pem"), filepath.Join(p.dir, "private", name, "key.pem")}
		},
	},
	{
		name:    "lego",
		version: "lego",
		startup: command{args: []string{"lego", "--version"}},
		// It registers with its first certificate.
		register: func(p place) []command { return []command{lego(p, []string{"first.lego.bench.test"}, "run")} },
		sign:     func(p place, names []string) command { return lego(p, names, "run") },
		again: func(p place, names []string) command {
			return lego(p, names, "renew", "--days", "30", "--no-random-sleep")
		},
		files: func(p place, name string) [2]string {
			stem := filepath.Join(p.dir, "certificates", name)
			return [2]string{stem + ".crt", stem + ".key"}
		},
	},
	{
		name:     "certbot",
		version:  "certbot",
		startup:  command{args: []string{"certbot", "--version"}},
		register: func(p place) []command { return []command{certbot(p, "register")} },
		sign:     certonly,
		again:    certonly,
		files: func(p place, name string) [2]string {
			folder := filepath.Join(p.dir, "etc/live", name)
			return [2]string{folder + "/fullchain.pem", folder + "/privkey.pem"}
		},
	},
	{
		name:    "acme-tiny",
		version: "acme-tiny",
		startup: command{args: []string{"acme-tiny", "--help"}},
		prepare: func(p place) error {
			return os.WriteFile(filepath.Join(p.dir, "acme-tiny.sh"), acmeTiny, 0o700)
		},
		// It registers with each certificate; the account is there from the first.
		register: func(p place) []command {
			return []command{
				{args: []string{"openssl", "genrsa", "-out", filepath.Join(p.dir, "account.key"), "4096"}},
				tiny(p, []string{"first.acme-tiny.bench.test"}),
			}
		},
		sign:  tiny,
		lacks: "it always orders",
		files: func(p place, name string) [2]string {
			return [2]string{filepath.Join(p.dir, name+".crt"), filepath.Join(p.dir, name+".key")}
		},
	},
}

func arid(p place, word string, args ...string) command {
	return command{
		args: slices.Concat([]string{p.bin + "/arid", word, "--config", "/dev/null"}, args),
		env:  []string{"ARID_BASEDIR=" + p.dir, "ARID_CA=" + p.directory, "ARID_WELLKNOWN=" + p.wellKnown},
	}
}

// aridRenewal works in another tree than the one that has the account.
func aridRenewal(p place, tree string, more ...string) command {
	return arid(p, "renew", append(more, "--out", filepath.Join(tree, "certs"), "--domains-txt", filepath.Join(tree, "domains.txt"))...)
}

// aridAtOnce is arid with so many certificates at a time, for the renewal of many.
func aridAtOnce(name, parallel string) *client {
	return &client{
		name:     name,
		register: func(p place) []command { return []command{arid(p, "register", "--accept-terms")} },
		renewal:  func(p place, tree string) command { return aridRenewal(p, tree, "--parallel", parallel) },
		files: func(p place, name string) [2]string {
			folder := filepath.Join(p.dir, "certs", name)
			return [2]string{folder + "/fullchain.pem", folder + "/privkey.pem"}
		},
	}
}

func dehydrated(p place, word string, args ...string) command {
	return command{args: slices.Concat([]string{"dehydrated", word, "--config", filepath.Join(p.dir, "config")}, args)}
}

// uacme takes no root from outside. Its hook is the one that comes with it.
func uacme(p place, status int, word string, args ...string) command {
	return command{
		args: slices.Concat([]string{"uacme", "--yes", "--acme-url", p.directory, "--confdir", p.dir, "--type", "EC",
			"--hook", "/usr/share/uacme/uacme.sh", word}, args),
		env:    []string{"UACME_CHALLENGE_PATH=" + p.wellKnown},
		own:    true,
		status: status,
	}
}

func lego(p place, names []string, word string, args ...string) command {
	return command{args: slices.Concat([]string{"lego", "--accept-tos", "--email", "bench@example.test", "--server", p.directory,
		"--path", p.dir, "--key-type", "ec256", "--http", "--http.webroot", p.webroot}, each("--domains", names), []string{word}, args)}
}

func certbot(p place, word string, args ...string) command {
	return command{args: slices.Concat([]string{"certbot", word, "--non-interactive", "--agree-tos", "--register-unsafely-without-email",
		"--server", p.directory, "--config-dir", p.dir + "/etc", "--work-dir", p.dir + "/work", "--logs-dir", p.dir + "/log"}, args)}
}

func certonly(p place, names []string) command {
	return certbot(p, "certonly", slices.Concat([]string{"--keep-until-expiring", "--key-type", "ecdsa", "--elliptic-curve", "secp256r1",
		"--cert-name", names[0], "--webroot", "--webroot-path", p.webroot}, each("--domain", names))...)
}

func tiny(p place, names []string) command {
	return command{args: slices.Concat([]string{filepath.Join(p.dir, "acme-tiny.sh"), p.dir, p.directory, p.wellKnown}, names)}
}

// each puts the flag before every name.
func each(flag string, names []string) (args []string) {
	for _, name := range names {
		args = append(args, flag, name)
	}
	return args
}

// does says whether the client is one for such a scenario at all.
func (c *client) does(k kind) bool {
	switch k {
	case daily:
		return c.daily != nil
	case renewing:
		return c.renewal != nil
	}
	return c.sign != nil
}

// installed is the version of the Debian package.
func (c *client) installed() string {
	if c.version == "" {
		return ""
	}
	out, _ := output("dpkg-query", "-W", "-f=${Version}", c.version)
	return strings.TrimSpace(out)
}
