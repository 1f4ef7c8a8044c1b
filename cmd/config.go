package cmd

import (
	"github.com/spf13/cobra"

	"arid/config"
	"arid/report"
)

func (a *app) configCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "config",
		Short:   "the settings in force, and where each came from",
		Long:    "Prints each setting with its value, where the value came from, its flag and its variable.",
		Example: "  arid config\n  arid config -f /etc/dehydrated/config",
		GroupID: groupInspect,
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.load(c, "env", nil); err != nil {
				return err
			}
			// The account's folder, and with it its config, is found by the CA.
			// What is wrong with that is to be seen here, not to hide the rest.
			if _, err := a.openCA(c.Context()); err != nil {
				a.report.Warning(err.Error())
			}
			if a.json {
				return a.emitSettings()
			}
			return a.out(a.settingsTable())
		},
	}
	settingFlags(c, "CA")
	return c
}

// emitSettings is the table as objects.
func (a *app) emitSettings() error {
	for _, s := range config.Known() {
		if s.Unused {
			continue
		}
		o := &configJSON{Setting: s.Name, Value: s.Show(a.settings.Value(s.Name)), Origin: a.settings.Origin(s.Name).String(), Variable: s.Env()}
		if s.Flag != "" {
			o.Flag = "--" + s.Flag
		}
		if err := a.emit(o); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) settingsTable() string {
	rows := [][]string{{"SETTING", "VALUE", "FROM", "FLAG", "VARIABLE"}}
	for _, s := range config.Known() {
		if s.Unused {
			continue
		}
		value, flag := s.Show(a.settings.Value(s.Name)), "-"
		if value == "" {
			value = "-"
		}
		if s.Flag != "" {
			flag = "--" + s.Flag
		}
		variable := s.Env()
		if variable == "" {
			variable = "-"
		}
		rows = append(rows, []string{s.Name, report.Escape(value), a.settings.Origin(s.Name).String(), flag, variable})
	}
	return report.Table(rows)
}
