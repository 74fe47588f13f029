package channel

// Op says what a publication does to its channel.
type Op uint8

// The operations. A log channel takes OpAppend only, a state channel OpPut and
// OpDelete.
const (
	// OpAppend adds to the sequence.
	OpAppend Op = iota
	// OpPut sets the entry of a key in a state channel.
	OpPut
	// OpDelete removes the entry of a key. It is published even where there is
	// none.
	OpDelete
	// OpExpire is what an engine emits when the entry of a key has outlived
	// its time.
	OpExpire
)

// Content types of publication data.
const (
	// ContentJSON is the default: Data is one JSON value in UTF-8.
	ContentJSON = ""
	// ContentBytes is anything else.
	ContentBytes = "application/octet-stream"
)

// Publication is one entry of a channel's sequence. It is immutable once an
// engine has accepted it; whoever holds one must not change its slices or maps.
type Publication struct {
	Channel string
	Position
	// Prev is the offset of the publication before this one in the same
	// channel and epoch, 0 for the first.
	Prev uint64
	// Op and Key are for state channels; a log publication has OpAppend and "".
	Op  Op
	Key string
	// Data is the payload, of the type ContentType says.
	Data        []byte
	ContentType string
	// Tags are small strings for filters and routing. Nil where there are none.
	Tags map[string]string
	// Info tells who published, when a client did. Nil otherwise.
	Info *ClientInfo
	// Time is when the engine accepted it, in Unix milliseconds.
	Time int64
	// Expires is when it is of no more use, in Unix milliseconds: it is handed
	// to nobody after. 0 is never. Engines keep it as they keep others.
	Expires int64
	// Score orders the entries of a state channel beside their keys.
	Score int64
	// Base says, of a put, how many of the first bytes of Data are those that
	// the entry had before: a receiver that has them needs only the rest.
	Base int
}

// ClientInfo tells who a session is, to the other members of a channel.
type ClientInfo struct {
	// User is the user's id; empty for an anonymous client.
	User string
	// Client is the id of the connection.
	Client string
	// ConnInfo and ChanInfo are raw JSON from the connection token and from
	// the subscription token. Nil where there is none.
	ConnInfo []byte
	ChanInfo []byte
}
