package observe_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"myelin/observe"
)

func TestLogFormats(t *testing.T) {
	for format, isJSON := range map[string]bool{
		observe.LogText: false, observe.LogJSON: true, observe.LogAuto: true, "": true, "no such": true,
	} {
		var b bytes.Buffer
		observe.NewLogger(&b, format, slog.LevelInfo).Info("hello", observe.KeyDoor, "sse")
		var got map[string]any
		err := json.Unmarshal(b.Bytes(), &got)
		switch {
		case isJSON && (err != nil || got["door"] != "sse" || got["msg"] != "hello"):
			t.Errorf("%q: %s is not the JSON: %v", format, b.String(), err)
		case !isJSON && !strings.Contains(b.String(), "msg=hello door=sse"):
			t.Errorf("%q: %s is not the text", format, b.String())
		}
	}
}

// TestLogAutoLooksAtTheFile takes the null device for a terminal: both are
// character devices.
func TestLogAutoLooksAtTheFile(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	if _, text := observe.NewLogger(null, observe.LogAuto, slog.LevelInfo).Handler().(*slog.TextHandler); !text {
		t.Error("a character device does not get text")
	}
	if _, text := observe.NewLogger(null, observe.LogJSON, slog.LevelInfo).Handler().(*slog.TextHandler); text {
		t.Error("a character device gets text where JSON was asked for")
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	if _, text := observe.NewLogger(file, observe.LogAuto, slog.LevelInfo).Handler().(*slog.TextHandler); text {
		t.Error("a file gets text")
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if _, text := observe.NewLogger(file, observe.LogAuto, slog.LevelInfo).Handler().(*slog.TextHandler); text {
		t.Error("a closed file gets text")
	}
}

func TestLogLevelMayChange(t *testing.T) {
	var (
		b     bytes.Buffer
		level slog.LevelVar
	)
	log := observe.NewLogger(&b, observe.LogText, &level)
	log.Debug("quiet")
	level.Set(slog.LevelDebug)
	log.Debug("loud")
	if got := b.String(); strings.Contains(got, "quiet") || !strings.Contains(got, "loud") {
		t.Errorf("%q, want only the second line", got)
	}
}
