package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// maxLine bounds a line of input, in bytes. It lies above what brokers take by
// default (1 MiB), so that the error is the broker's where it can be.
const maxLine = 16 << 20

// produceFlags say how input becomes records.
type produceFlags struct {
	key          string
	hasKey       bool
	keySeparator string
	headers      []string
	partition    int32 // -1: by key, or spread
	compression  string
	json         bool
	quiet        bool
}

func newProduce() *cobra.Command {
	var f produceFlags
	cmd := &cobra.Command{
		Use:   "produce TOPIC [VALUE...]",
		Short: "Write records: the values given, else one a line from standard input",
		Example: `  sluice produce orders '{"id": 1}' '{"id": 2}'
  sluice produce orders --key-separator : < lines.txt
  sluice consume orders --json --follow=false | sluice produce copy --json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.hasKey = cmd.Flags().Changed("key")
			parse, err := f.parser()
			if err != nil {
				return err
			}
			options, err := f.options(args[0])
			if err != nil {
				return err
			}
			return produce(cmd, options, lines(cmd, args[1:]), parse, f.quiet)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.key, "key", "", "key of every record")
	flags.StringVar(&f.keySeparator, "key-separator", "", "what stands between key and value on a line")
	flags.StringArrayVar(&f.headers, "header", nil, "header key=value of every record, repeatable")
	flags.Int32Var(&f.partition, "partition", -1, "partition to write to (default: by the hash of the key, as Java producers do)")
	flags.StringVar(&f.compression, "compression", "none", "none, gzip, snappy, lz4 or zstd")
	flags.BoolVar(&f.json, "json", false, "each line is a record in JSON, as consume --json prints it")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "do not report what was written")
	cmd.MarkFlagsMutuallyExclusive("json", "key")
	cmd.MarkFlagsMutuallyExclusive("json", "key-separator")
	cmd.MarkFlagsMutuallyExclusive("key", "key-separator")
	return brokersFlag(cmd)
}

// parser makes the function that turns a line into a record.
func (f produceFlags) parser() (func(line []byte) (*kgo.Record, error), error) {
	var headers []kgo.RecordHeader
	for _, kv := range f.headers {
		key, value, ok := strings.Cut(kv, "=")
		if !ok {
			return nil, usagef("--header %q is not of the form key=value", kv)
		}
		headers = append(headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
	}
	return func(line []byte) (*kgo.Record, error) {
		r := &kgo.Record{Partition: -1, Value: bytes.Clone(line)}
		switch {
		case f.json:
			var err error
			if r, err = parseRecordJSON(line); err != nil {
				return nil, err
			}
		case f.hasKey:
			r.Key = []byte(f.key)
		case f.keySeparator != "":
			key, value, ok := bytes.Cut(r.Value, []byte(f.keySeparator))
			if !ok {
				return nil, fmt.Errorf("no separator %q on the line", f.keySeparator)
			}
			r.Key, r.Value = key, value
		}
		r.Headers = append(r.Headers, headers...)
		if f.partition >= 0 {
			r.Partition = f.partition
		}
		return r, nil
	}, nil
}

func (f produceFlags) options(topic string) ([]kgo.Opt, error) {
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	codec, ok := codecs[f.compression]
	if !ok {
		return nil, usagef("--compression %q: want none, gzip, snappy, lz4 or zstd", f.compression)
	}
	if f.partition < -1 {
		return nil, usagef("--partition %d: partitions begin with 0", f.partition)
	}
	return []kgo.Opt{
		kgo.DefaultProduceTopic(topic),
		kgo.AllowAutoTopicCreation(),
		kgo.ProducerBatchCompression(codec),
		kgo.RecordPartitioner(chosenPartitioner{kgo.StickyKeyPartitioner(nil)}),
		// A person waits for each line that is typed; input from a file fills
		// batches while requests are under way.
		kgo.ProducerLinger(0),
	}, nil
}

// chosenPartitioner takes the partition that a record names, else asks another.
type chosenPartitioner struct{ other kgo.Partitioner }

func (p chosenPartitioner) ForTopic(topic string) kgo.TopicPartitioner {
	return chosenTopicPartitioner{p.other.ForTopic(topic)}
}

type chosenTopicPartitioner struct{ kgo.TopicPartitioner }

func (p chosenTopicPartitioner) RequiresConsistency(r *kgo.Record) bool {
	return r.Partition >= 0 || p.TopicPartitioner.RequiresConsistency(r)
}

func (p chosenTopicPartitioner) Partition(r *kgo.Record, n int) int {
	if r.Partition >= 0 {
		return int(r.Partition) // out of range fails the record
	}
	return p.TopicPartitioner.Partition(r, n)
}

// OnNewBatch lets the other one move on, which embedding its interface would hide.
func (p chosenTopicPartitioner) OnNewBatch() {
	if sticky, ok := p.TopicPartitioner.(kgo.TopicPartitionerOnNewBatch); ok {
		sticky.OnNewBatch()
	}
}

// lines yields the values given as arguments, or the lines of standard input
// without their ends. A last line without an end counts.
func lines(cmd *cobra.Command, values []string) func(yield func([]byte, error) bool) {
	return func(yield func([]byte, error) bool) {
		for _, v := range values {
			if !yield([]byte(v), nil) {
				return
			}
		}
		if len(values) > 0 {
			return
		}
		in := cmd.InOrStdin()
		if isTerminal(in) {
			fmt.Fprintln(cmd.ErrOrStderr(), "one record a line; Ctrl-D ends")
		}
		scanner := bufio.NewScanner(in)
		scanner.Buffer(make([]byte, 0, 64<<10), maxLine)
		for scanner.Scan() {
			if !yield(scanner.Bytes(), nil) {
				return
			}
		}
		if err := scanner.Err(); err != nil {
			if errors.Is(err, bufio.ErrTooLong) {
				err = fmt.Errorf("a line is longer than %d bytes", maxLine)
			}
			yield(nil, err)
		}
	}
}

// produced is what the callbacks of a client have counted.
type produced struct {
	mu    sync.Mutex
	count int64
	err   error // the first
	stop  context.CancelFunc
}

func (p *produced) done(r *kgo.Record, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err == nil:
		p.count++
	case p.err == nil:
		p.err = produceError(r, err)
		p.stop() // the first refusal ends the input
	}
}

func produce(cmd *cobra.Command, options []kgo.Opt, input func(func([]byte, error) bool), parse func([]byte) (*kgo.Record, error), quiet bool) error {
	c, err := connect(cmd.Context(), cmd, options...)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, stop := context.WithCancel(cmd.Context())
	defer stop()
	p := &produced{stop: stop}

	var inputErr error
	number := 0
	for line, err := range input {
		number++
		if ctx.Err() != nil {
			break
		}
		var r *kgo.Record
		if err == nil {
			r, err = parse(line)
		}
		if err != nil {
			inputErr = fmt.Errorf("record %d: %w", number, err)
			break
		}
		c.Produce(ctx, r, p.done) // blocks while the client's buffer is full
	}
	// What was taken in is written also after Ctrl-C, within a bound.
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), adminTimeout)
	defer cancel()
	flushErr := c.Flush(flush)
	if flushErr != nil {
		flushErr = advise(fmt.Errorf("the broker did not take %s within %s: %w", plural(c.BufferedProduceRecords(), "record"), adminTimeout, flushErr),
			"They may be written all the same. The broker's log says why it waits; its store may be out.")
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	if !quiet {
		report(cmd.ErrOrStderr(), p.count)
	}
	return errors.Join(p.err, inputErr, flushErr, cmd.Context().Err())
}

func report(w io.Writer, count int64) { fmt.Fprintf(w, "%s written\n", plural(count, "record")) }

// produceError says why a record was not written.
func produceError(r *kgo.Record, err error) error {
	switch {
	case errors.Is(err, kerr.MessageTooLarge):
		return advise(fmt.Errorf("a record of %d bytes is too large for topic %s", len(r.Key)+len(r.Value), r.Topic),
			"Raise the topic's limit: sluice topic alter %s --config max.message.bytes=N", r.Topic)
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return advise(fmt.Errorf("topic %s does not exist", r.Topic),
			"Create it: sluice topic create %s", r.Topic)
	}
	return fmt.Errorf("topic %s: %w", r.Topic, err)
}
