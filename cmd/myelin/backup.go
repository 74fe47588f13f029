package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"myelin/server"
)

// progressPause is how long a backup may take before it is told how it goes,
// and between two such lines.
const progressPause = 3 * time.Second

// backupCommand has a running server copy what it keeps.
type backupCommand struct {
	To    string `type:"path" required:"" placeholder:"DIR" help:"Where to: a directory on the server's machine that does not exist, or is empty and the server's own."`
	Admin string `default:"http://127.0.0.1:8001" placeholder:"URL" help:"The server's admin listener, by a loopback address."`
}

// Run asks for the backup and waits for its end.
func (c *backupCommand) Run(ctx context.Context, s streams) error {
	u, err := url.Parse(c.Admin)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return usageError{fmt.Errorf("--admin is %q, want one such as http://127.0.0.1:8001", c.Admin)}
	}
	body, err := json.Marshal(server.BackupRequest{Dir: c.To})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.JoinPath("backup").String(), bytes.NewReader(body))
	if err != nil {
		return asUsage(err)
	}
	req.Header.Set("Content-Type", "application/json")
	result, err := c.await(req, s)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s: %d files, %.1f MiB, in %.1f s\n", result.Dir, result.Files, float64(result.Bytes)/(1<<20), result.Seconds)
	fmt.Fprintf(s.err, "To go back to it: stop the server, then myelin serve --data with a copy of it.\n")
	return nil
}

// await sends the request and says how it goes.
func (c *backupCommand) await(req *http.Request, s streams) (*server.BackupResult, error) {
	type outcome struct {
		result *server.BackupResult
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		result, err := c.ask(req)
		done <- outcome{result, err}
	}()
	begun := time.Now()
	tick := time.NewTicker(progressPause)
	defer tick.Stop()
	for {
		select {
		case o := <-done:
			return o.result, o.err
		case <-tick.C:
			fmt.Fprintf(s.err, "copying since %v ...\n", time.Since(begun).Round(time.Second))
		}
	}
}

func (c *backupCommand) ask(req *http.Request) (*server.BackupResult, error) {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w (is the server running on this machine, and is --admin its admin.listen?)", err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return nil, fmt.Errorf("the server went away before the backup was done; remove %s: %w", c.To, err)
	}
	var result server.BackupResult
	if err := json.Unmarshal(text, &result); err != nil {
		return nil, fmt.Errorf("%s answers %s; is --admin the admin listener of a Myelin?", c.Admin, resp.Status)
	}
	if result.Error != "" {
		return nil, errors.New(result.Error)
	}
	if resp.StatusCode != http.StatusOK || result.Dir == "" {
		return nil, fmt.Errorf("%s answers %s", c.Admin, resp.Status)
	}
	return &result, nil
}
