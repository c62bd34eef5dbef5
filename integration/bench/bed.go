//go:build linux

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"sluice/integration/setup"
)

// bed is a broker to measure, as it is set up.
type bed struct {
	name  string // in keys and patterns
	title string // in tables and plots
	// open are flags of `sluice bench` for loads at a fixed rate: settings of topics that
	// Kafka would refuse.
	open  string
	start func(ctx context.Context, w *workshop, dir string) (*broker, error)
}

// workshop is what all beds are made of.
type workshop struct {
	sluice string // the binary
	minio  string
	jars   string // of Apache Kafka
	held   inodes
}

// broker is a running broker, with the store's server if it has one.
type broker struct {
	*process
	address string
	metrics string                      // URL; "" if it is not Sluice
	url     string                      // of Sluice's store
	env     []string                    // that leads to the store
	again   func(context.Context) error // ends Sluice and starts it again
	store   *process                    // MinIO; nil: none
}

func (b *broker) stop() {
	b.process.stop()
	if b.store != nil {
		b.store.stop()
	}
}

// onDirectory is Sluice on a local directory, as it comes but for the settings given.
func onDirectory(settings ...string) func(context.Context, *workshop, string) (*broker, error) {
	return func(ctx context.Context, w *workshop, dir string) (*broker, error) {
		b := &broker{url: filepath.Join(dir, "store")}
		return b, b.serve(ctx, w, dir, settings)
	}
}

// onMinIO is Sluice on a MinIO of its own with one drive.
func onMinIO(settings ...string) func(context.Context, *workshop, string) (*broker, error) {
	return func(ctx context.Context, w *workshop, dir string) (*broker, error) {
		address, err := setup.FreeAddress()
		if err != nil {
			return nil, err
		}
		drive := filepath.Join(dir, "drive")
		if err := os.Mkdir(drive, 0o755); err != nil {
			return nil, err
		}
		server, err := start(dir, "minio", setup.MinIOEnv(dir), w.minio, "server", "--quiet", "--address", address, drive)
		if err != nil {
			return nil, err
		}
		b := &broker{url: "s3://lake/kafka", env: setup.S3Env(address, setup.MinIOUser, setup.MinIOPassword), store: server}
		err = server.ready(ctx, serves(setup.MinIOReady(address)))
		if err == nil {
			err = b.serve(ctx, w, dir, settings)
		}
		if err != nil {
			server.stop()
			return nil, err
		}
		return b, nil
	}
}

// serve starts `sluice serve` on the store.
func (b *broker) serve(ctx context.Context, w *workshop, dir string, settings []string) error {
	var err error
	if b.address, err = setup.FreeAddress(); err != nil {
		return err
	}
	http, err := setup.FreeAddress()
	if err != nil {
		return err
	}
	command := []string{w.sluice, "serve", "--store", b.url, "--http", http, "--listeners", "PLAINTEXT://" + b.address, "--log-level", "warn"}
	for _, setting := range settings {
		command = append(command, "--config", setting)
	}
	b.metrics = "http://" + http + "/metrics"
	begin := func(ctx context.Context) error {
		if b.process, err = start(dir, "sluice", b.env, command...); err != nil {
			return err
		}
		if err := b.ready(ctx, serves("http://"+http+"/readyz")); err != nil {
			b.process.stop()
			return err
		}
		return nil
	}
	b.again = func(ctx context.Context) error {
		b.process.stop()
		return begin(ctx)
	}
	return begin(ctx)
}

// kafkaJava are the JVM's settings of Kafka's own start script (bin/kafka-server-start.sh,
// bin/kafka-run-class.sh).
var kafkaJava = []string{"-Xms1G", "-Xmx1G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35",
	"-XX:+ExplicitGCInvokesConcurrent", "-XX:MaxInlineLevel=15", "-Djava.awt.headless=true", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"}

// kafka is Apache Kafka, one node that is broker and controller, with its defaults but
// for the settings given.
func kafka(settings ...string) func(context.Context, *workshop, string) (*broker, error) {
	return func(ctx context.Context, w *workshop, dir string) (*broker, error) {
		b := &broker{}
		var err error
		if b.address, err = setup.FreeAddress(); err != nil {
			return nil, err
		}
		controller, err := setup.FreeAddress()
		if err != nil {
			return nil, err
		}
		properties := filepath.Join(dir, "server.properties")
		err = os.WriteFile(properties, []byte(strings.Join(append([]string{
			"process.roles=broker,controller", "node.id=1", "controller.quorum.voters=1@" + controller,
			"listeners=PLAINTEXT://" + b.address + ",CONTROLLER://" + controller, "controller.listener.names=CONTROLLER",
			"log.dirs=" + filepath.Join(dir, "log"), "offsets.topic.replication.factor=1",
			"transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1",
		}, settings...), "\n")), 0o644)
		if err != nil {
			return nil, err
		}
		classes := filepath.Join(w.jars, "*")
		if err := setup.Run(dir, nil, "java", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", classes,
			"kafka.tools.StorageTool", "format", "--config", properties, "--cluster-id", "c2x1aWNlLWJlbmNoLTAwMQ"); err != nil {
			return nil, err
		}
		command := append(append([]string{"java"}, kafkaJava...), "-cp", classes, "kafka.Kafka", properties)
		if b.process, err = start(dir, "kafka", nil, command...); err != nil {
			return nil, err
		}
		err = b.ready(ctx, func(ctx context.Context) error {
			return exec.CommandContext(ctx, w.sluice, "topic", "list", "--brokers", b.address).Run()
		})
		if err != nil {
			b.process.stop()
			return nil, err
		}
		return b, nil
	}
}
