// Command sluice is a Kafka broker whose log is a Delta table, and the tools
// to look at one. This package turns flags, environment variables and
// properties into the configuration of the packages that do the work.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// Exit codes. A usage error is told apart from a failure so that scripts can
// see that trying again is pointless.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitInterrupted = 130 // 128 + SIGINT, as shells report it
)

// sameSignal is how long further signals count as the first: timeout(1), among
// others, signals both the process and its group.
const sameSignal = 300 * time.Millisecond

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks to end. After it signals have their default effect
	// again, so that the second one ends the process at once.
	context.AfterFunc(ctx, func() {
		time.Sleep(sameSignal)
		stop()
	})
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program but for the process around it. It answers the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)

	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		fmt.Fprintln(stderr, "sluice: interrupted")
		return exitInterrupted
	}
	for _, err := range each(err) {
		fmt.Fprintln(stderr, "sluice:", err)
		if todo := adviceOf(err); todo != "" {
			fmt.Fprintln(stderr, indent(todo))
		}
	}
	if _, open := errors.AsType[unchecked](err); open {
		return exitUsage // of no use to a script that asks whether a table is sound
	}
	if !began(cmd) || isUsage(err) {
		fmt.Fprintf(stderr, "Run '%s --help' for usage.\n", cmd.CommandPath())
		return exitUsage
	}
	return exitFailure
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "sluice",
		Short: "A Kafka broker whose log is a Delta table",
		Long: `Sluice is a Kafka broker whose log is a Delta table: each topic is one table,
on S3-compatible object storage or in a local directory. Kafka clients write and
read it, and every Delta engine reads the same bytes.

  sluice serve                                 start a broker on ./sluice-data
  sluice produce hello "first record"          write to it
  sluice consume hello                         read from it
  sluice table sql hello --engine duckdb       read it as a table`,
		Args:              cobra.NoArgs,
		SilenceUsage:      true,
		SilenceErrors:     true,
		Version:           version(),
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.AddCommand(
		newServe(),
		newTopic(),
		newGroup(),
		newProduce(),
		newConsume(),
		newTable(),
		newCheck(),
		newBench(),
		newHealth(),
		newVersion(),
	)
	markBegun(root)
	return root
}

// begunKey annotates a command whose flags and arguments were accepted: what
// fails before that is a usage error, whoever found it.
const begunKey = "sluice.begun"

// markBegun makes cmd and the commands below it note that they have begun. The
// hooks that cobra offers for it run before its last checks of the flags.
func markBegun(cmd *cobra.Command) {
	if do := cmd.RunE; do != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			cmd.Annotations = map[string]string{begunKey: "yes"}
			return do(cmd, args)
		}
	}
	for _, child := range cmd.Commands() {
		markBegun(child)
	}
}

func began(cmd *cobra.Command) bool { return cmd.Annotations[begunKey] != "" }

// newNoun makes a command that only groups others: `sluice topic`.
func newNoun(use, short string, children ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		// Without these an unknown verb would print the help and exit with 0.
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(children...)
	return cmd
}
