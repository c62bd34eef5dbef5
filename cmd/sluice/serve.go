package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sluice/broker"
)

// drainTimeout bounds the orderly end, after which connections are cut: below
// the 30 s that Kubernetes and the compose file allow.
const drainTimeout = 20 * time.Second

func newServe() *cobra.Command {
	var configs []string
	var file string
	values := make([]string, len(ownFlags))
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Start a broker",
		Long: `Starts a broker. Settings come from flags, --config, environment variables and a
properties file, the first of these that has one. Environment variables are
SLUICE_ and the name of a flag (SLUICE_STORE), and those of Kafka's images
(KAFKA_LISTENERS, KAFKA_NUM_PARTITIONS, ...): KAFKA_ and the property, with "_"
for ".", "__" for "_", "___" for "-".

An S3-compatible store is found as by every tool for S3: AWS_ENDPOINT_URL,
AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, profiles and roles.`,
		Example: `  sluice serve
  sluice serve --store s3://lake/kafka --config num.partitions=6
  sluice serve --listeners PLAINTEXT://:9092 --advertised-listeners PLAINTEXT://broker.example.com:9092`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := gatherSettings(cmd, values, configs, file)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), s, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	defaults := map[string]string{"store": defaultStore, "listeners": defaultListeners, "http": defaultHTTP,
		"node-id": "1", "log-level": "info", "log-format": "text"}
	for i, own := range ownFlags {
		cmd.Flags().StringVar(&values[i], own.flag, defaults[own.flag], own.usage)
	}
	cmd.Flags().StringArrayVar(&configs, "config", nil, "broker property key=value, as in Kafka, repeatable")
	cmd.Flags().StringVar(&file, "properties", "", "a properties file, as Kafka's server.properties (environment: SLUICE_PROPERTIES)")
	return cmd
}

// gatherSettings reads all sources of settings.
func gatherSettings(cmd *cobra.Command, values, configs []string, file string) (settings, error) {
	src := sources{environ: os.Environ(), config: configs, flags: map[string]string{}}
	for i, own := range ownFlags {
		if cmd.Flags().Changed(own.flag) {
			src.flags[own.property] = values[i]
		}
	}
	if src.path = file; src.path == "" {
		src.path = os.Getenv("SLUICE_PROPERTIES")
	}
	if src.path != "" {
		var err error
		if src.file, err = readProperties(src.path); err != nil {
			return settings{}, usagef("--properties: %w", err)
		}
	}
	properties, err := src.merge()
	if err != nil {
		return settings{}, err
	}
	return newSettings(properties)
}

// serve runs a broker until ctx ends, and ends it in order: no new connections,
// what was begun is committed and answered, then the tables are closed.
func serve(ctx context.Context, s settings, stdout, stderr io.Writer) error {
	log := newLogger(s, stderr)
	slog.SetDefault(log)
	s.report(log)

	u, err := parseStore(s.store)
	if err != nil {
		return err
	}
	// First of all the ports: nothing is opened, let alone taken over, by a
	// process that cannot serve.
	sockets, err := bind(ctx, &s)
	if err != nil {
		return err
	}
	defer sockets.close()

	tuneCollector()
	n, err := openNode(ctx, s, u, limitMemory(), log)
	if err != nil {
		return err
	}
	defer n.abandon()

	// The two ends of this function: ctx, or a server that fails.
	failed := make(chan error, len(sockets.kafka)+1)
	web := newHTTPServer(n.metrics, s.pprof)
	defer web.close()
	if sockets.http != nil {
		web.serve(sockets.http, func(err error) { failed <- fmt.Errorf("http: %w", err) })
	}
	for i, l := range s.broker.Listeners {
		go func() { failed <- n.broker.ServeListener(l.Name, watchListener(sockets.kafka[i])) }()
	}
	stopExpiry := n.startExpiry(ctx)
	defer stopExpiry()
	web.ready.Store(true)
	b := banner{listeners: s.broker.Listeners, store: n.store.URL(), probe: n.probe, http: s.http}
	if err := b.write(stdout); err != nil {
		return err
	}

	select {
	case <-ctx.Done():
		err = nil
	case err = <-failed:
		if errors.Is(err, broker.ErrClosed) {
			err = nil
		}
	}
	web.ready.Store(false)
	stopExpiry()
	log.Info("shutting down", "within", drainTimeout)
	drain, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	return errors.Join(err, n.shutdown(drain))
}

// report tells in the log which settings have no effect.
func (s settings) report(log *slog.Logger) {
	if len(s.unknown) > 0 {
		log.Warn("unknown settings are ignored", "settings", strings.Join(s.unknown, " "))
	}
	if len(s.unserved) > 0 {
		log.Warn("TLS, SASL and ACLs are not served yet, and these settings are ignored", "settings", strings.Join(s.unserved, " "))
	}
	if s.unneeded > 0 {
		log.Debug("settings that only Kafka needs are ignored", "number", s.unneeded)
	}
}

func newLogger(s settings, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: s.logLevel}
	if s.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// sockets are the ports of a broker, taken before anything else.
type sockets struct {
	kafka []net.Listener // in the order of the listeners
	http  net.Listener   // nil: off
}

// bind takes all ports. Where a listener asked for port 0, the settings get the
// port that it was given.
func bind(ctx context.Context, s *settings) (_ *sockets, err error) {
	b := &sockets{}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	var config net.ListenConfig
	for i := range s.broker.Listeners {
		l := &s.broker.Listeners[i]
		ln, err := config.Listen(ctx, "tcp", l.Bind)
		if err != nil {
			return nil, bindError("listener "+l.Name, "--listeners "+l.Name+"://:PORT", err)
		}
		b.kafka = append(b.kafka, ln)
		if l.Port == 0 {
			l.Port = int32(ln.Addr().(*net.TCPAddr).Port)
		}
	}
	if s.http != "" {
		if b.http, err = config.Listen(ctx, "tcp", s.http); err != nil {
			return nil, bindError("http", "--http :PORT, or --http off", err)
		}
		s.http = b.http.Addr().String()
	}
	return b, nil
}

func (b *sockets) close() {
	for _, ln := range b.kafka {
		ln.Close()
	}
	if b.http != nil {
		b.http.Close()
	}
}

func bindError(what, flag string, err error) error {
	err = fmt.Errorf("%s: %w", what, err)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return advise(err, "Another process has that port, perhaps another sluice. Stop it, or choose another port: %s", flag)
	case errors.Is(err, syscall.EACCES):
		return advise(err, "Ports below 1024 need privileges. Choose another: %s", flag)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return advise(err, "That is no address of this machine: it goes into --advertised-listeners; listen at all addresses with an empty host.")
	}
	return err
}
