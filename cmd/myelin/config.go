package main

import (
	"errors"
	"fmt"

	"myelin/config"
)

// configCommand is the family of commands about the configuration.
type configCommand struct {
	Check configCheckCommand `cmd:"" help:"Report everything wrong with a configuration."`
	Print configPrintCommand `cmd:"" help:"Print the whole configuration in force, defaults included."`
	Docs  configDocsCommand  `cmd:"" help:"Print the reference of all keys, in Markdown."`
}

// configCheckCommand checks a configuration.
type configCheckCommand struct {
	configFlags
}

// Run prints what is wrong, all of it.
func (c *configCheckCommand) Run(s streams) error {
	if _, err := c.load(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(s.out, "the configuration is good")
	return err
}

// configPrintCommand prints a configuration.
type configPrintCommand struct {
	configFlags
	Secrets bool `help:"Print secrets too."`
}

// Run prints the configuration as YAML.
func (c *configPrintCommand) Run(s streams) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	b, err := cfg.YAML(!c.Secrets)
	if err != nil {
		return err
	}
	_, err = s.out.Write(b)
	return err
}

// configDocsCommand prints the reference.
type configDocsCommand struct{}

// Run prints the reference as Markdown.
func (configDocsCommand) Run(s streams) error {
	b, err := config.Docs()
	if err != nil {
		return err
	}
	_, err = s.out.Write(b)
	return err
}

// asUsage marks an error as the caller's making.
func asUsage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

// oneOf returns the one value that is set, or an error that names the flags.
func oneOf(flags string, values ...bool) error {
	n := 0
	for _, v := range values {
		if v {
			n++
		}
	}
	if n != 1 {
		return usageError{errors.New("give exactly one of " + flags)}
	}
	return nil
}
