package observe

import (
	"io"
	"log/slog"
	"os"
)

// The log formats.
const (
	LogAuto = "auto"
	LogText = "text"
	LogJSON = "json"
)

// NewLogger returns a logger that writes to w at level and above. The format
// is text or json; auto, or anything else, is text where w is a terminal and
// JSON where it is not.
func NewLogger(w io.Writer, format string, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if format == LogText || format != LogJSON && terminal(w) {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// terminal reports whether w is a character device.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// The log keys. What is logged uses these and no others. There is none for a
// token or a payload, because those are never logged.
const (
	KeyAddr      = "addr"
	KeyBytes     = "bytes"
	KeyChannel   = "channel"
	KeyClient    = "client"
	KeyCode      = "code"
	KeyComponent = "component"
	KeyCount     = "count"
	KeyDoor      = "door"
	KeyDuration  = "duration"
	KeyEngine    = "engine"
	KeyEpoch     = "epoch"
	KeyErr       = "err"
	KeyFeed      = "feed"
	KeyID        = "id"
	KeyKeyID     = "kid"
	KeyLimit     = "limit"
	KeyListener  = "listener"
	KeyMethod    = "method"
	KeyNamespace = "namespace"
	KeyNode      = "node"
	KeyOffset    = "offset"
	KeyOrigin    = "origin"
	KeyPath      = "path"
	KeyReason    = "reason"
	KeyRemote    = "remote"
	KeySession   = "session"
	KeyShard     = "shard"
	KeySignal    = "signal"
	KeyStack     = "stack"
	KeyStatus    = "status"
	KeyURL       = "url"
	KeyUser      = "user"
	KeyVersion   = "version"
)

// Name is one row of the tables of log keys and span names.
type Name struct {
	Name string
	Help string
}

// LogKeys returns every log key.
func LogKeys() []Name {
	return []Name{
		{KeyAddr, "An address that is listened on or dialed."},
		{KeyBytes, "A size in bytes."},
		{KeyChannel, "A channel's name."},
		{KeyClient, "The id of a client's connection."},
		{KeyCode, "An error, disconnect or unsubscribe code."},
		{KeyComponent, "A component of the process."},
		{KeyCount, "How many."},
		{KeyDoor, "A way in, named as in metrics."},
		{KeyDuration, "How long something took or may take."},
		{KeyEngine, "The kind of engine."},
		{KeyEpoch, "The epoch of a channel."},
		{KeyErr, "What went wrong."},
		{KeyFeed, "A feed of the demo."},
		{KeyID, "The id of a command or of a publication."},
		{KeyKeyID, "The id of a token key."},
		{KeyLimit, "A named limit, named as in metrics."},
		{KeyListener, "Which listener: main or admin."},
		{KeyMethod, "A command, an API method or an HTTP method."},
		{KeyNamespace, "A namespace."},
		{KeyNode, "The id of a node."},
		{KeyOffset, "An offset in a channel."},
		{KeyOrigin, "The Origin header of a request."},
		{KeyPath, "A file or a URL path, without its query."},
		{KeyReason, "Why, in words."},
		{KeyRemote, "The address of the other side."},
		{KeySession, "The id of a session."},
		{KeyShard, "The number of a shard."},
		{KeySignal, "A signal of the operating system."},
		{KeyStack, "The stack of a panic."},
		{KeyStatus, "An HTTP status."},
		{KeyURL, "A URL, without credentials and query."},
		{KeyUser, "The id of a user."},
		{KeyVersion, "The version of the binary."},
	}
}

// The span names.
const (
	SpanCommand   = "myelin.command"
	SpanAPI       = "myelin.api"
	SpanPublish   = "myelin.publish"
	SpanSubscribe = "myelin.subscribe"
	SpanRecover   = "myelin.recover"
	SpanRepair    = "myelin.repair"
	SpanRead      = "myelin.engine.read"
)

// SpanNames returns every span name.
func SpanNames() []Name {
	return []Name{
		{SpanCommand, "One client command."},
		{SpanAPI, "One HTTP API request."},
		{SpanPublish, "One publish, to the engine's acknowledgement."},
		{SpanSubscribe, "One subscribe, to its reply."},
		{SpanRecover, "Finding what a subscriber missed."},
		{SpanRepair, "Reading a channel again after a gap."},
		{SpanRead, "One read from an engine."},
	}
}
