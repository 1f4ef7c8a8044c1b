package cmd

import (
	"io"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"arid/challenge"
	"arid/config"
	"arid/report"
)

// complete has a shell complete what flags take: words, the names of certificates,
// files and directories.
func (a *app) complete(c *cobra.Command) {
	paths := map[string]cobra.ShellCompDirective{
		"DIR": cobra.ShellCompDirectiveFilterDirs, "FILE": cobra.ShellCompDirectiveDefault, "PROGRAM": cobra.ShellCompDirectiveDefault,
	}
	words := map[string][]string{
		"algo":      {"rsa", "rsa2048", "rsa3072", "rsa4096", "prime256v1", "secp384r1", "secp521r1", "ed25519"},
		"ca":        config.Presets(),
		"challenge": {challenge.HTTP01, challenge.DNS01, challenge.TLSALPN01},
		"color":     {"auto", "always", "never"},
		"next":      {"rfc3339", "epoch", "seconds"},
		"parts":     {"key", "cert", "chain", "fullchain"},
	}
	mark := func(f *pflag.Flag) {
		value, _ := pflag.UnquoteUsage(f)
		if kind, isPath := paths[value]; isPath {
			_ = c.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(nil, kind)) // unless it has one
		} else if known := words[f.Name]; known != nil {
			_ = c.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(known, cobra.ShellCompDirectiveNoFileComp))
		}
	}
	c.Flags().VisitAll(mark)
	c.PersistentFlags().VisitAll(mark)
	for _, sub := range c.Commands() {
		a.complete(sub)
	}
}

// completeNames gives the names of the certificates there are: lines of domains.txt and
// folders of CERTDIR, without those that stand on the command line.
func (a *app) completeNames(c *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.certificateNames(c, given), cobra.ShellCompDirectiveNoFileComp
}

func (a *app) certificateNames(c *cobra.Command, given []string) (names []string) {
	silent := *a // the line that is typed is the user's
	a = &silent
	a.report = report.New(report.Options{Out: io.Discard, Err: io.Discard})
	if a.load(c, "sign_domains", nil) != nil {
		return nil
	}
	if list, err := config.ReadDomains(a.path("DOMAINS_TXT")); err == nil {
		for _, line := range list.Lines {
			names = append(names, line.Alias)
		}
	}
	folders, _ := a.store().Certificates()
	for _, f := range folders {
		names = append(names, f.Alias)
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool { return slices.Contains(given, name) })
}
