package disk

import "encoding/binary"

// The first byte of a key says what it is the key of.
const (
	// keyHeader and a name: what is kept of the store as a whole.
	keyHeader = 'H'
	// keyMeta, name: a channel.
	keyMeta = 'c'
	// keyPub, channel id, offset: a publication.
	keyPub = 'm'
	// keyEntry, channel id, key: an entry of a state channel.
	keyEntry = 'k'
	// keyTally, channel id: the top and the number of entries of a state
	// channel.
	keyTally = 't'
	// keyID, name, message id: where an id was published.
	keyID = 'i'
	// keyIDDue, minute, name, message id: when an id may be forgotten.
	keyIDDue = 'y'
	// keyEntryDue, milliseconds, channel id, key: when an entry ends.
	keyEntryDue = 'e'
	// keyVisit, minute, channel id: when to look at a channel for what has
	// outlived its time.
	keyVisit = 'v'
	// keyUnflushed, name: an async channel that may have acknowledged what is
	// not on disk.
	keyUnflushed = 'd'
)

// The names of what is kept of the store.
const (
	headerFormat  = "format"
	headerSecret  = "secret"
	headerRebirth = "rebirth"
	headerSeason  = "season"
	headerNextID  = "next-id"
	headerClock   = "clock"
)

func headerKey(name string) []byte { return append([]byte{keyHeader}, name...) }

func metaKey(name string) []byte { return append([]byte{keyMeta}, name...) }

func unflushedKey(name string) []byte { return append([]byte{keyUnflushed}, name...) }

// numbered returns a key of a first byte and numbers.
func numbered(first byte, numbers ...uint64) []byte {
	k := append(make([]byte, 0, 1+8*len(numbers)+32), first)
	for _, n := range numbers {
		k = binary.BigEndian.AppendUint64(k, n)
	}
	return k
}

func pubKey(channelID, offset uint64) []byte { return numbered(keyPub, channelID, offset) }

func tallyKey(channelID uint64) []byte { return numbered(keyTally, channelID) }

func entryKey(channelID uint64, key string) []byte {
	return append(numbered(keyEntry, channelID), key...)
}

func entryDueKey(due int64, channelID uint64, key string) []byte {
	return append(numbered(keyEntryDue, uint64(due), channelID), key...)
}

func visitKey(minute int64, channelID uint64) []byte {
	return numbered(keyVisit, uint64(minute), channelID)
}

// named returns a key that ends in a channel's name and an id.
func named(prefix []byte, name, id string) []byte {
	k := append(prefix, byte(len(name)))
	k = append(k, name...)
	return append(k, id...)
}

func idKey(name, id string) []byte {
	return named(append(make([]byte, 0, 2+len(name)+len(id)), keyID), name, id)
}

func idDueKey(minute int64, name, id string) []byte {
	return named(numbered(keyIDDue, uint64(minute)), name, id)
}

// splitDue takes a due key apart into its number and the rest.
func splitDue(key []byte) (due uint64, rest []byte, ok bool) {
	if len(key) < 9 {
		return 0, nil, false
	}
	return binary.BigEndian.Uint64(key[1:]), key[9:], true
}

// splitNumber takes a number off the front.
func splitNumber(b []byte) (n uint64, rest []byte, ok bool) {
	if len(b) < 8 {
		return 0, nil, false
	}
	return binary.BigEndian.Uint64(b), b[8:], true
}

// after returns the first key behind all that begin with prefix. The last byte
// of a first byte is never 0xff, so there is one.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		end[i]++
		if end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
