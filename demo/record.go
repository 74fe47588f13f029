package demo

import (
	"bytes"
	"compress/gzip"
	_ "embed" // for the recording
	"encoding/binary"
	"fmt"
	"io"
)

// The recording: data/README.md says where it is from and how it is encoded.
//
//go:embed data/ecg-mitbih-208.delta.gz
var recording []byte

const (
	recordSamples = 108_000
	recordRate    = 360 // samples a second
	// recordUnit is how many microvolts one step of the recording's analogue to
	// digital converter is.
	recordUnit = 5
)

// record is an ECG, in steps of recordUnit.
type record []int16

// loadRecord decodes the recording.
func loadRecord() (record, error) {
	r, err := decodeRecord(recording, recordSamples)
	if err != nil {
		return nil, fmt.Errorf("embedded ECG: %w", err)
	}
	return r, nil
}

// decodeRecord decodes want samples: gzip over the differences of neighbouring
// samples, each a zigzag varint.
func decodeRecord(b []byte, want int) (record, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	// No difference takes more than three bytes.
	packed, err := io.ReadAll(io.LimitReader(z, int64(want)*binary.MaxVarintLen16+1))
	if err != nil {
		return nil, err
	}
	samples := make(record, 0, want)
	value := int64(0)
	for len(packed) > 0 && len(samples) < want {
		diff, n := binary.Varint(packed)
		value += diff
		if n <= 0 || value != int64(int16(value)) {
			return nil, fmt.Errorf("sample %d is not valid", len(samples))
		}
		samples, packed = append(samples, int16(value)), packed[n:]
	}
	if len(samples) != want || len(packed) > 0 {
		return nil, fmt.Errorf("it does not have %d samples", want)
	}
	return samples, nil
}

// microvolts returns sample n of a recording that starts again at its end.
func (r record) microvolts(n int64) int {
	return int(r[n%int64(len(r))]) * recordUnit
}
