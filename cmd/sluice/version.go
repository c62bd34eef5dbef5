package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// release is set by the build of a release: -ldflags "-X main.release=1.2.3".
var release string

// version names this build: the release, else what the Go toolchain recorded
// about the checkout, else "devel".
func version() string {
	info, ok := debug.ReadBuildInfo()
	if release != "" || !ok {
		return orElse(release, "devel")
	}
	revision, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if revision == "" {
		return "devel"
	}
	return "devel-" + revision[:min(12, len(revision))] + dirty
}

func newVersion() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of this binary",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			platform := runtime.GOOS + "/" + runtime.GOARCH
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), struct {
					Version  string `json:"version"`
					Go       string `json:"go"`
					Platform string `json:"platform"`
				}{version(), runtime.Version(), platform})
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "sluice %s (%s, %s)\n", version(), runtime.Version(), platform)
			return err
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func orElse(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}
