package demo

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
)

var ecgSource = flag.String("ecg", "", "CSV from which TestEncodeRecord writes the recording")

const recordFile = "data/ecg-mitbih-208.delta.gz"

func encodeRecord(t *testing.T, r record) []byte {
	t.Helper()
	var packed []byte
	last := int64(0)
	for _, v := range r {
		packed = binary.AppendVarint(packed, int64(v)-last)
		last = int64(v)
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(packed); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestEncodeRecord(t *testing.T) {
	if *ecgSource == "" {
		t.Skip("no -ecg: nothing to encode")
	}
	csv, err := os.ReadFile(*ecgSource)
	if err != nil {
		t.Fatal(err)
	}
	var r record
	for line := range strings.Lines(string(csv)) {
		_, mv, _ := strings.Cut(strings.TrimSpace(line), ",")
		v, err := strconv.ParseFloat(mv, 64)
		if err != nil {
			continue // the heading
		}
		step := math.Round(v * 1000 / recordUnit)
		if math.Abs(step*recordUnit/1000-v) > 1e-9 {
			t.Fatalf("%v is not a multiple of %d microvolts", v, recordUnit)
		}
		r = append(r, int16(step))
	}
	if err := os.WriteFile(recordFile, encodeRecord(t, r), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d samples", len(r))
}

func mustLoad(t testing.TB) record {
	t.Helper()
	r, err := loadRecord()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRecordIsTheOriginal(t *testing.T) {
	r := mustLoad(t)
	if len(r) != 108_000 {
		t.Fatalf("%d samples", len(r))
	}
	for n, want := range map[int64]int{0: -245, 1: -215, 2: -185, 3: -175, 107_998: -395, 107_999: -385, 108_000: -245, 216_001: -215} {
		if got := r.microvolts(n); got != want {
			t.Errorf("sample %d is %d microvolts, want %d", n, got, want)
		}
	}
	raw := make([]byte, 0, 2*len(r))
	for _, v := range r {
		raw = binary.LittleEndian.AppendUint16(raw, uint16(v*recordUnit))
	}
	// Of the CSV's samples in microvolts, as little endian 16 bit integers.
	const want = "c9dcb7fa3a0814541efe3cc314e359553717afc5aac8f66fc7d09cc647cc5a51"
	if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:]) != want {
		t.Fatalf("the samples differ from the original: sha256 %x", sum)
	}
	if len(recording) > 150<<10 {
		t.Fatalf("%d bytes embedded, want at most 150 KiB", len(recording))
	}
}

func TestDecodeRecordRefuses(t *testing.T) {
	good := encodeRecord(t, record{1, -2, 300})
	if r, err := decodeRecord(good, 3); err != nil || r[2] != 300 {
		t.Fatalf("decode = %v, %v", r, err)
	}
	pack := func(diffs ...int64) []byte {
		var packed []byte
		for _, d := range diffs {
			packed = binary.AppendVarint(packed, d)
		}
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(packed)
		_ = z.Close()
		return b.Bytes()
	}
	for name, b := range map[string][]byte{
		"empty":      {},
		"no gzip":    []byte("hello, this is not gzip"),
		"truncated":  good[:len(good)-9],
		"too few":    encodeRecord(t, record{1, 2}),
		"too many":   encodeRecord(t, record{1, 2, 3, 4}),
		"overflow":   pack(32767, 1, 0),
		"huge":       pack(math.MaxInt64, math.MaxInt64, 0),
		"long bytes": pack(math.MinInt64, 1, 1),
	} {
		if r, err := decodeRecord(b, 3); err == nil {
			t.Errorf("%s: decoded %v", name, r)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte{2, 4, 6})
	f.Fuzz(func(t *testing.T, packed []byte) {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(packed)
		_ = z.Close()
		if r, err := decodeRecord(b.Bytes(), 3); err == nil && len(r) != 3 {
			t.Fatalf("%d samples", len(r))
		}
	})
}
