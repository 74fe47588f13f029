// Command myelin is the realtime server and the tools that go with it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"myelin/config"
)

// Exit codes: 0 all is well, 1 it failed at run time, 2 it was called or
// configured wrongly.
const (
	exitFailed = 1
	exitUsage  = 2
)

// grammar is the command line.
type grammar struct {
	Serve   serveCommand   `cmd:"" help:"Run the server."`
	Demo    demoCommand    `cmd:"" help:"Run a server with live feeds and a page to look at."`
	Config  configCommand  `cmd:"" help:"Check, print and explain the configuration."`
	Token   tokenCommand   `cmd:"" help:"Make a token."`
	Pub     pubCommand     `cmd:"" help:"Publish, from the command line or line by line from standard input."`
	Sub     subCommand     `cmd:"" help:"Listen to channels."`
	Bench   benchCommand   `cmd:"" help:"Measure a server that speaks the client protocol."`
	Backup  backupCommand  `cmd:"" help:"Copy what a running server keeps into a directory."`
	Health  healthCommand  `cmd:"" help:"Ask a server how it is."`
	Version versionCommand `cmd:"" help:"Say what this is."`
}

// usageError is an error of the caller's making.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// streams is where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		// The second signal ends the process at once.
		<-ctx.Done()
		stop()
	}()
	os.Exit(run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}))
}

// run runs one command line and returns the exit code.
func run(ctx context.Context, args []string, s streams) int {
	var g grammar
	code := -1
	parser, err := kong.New(&g, kong.Name("myelin"),
		kong.Description("A realtime server: data in by any door, ordered and recoverable, out by any door."),
		kong.Writers(s.out, s.err), kong.Exit(func(c int) { code = c }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	if err != nil {
		panic(err) // the grammar itself is wrong
	}
	k, err := parser.Parse(args)
	if code >= 0 {
		return code
	}
	if err != nil {
		fmt.Fprintf(s.err, "myelin: %v\nTry \"%s --help\".\n", err, nearest(err))
		return exitUsage
	}
	k.BindTo(ctx, (*context.Context)(nil))
	k.Bind(s)
	if err := k.Run(); err != nil {
		fmt.Fprintln(s.err, "myelin:", wording(err))
		if _, ok := errors.AsType[usageError](err); ok {
			return exitUsage
		}
		return exitFailed
	}
	return 0
}

// nearest returns the command whose help says what the line that could not be
// parsed should have been.
func nearest(err error) string {
	if e, ok := errors.AsType[*kong.ParseError](err); ok && e.Context != nil {
		if node := e.Context.Selected(); node != nil {
			return node.FullPath()
		}
	}
	return "myelin"
}

// wording puts the problems of a configuration on lines of their own, each as
// file:line:column, which editors and shells know how to open.
func wording(err error) string {
	if problems, ok := errors.AsType[*config.Errors](err); ok {
		return "the configuration cannot be used:\n" + problems.Error()
	}
	return err.Error()
}
