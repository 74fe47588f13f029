package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"myelin/bench"
)

// healthCommand asks a server how it is, for container health checks.
type healthCommand struct {
	URL string `default:"http://127.0.0.1:8001/health/ready" help:"Health endpoint; it is on the admin listener, and on the main one with --dev."`
}

// Run prints the answer and fails unless it is good.
func (c *healthCommand) Run(ctx context.Context, s streams) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if u, err := url.Parse(c.URL); err != nil || u.Host == "" {
		return usageError{fmt.Errorf("--url is %q, want one such as http://127.0.0.1:8001/health/ready", c.URL)}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL, nil)
	if err != nil {
		return asUsage(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(s.out, io.LimitReader(resp.Body, 64<<10)); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("not healthy: %s", resp.Status)
	}
	return nil
}

// versionCommand says what this is.
type versionCommand struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Run prints version, commit and Go version.
func (c *versionCommand) Run(s streams) error {
	v := struct {
		Version string `json:"version"`
		Commit  string `json:"commit,omitempty"`
		Go      string `json:"go"`
		OS      string `json:"os"`
		Arch    string `json:"arch"`
	}{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, kv := range info.Settings {
			if kv.Key == "vcs.revision" {
				v.Commit = kv.Value
			}
		}
	}
	if c.JSON {
		return json.NewEncoder(s.out).Encode(v)
	}
	words := []string{"myelin", v.Version, v.Go, v.OS + "/" + v.Arch}
	if v.Commit != "" {
		words = append(words, v.Commit)
	}
	_, err := fmt.Fprintln(s.out, strings.Join(words, " "))
	return err
}

// benchCommand measures a server.
type benchCommand struct {
	bench.Options
}

// Run measures and prints the report.
func (c *benchCommand) Run(ctx context.Context, s streams) error {
	report, err := bench.Run(ctx, c.Options)
	if report != nil {
		write := report.WriteTable
		if c.JSON {
			write = report.WriteJSON
		}
		if werr := write(s.out); werr != nil {
			return werr
		}
	}
	if _, ok := errors.AsType[*bench.OptionError](err); ok {
		return asUsage(err)
	}
	return err
}
