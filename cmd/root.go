package cmd

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"arid/config"
	"arid/report"
)

// Groups of commands, as help shows them.
const (
	groupCertificates  = "certificates"
	groupAccount       = "account"
	groupDeploy        = "deploy"
	groupChallenges    = "challenges"
	groupInspect       = "inspect"
	groupCompatibility = "compatibility"
)

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "arid COMMAND",
		Short: "get TLS certificates from an ACME CA, with your own scripts",
		Example: `  arid rehearse www.example.org                a whole run offline, to see what happens
  arid register --accept-terms                 once: make the account, print its URL
  arid sign www.example.org example.org        one certificate, now, if it is due
  arid renew                                   all of domains.txt that is due: what cron runs
  arid help hints                              what the hints after a failure mean`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{what: "no command given", hint: "arid --help lists the commands"}
			}
			return unknownCommand(c, args[0])
		},
		SuggestionsMinimumDistance: 2,
	}
	root.SetArgs(a.Args[1:])
	root.SetIn(a.Stdin)
	root.SetOut(product{a})
	root.SetErr(a.Stderr)
	root.SetUsageTemplate(usageTemplate)
	root.SetVersionTemplate("arid {{.Version}}\n")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &usageError{what: flagFault(err), hint: c.CommandPath() + " --help lists the flags"}
	})
	for _, id := range []string{groupCertificates, groupAccount, groupDeploy, groupChallenges, groupInspect, groupCompatibility} {
		root.AddGroup(&cobra.Group{ID: id, Title: strings.ToUpper(id[:1]) + id[1:] + ":"})
	}
	root.SetHelpCommandGroupID(groupInspect)
	root.SetCompletionCommandGroupID(groupInspect)
	root.CompletionOptions.DisableNoDescFlag = true
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)

	flags := root.PersistentFlags()
	flags.StringVarP(&a.configFile, "config", "f", "", "read settings from `FILE` (shell syntax)")
	flags.StringVar(&a.base, "base", "", "keep everything under `DIR` (BASEDIR)")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "say errors only")
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "say every step")
	flags.BoolVar(&a.json, "json", false, "print JSON on stdout, one object on a line")
	flags.StringVar(&a.traceFile, "trace", "", "append a line of JSON for each request and hook call to `FILE`, without secrets")
	flags.StringVar(&a.color, "color", "auto", "colour `WHEN`: auto, always, never")
	root.PersistentPreRunE = func(c *cobra.Command, args []string) error {
		if a.color != "auto" && a.color != "always" && a.color != "never" {
			return &usageError{what: fmt.Sprintf("--color: %q is none of auto, always, never", a.color)}
		}
		a.report = report.New(report.Options{
			Out: a.Stdout, Err: a.Stderr, Env: a.Env,
			Color: a.color, Quiet: a.quiet, Verbose: a.verbose,
		})
		return a.openTrace()
	}

	root.AddCommand(a.installCommand(), a.checkCommand(), a.promoteCommand())
	root.AddCommand(a.signCommand(), a.renewCommand(), a.revokeCommand(), a.cleanupCommand(), a.registerCommand(), a.accountCommand(),
		a.rehearseCommand(), a.respondCommand(), a.dnsCommand(), a.dehydratedCommand(), a.acmeTinyCommand(), a.statusCommand(), a.dueCommand(), a.configCommand(), a.versionCommand(), a.hintsTopic())
	ownHelpers(root)
	a.complete(root)
	return root
}

// ownHelpers gives cobra's own commands our manners: what cannot be answered
// is a mistake, and no help text on stdout with status 0.
func ownHelpers(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Args = func(_ *cobra.Command, args []string) error {
				if found, rest, _ := root.Find(args); found == root && len(rest) > 0 {
					return unknownCommand(root, rest[0])
				}
				return nil
			}
		case "completion":
			c.Use = "completion SHELL"
			c.Short = "print the script that completes commands and flags in a shell"
			c.Long = "Prints a script for the shell; \"arid completion SHELL --help\" tells where it goes."
			c.Args = cobra.ArbitraryArgs
			c.RunE = func(_ *cobra.Command, args []string) error {
				what := "no shell given"
				if len(args) > 0 {
					what = fmt.Sprintf("completion: unknown shell %q", args[0])
				}
				return &usageError{what: what, hint: "arid completion --help lists the shells"}
			}
		}
	}
}

func unknownCommand(root *cobra.Command, word string) error {
	hint := "arid --help lists the commands"
	if near := root.SuggestionsFor(word); len(near) > 0 {
		hint = fmt.Sprintf("did you mean \"arid %s\"?", near[0])
	}
	return &usageError{what: fmt.Sprintf("unknown command %q", word), hint: hint}
}

// flagFault says what is wrong with a flag, without Go's words for it.
func flagFault(err error) string {
	var value *pflag.InvalidValueError
	if !errors.As(err, &value) {
		return err.Error()
	}
	why := "not a number"
	if value.GetFlag().Value.Type() == "bool" {
		why = "neither true nor false"
	}
	return fmt.Sprintf("--%s %q: %s", value.GetFlag().Name, value.GetValue(), why)
}

// usageTemplate is cobra's with the examples first and groups only where there
// are some.
const usageTemplate = `{{if .HasExample}}Examples:
{{.Example}}

{{end}}Usage:
  {{.UseLine}}{{range $group := .Groups}}

{{.Title}}{{range $.Commands}}{{if and (eq .GroupID $group.ID) .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{if and .HasAvailableSubCommands (not .Groups)}}

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableInheritedFlags}}

Flags of every command:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}
`

// shorthands are the one-letter flags; most are dehydrated's.
var shorthands = map[string]string{
	"ACCOUNT_KEY": "p", "CHALLENGETYPE": "t", "HOOK": "k", "CERTDIR": "o", "KEY_ALGO": "a",
}

// settingFlags gives a command a flag for each named setting.
func settingFlags(c *cobra.Command, names ...string) {
	known := config.Known()
	for _, name := range names {
		i := slices.IndexFunc(known, func(s config.Setting) bool { return s.Name == name })
		s := known[i]
		help := cmp.Or(s.FlagHelp, s.Help)
		switch {
		case s.Kind == config.Bool:
			c.Flags().BoolP(s.Flag, shorthands[name], false, help)
		case s.Many:
			c.Flags().StringArrayP(s.Flag, shorthands[name], nil, help)
		default:
			c.Flags().StringP(s.Flag, shorthands[name], "", help)
		}
		f := c.Flags().Lookup(s.Flag)
		f.Annotations = map[string][]string{settingOf: {name}}
		if !s.Many { // whose empty value has a form of its own
			f.DefValue = ""
		}
		if name == "RENEW_DAYS" {
			c.Flags().SetNormalizeFunc(renewWithin)
		}
	}
}

// renewWithin lets --renew-days be called --renew-within, too.
func renewWithin(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	if name == "renew-within" {
		name = "renew-days"
	}
	return pflag.NormalizedName(name)
}

// caFlags are those of every command that talks to a CA.
func caFlags(c *cobra.Command) {
	settingFlags(c, "CA", "CA_BUNDLE", "ACCOUNT_KEY", "TIMEOUT", "LOCK_WAIT")
	c.Flags().BoolP("ipv4", "4", false, "connect over IPv4 only")
	c.Flags().BoolP("ipv6", "6", false, "connect over IPv6 only")
}

// settingOf is the annotation of a flag that is a setting.
const settingOf = "setting"

// Settings of the commands that order.
var (
	validateSettings = []string{"CHALLENGETYPE", "WELLKNOWN", "ALPNCERTDIR", "ALPN_GROUP", "HOOK", "HOOK_CHAIN"}
	dnsSettings      = []string{"DNS_UPDATE", "DNS_SERVER", "DNS_ZONE", "DNS_KEY_FILE", "DNS_WAIT", "DNS_RESOLVER"}
	orderSettings    = []string{"KEY_ALGO", "ACME_PROFILE", "PREFERRED_CHAIN", "OCSP_MUST_STAPLE", "CSR_SUBJECT"}
)

// load reads the settings in force for a command; more are values given by
// flags that are no plain setting.
func (a *app) load(c *cobra.Command, word string, more map[string]string) error {
	flags := maps.Clone(more)
	if flags == nil {
		flags = map[string]string{}
	}
	c.Flags().Visit(func(f *pflag.Flag) {
		name := f.Annotations[settingOf]
		if len(name) == 0 {
			return
		}
		value := f.Value.String()
		if many, ok := f.Value.(pflag.SliceValue); ok {
			value = strings.Join(many.GetSlice(), " ")
		}
		if f.Value.Type() == "bool" {
			yes := value == "true"
			if i := slices.IndexFunc(config.Known(), func(s config.Setting) bool { return s.Name == name[0] }); config.Known()[i].Opposite {
				yes = !yes
			}
			value = map[bool]string{true: "yes", false: "no"}[yes]
		}
		flags[name[0]] = value
	})
	four, six := c.Flags().Changed("ipv4"), c.Flags().Changed("ipv6")
	switch {
	case four && six:
		return &usageError{what: "--ipv4 and --ipv6 exclude each other"}
	case four:
		flags["IP_VERSION"] = "4"
	case six:
		flags["IP_VERSION"] = "6"
	}
	var err error
	a.settings, err = config.Load(c.Context(), config.Options{
		File: a.configFile, Base: a.base, Flags: flags,
		Environ: a.Env, UID: a.UID, Dir: a.Dir, Command: word,
	})
	if err != nil {
		return err
	}
	a.setUmask()
	for _, w := range a.settings.Warnings() {
		a.report.Warning(w)
	}
	return nil
}

// noArguments refuses words after a command that takes none.
func noArguments(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &usageError{what: fmt.Sprintf("%s takes no arguments, and got %q", c.CommandPath(), args[0])}
	}
	return nil
}
