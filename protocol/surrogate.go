package protocol

import "strconv"

// HalfSurrogate reports whether a JSON string escapes one half of a surrogate
// pair. Decoding makes another text of such a one.
func HalfSurrogate(raw []byte) bool {
	const none = -1
	second := none // where the second half has to begin
	for i := 0; i+1 < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		at := i
		i++
		if raw[i] != 'u' || i+4 >= len(raw) {
			continue
		}
		unit, err := strconv.ParseUint(string(raw[i+1:i+5]), 16, 16)
		if err != nil {
			continue
		}
		i += 4
		isSecond := unit >= 0xDC00 && unit <= 0xDFFF
		if isSecond != (second != none) || isSecond && at != second {
			return true
		}
		second = none
		if unit >= 0xD800 && unit <= 0xDBFF {
			second = i + 1
		}
	}
	return second != none
}
