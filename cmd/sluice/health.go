package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// healthTimeout is below the default timeout of a Docker health check.
const healthTimeout = 5 * time.Second

func newHealth() *cobra.Command {
	var address string
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask a broker on this machine whether it serves (exit code 0 or 1)",
		Long: `Asks a broker on this machine whether it serves, by GET /readyz on its --http
address. For health checks in containers, where there is no curl.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if env := os.Getenv("SLUICE_HTTP"); env != "" && !cmd.Flags().Changed("http") {
				address = env
			}
			if address == "off" {
				return usagef("--http is off: there is nothing to ask")
			}
			if !isAddress(address) {
				return usagef("--http %q: want host:port or :port", address)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), healthTimeout)
			defer cancel()
			return checkHealth(ctx, address)
		},
	}
	cmd.Flags().StringVar(&address, "http", defaultHTTP, "the broker's --http address (environment: SLUICE_HTTP)")
	return cmd
}

// errNotReady says that the broker answers, and that it does not serve.
var errNotReady = errors.New("not ready")

func checkHealth(ctx context.Context, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, reachable(address)+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 256))
		return fmt.Errorf("%w: %s: %s", errNotReady, resp.Status, strings.TrimSpace(string(body)))
	}
	return nil
}

// reachable is the URL of a listening address as seen from this machine.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}
