package config

import (
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"
)

// Redacted is what stands for a secret in print. It is refused as a value, so
// that a printed configuration is never mistaken for a working one.
const Redacted = "(redacted)"

// The values of a Switch.
const (
	Auto Switch = "auto"
	On   Switch = "true"
	Off  Switch = "false"
)

// Switch is a yes or no that can be left to the server.
type Switch string

// Secret is text that no log, message or format verb shows. Convert it to
// string to use it.
type Secret string

// String returns the placeholder, or nothing for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return Redacted
}

// GoString keeps the secret out of %#v.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// LogValue keeps the secret out of slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText keeps the secret out of encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Duration is a span of time, written as 30s, 5m, 1h30m.
type Duration time.Duration

// String writes the duration in its shortest form: 5m, not 5m0s.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Size is a number of bytes, written as 512, 64KiB, 1MiB, 2GiB.
type Size int64

// The units of a Size.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
)

// String writes the size in the largest unit that is exact.
func (s Size) String() string {
	switch {
	case s == 0:
		return "0"
	case s%GiB == 0:
		return strconv.FormatInt(int64(s/GiB), 10) + "GiB"
	case s%MiB == 0:
		return strconv.FormatInt(int64(s/MiB), 10) + "MiB"
	case s%KiB == 0:
		return strconv.FormatInt(int64(s/KiB), 10) + "KiB"
	}
	return strconv.FormatInt(int64(s), 10)
}

// fault says what is wrong with a value; the caller knows where it stands.
type fault struct {
	message    string
	suggestion string
}

func faultf(format string, args ...any) *fault {
	return &fault{message: fmt.Sprintf(format, args...)}
}

func (f *fault) suggest(s string) *fault {
	f.suggestion = s
	return f
}

func parseDuration(text string) (Duration, *fault) {
	d, err := time.ParseDuration(text)
	switch {
	case err == nil && d >= 0:
		return Duration(d), nil
	case err == nil:
		return 0, faultf("%s is negative", quote(text))
	}
	f := faultf("expected a duration such as 30s or 5m, got %s", quote(text))
	number, unit := splitUnit(text)
	var scale time.Duration
	switch unit {
	case "", "sec", "secs", "second", "seconds", "s":
		scale = time.Second
	case "ms", "millis", "milliseconds":
		scale = time.Millisecond
	case "min", "mins", "minute", "minutes", "m":
		scale = time.Minute
	case "hour", "hours", "h", "hr", "hrs":
		scale = time.Hour
	case "day", "days", "d":
		scale = 24 * time.Hour
	case "week", "weeks", "w":
		scale = 7 * 24 * time.Hour
	}
	if ns := number * float64(scale); ns > 0 && ns < math.MaxInt64 {
		f.suggestion = Duration(ns).String()
	}
	return 0, f
}

func parseSize(text string) (Size, *fault) {
	digits := strings.TrimRight(text, "KMGiB")
	var scale Size
	switch text[len(digits):] {
	case "":
		scale = 1
	case "KiB":
		scale = KiB
	case "MiB":
		scale = MiB
	case "GiB":
		scale = GiB
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if plainDigits(digits) && err == nil && scale > 0 && n <= math.MaxInt64/int64(scale) {
		return Size(n) * scale, nil
	}
	f := faultf("expected a size such as 65536 or 64KiB, got %s", quote(text))
	number, unit := splitUnit(text)
	switch unit {
	case "", "b", "byte", "bytes":
		scale = 1
	case "k", "kb", "kib":
		scale = KiB
	case "m", "mb", "mib":
		scale = MiB
	case "g", "gb", "gib":
		scale = GiB
	default:
		scale = 0
	}
	if n := number * float64(scale); n >= 1 && n < 1<<50 {
		f.suggestion = Size(n).String()
	}
	return 0, f
}

func parseInt(text string) (int64, *fault) {
	n, err := strconv.ParseInt(text, 10, 64)
	if plainDigits(strings.TrimPrefix(text, "-")) && err == nil {
		return n, nil
	}
	f := faultf("expected a whole number, got %s", quote(text))
	plain := strings.NewReplacer("_", "", ",", "", "'", "", " ", "").Replace(text)
	if v, err := strconv.ParseFloat(plain, 64); err == nil && v == math.Trunc(v) && math.Abs(v) < 1<<50 {
		f.suggestion = strconv.FormatInt(int64(v), 10)
	}
	return 0, f
}

func parseBool(text string) (bool, *fault) {
	switch text {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	f := faultf("expected true or false, got %s", quote(text))
	switch strings.ToLower(text) {
	case "true", "yes", "y", "on", "1", "enable", "enabled":
		f.suggestion = "true"
	case "false", "no", "n", "off", "0", "disable", "disabled":
		f.suggestion = "false"
	}
	return false, f
}

// splitUnit reads text as people write quantities: "1.5 mb" is 1.5 and "mb".
// What is no number gives 0.
func splitUnit(text string) (float64, string) {
	text = strings.TrimSpace(text)
	i := strings.LastIndexAny(text, "0123456789") + 1
	number, err := strconv.ParseFloat(strings.ReplaceAll(text[:i], "_", ""), 64)
	if err != nil || math.IsInf(number, 0) || math.IsNaN(number) {
		return 0, ""
	}
	return number, strings.ToLower(strings.TrimSpace(text[i:]))
}

// plainDigits refuses signs, separators and the leading zeros that some read
// as octal.
func plainDigits(s string) bool {
	return s == "0" || s != "" && s[0] != '0' && strings.Trim(s, "0123456789") == ""
}

// quote shows a value in a message, shortened.
func quote(text string) string {
	const most = 40
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "..."
	}
	return strconv.Quote(text)
}
