package client

import (
	"errors"
	"fmt"
	"strings"

	"myelin/protocol"
)

// Errors of calls that no server has answered.
var (
	// ErrConnectionLost says that the connection was lost after a command was
	// sent and before its reply came. Whether it was executed is unknown.
	ErrConnectionLost = errors.New("client: connection lost before the reply, the command may have been executed")
	// ErrQueueFull says that too many bytes wait to be sent.
	ErrQueueFull = errors.New("client: queue of outgoing commands is full, send less or raise MaxQueue")
	// ErrNotJSON says that a payload cannot travel on a JSON connection.
	ErrNotJSON = errors.New("client: payload is not a JSON value, send JSON or use Protobuf")
	// ErrSubscribed says that there is a subscription to that channel already.
	ErrSubscribed = errors.New("client: already subscribed to that channel, unsubscribe first")
	// ErrTooManySubscriptions says that MaxSubscriptions is reached.
	ErrTooManySubscriptions = errors.New("client: too many subscriptions, raise MaxSubscriptions")
	// ErrUnauthorized is what GetToken returns when there will be no token: the
	// client, or the subscription, ends.
	ErrUnauthorized = errors.New("client: unauthorized")
)

// Error codes of the protocol that the client itself acts upon.
const (
	codeTokenExpired = 109
	// Codes below this one are the client's own: its state, not a server's answer.
	firstServerCode = 100
)

// Codes of the client's own, in Disconnected and OnConnecting, as the public
// SDKs have them.
const (
	// CodeCalled means that the application asked for it.
	CodeCalled uint32 = 0
	// CodeTransportClosed means that the connection broke.
	CodeTransportClosed uint32 = 1
	// CodeNoPing means that the server's pings stopped.
	CodeNoPing uint32 = 2
	// CodeTimeout means that the server did not answer a command of the client's own.
	CodeTimeout uint32 = 3
	// CodeBadProtocol means that the server sent what the protocol does not allow.
	CodeBadProtocol uint32 = 4
	// CodeUnauthorized means that GetToken returned ErrUnauthorized, or that the
	// server refused the token and there is no GetToken.
	CodeUnauthorized uint32 = 5
	// CodeFrameTooLarge means that a frame was larger than a limit: MaxFrame
	// here, or the server's.
	CodeFrameTooLarge uint32 = 6
	// CodeQueueFull means that the connection was too slow for what the client
	// must send.
	CodeQueueFull uint32 = 7
)

// Error is an error reply of the server.
type Error struct {
	Code    uint32
	Message string
	// Temporary says that the same command may succeed later.
	Temporary bool
}

// Error says what the server said.
func (e *Error) Error() string { return fmt.Sprintf("server error %d: %s", e.Code, e.Message) }

func fromWireError(e *protocol.Error) *Error {
	return &Error{Code: e.GetCode(), Message: strings.Clone(e.GetMessage()), Temporary: e.GetTemporary()}
}

// retryable says whether the same command may succeed later.
func retryable(err error) bool {
	if errors.Is(err, ErrUnauthorized) {
		return false
	}
	e, ok := errors.AsType[*Error](err)
	return !ok || e.Temporary || e.Code < firstServerCode
}

// Disconnected says that a client has ended, or why a connection did.
type Disconnected struct {
	Code   uint32
	Reason string
}

// Error says why.
func (d *Disconnected) Error() string {
	return fmt.Sprintf("disconnected: %s (code %d)", d.Reason, d.Code)
}

// terminal says whether the client must not connect again.
func (d *Disconnected) terminal() bool {
	switch c := d.Code; {
	case c == CodeUnauthorized, c == CodeFrameTooLarge:
		return true
	case c < firstServerCode:
		return false
	default:
		return c < 3000 || c >= 3500 && c < 4000 || c >= 4500 && c < 5000
	}
}
