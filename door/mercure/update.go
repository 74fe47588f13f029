package mercure

import (
	"encoding/json"
	"strings"

	"myelin/channel"
	"myelin/protocol"
)

// The tags of a publication that is an update.
const (
	// tagType and tagRetry are the fields of the event.
	tagType  = "event"
	tagRetry = "retry"
	// tagID is the id that the publisher chose.
	tagID = "id"
	// tagText says that the data is a text and not the JSON in one.
	tagText = "text"
	// tagUpdate names an update with several topics, to know its copies by.
	tagUpdate = "update"
)

// payload returns how a text is kept: as the JSON it is, or in JSON.
func payload(text string) (data []byte, isText bool) {
	if json.Valid([]byte(text)) {
		return []byte(text), false
	}
	data, _ = json.Marshal(text) // cannot fail
	return data, true
}

// textOf returns the data of an update.
func textOf(p *channel.Publication) string {
	data := p.Data
	if p.ContentType != channel.ContentJSON {
		data = protocol.Payload(protocol.JSON, p)
	}
	var text string
	if p.Tags[tagText] == "1" && json.Unmarshal(data, &text) == nil {
		return text
	}
	return string(data)
}

// body returns what an event is but for its id, in the format of event streams
// (WHATWG HTML, section 9.2.5).
func body(p *channel.Publication) []byte {
	var b []byte
	if t := p.Tags[tagType]; t != "" && !strings.ContainsAny(t, "\r\n") {
		b = append(append(append(b, "event: "...), t...), '\n')
	}
	if t := p.Tags[tagRetry]; isDigits(t) {
		b = append(append(append(b, "retry: "...), t...), '\n')
	}
	text := strings.ReplaceAll(strings.ReplaceAll(textOf(p), "\r\n", "\n"), "\r", "\n")
	for line := range strings.SplitSeq(text, "\n") {
		b = append(append(append(b, "data: "...), line...), '\n')
	}
	return append(b, '\n')
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// idOf returns the id of an event by the resume token that it stands for: a
// relative reference, so that no id of a publisher can be taken for one.
func idOf(token string) string { return "#" + token }
