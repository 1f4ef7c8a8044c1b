package cmd

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"arid/config"
	"arid/report"
)

func page(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile("../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func commands() *cobra.Command {
	a := &app{Process: &Process{Args: []string{"arid"}}}
	a.report = report.New(report.Options{Out: os.Stdout, Err: os.Stderr})
	return a.root()
}

func TestEveryCommandAndFlagIsInTheDocs(t *testing.T) {
	text := page(t, "commands.md")
	var look func(c *cobra.Command)
	look = func(c *cobra.Command) {
		path := c.CommandPath()
		if c.IsAdditionalHelpTopicCommand() {
			path = "arid help " + c.Name()
		}
		if !strings.Contains(text, path) {
			t.Errorf("docs/commands.md does not name the command %q", path)
		}
		check := func(f *pflag.Flag) {
			if f.Name == "help" || f.Name == "version" {
				return
			}
			if want := "--" + f.Name; !strings.Contains(text, want) {
				t.Errorf("docs/commands.md does not name %s of %q", want, c.Name())
			}
			if f.Shorthand != "" && !strings.Contains(text, "`-"+f.Shorthand+", --"+f.Name) {
				t.Errorf("docs/commands.md does not name -%s, --%s", f.Shorthand, f.Name)
			}
		}
		c.LocalFlags().VisitAll(check)
		for _, sub := range c.Commands() {
			look(sub)
		}
	}
	look(commands())
}

func TestEverySettingIsInTheDocsAndItsFlagExists(t *testing.T) {
	text := page(t, "settings.md")
	flags := map[string]bool{"base": true}
	var look func(c *cobra.Command)
	look = func(c *cobra.Command) {
		c.LocalFlags().VisitAll(func(f *pflag.Flag) { flags[f.Name] = true })
		for _, sub := range c.Commands() {
			look(sub)
		}
	}
	look(commands())
	for _, s := range config.Known() {
		row := fmt.Sprintf("| `%s` |", s.Name)
		if s.Unused == strings.Contains(text, row) {
			t.Errorf("docs/settings.md: %q has a row: %v, has an effect: %v", s.Name, !s.Unused, s.Unused)
		}
		if s.Unused {
			continue
		}
		for _, want := range []string{s.Default, s.Flag} {
			_, after, _ := strings.Cut(text, row)
			line, _, _ := strings.Cut(after, "\n")
			if !strings.Contains(line, want) {
				t.Errorf("docs/settings.md: the row of %q lacks %q", s.Name, want)
			}
		}
		if s.Flag != "" && !flags[s.Flag] {
			t.Errorf("%q is said to have the flag --%s, and no command has it", s.Name, s.Flag)
		}
	}
}

func TestEveryExitStatusIsInTheDocs(t *testing.T) {
	text := page(t, "exit-status.md")
	var rows []string
	for line := range strings.Lines(text) {
		if cells := strings.Split(line, "|"); len(cells) == 5 {
			rows = append(rows, strings.TrimSpace(cells[1]))
		}
	}
	var want []string
	for _, status := range []int{
		statusOK, statusFailed, statusDeploy, statusUsage, statusInput, statusBug,
		statusIO, statusLater, statusProtocol, statusPermission, statusConfig,
	} {
		want = append(want, fmt.Sprint(status))
		if status == statusDeploy {
			want = append(want, "N") // of --exit-unchanged
		}
	}
	if got := strings.Join(rows[2:], " "); got != strings.Join(want, " ") {
		t.Errorf("docs/exit-status.md lists %s, want %s", got, strings.Join(want, " "))
	}
}
