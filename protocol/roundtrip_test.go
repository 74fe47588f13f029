package protocol_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"myelin/protocol"
)

func TestRoundTripCommands(t *testing.T) { roundTrip(t, commandCodec()) }
func TestRoundTripReplies(t *testing.T)  { roundTrip(t, replyCodec()) }
func TestRoundTripPushes(t *testing.T)   { roundTrip(t, pushCodec()) }

// roundTrip encodes frames of any messages and wants them back.
func roundTrip[M any](t *testing.T, c codec[M]) {
	for _, f := range []protocol.Format{protocol.JSON, protocol.Protobuf} {
		t.Run(f.String(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				want := make([]*M, rapid.IntRange(1, 4).Draw(t, "messages"))
				for i := range want {
					want[i] = new(M)
					fill(t, f, reflect.ValueOf(want[i]).Elem(), 0)
				}
				frame := c.frame(f, want...)
				if f == protocol.JSON && bytes.Count(frame, []byte{'\n'}) != len(want)-1 {
					t.Fatalf("%d messages are not as many lines: %q", len(want), frame)
				}
				got, err := c.all(f, frame)
				if err != nil || len(got) != len(want) {
					t.Fatalf("%d of %d messages: %v", len(got), len(want), err)
				}
				for i := range want {
					if !reflect.DeepEqual(got[i], want[i]) {
						t.Fatalf("message %d is\n%v, want\n%v", i, got[i], want[i])
					}
				}
			})
		})
	}
}

// maxFill is how deep generated messages nest.
const maxFill = 6

// fill sets the exported fields of a message, or leaves them zero, as rapid
// decides. It makes nothing that is empty but not nil, which no format can
// tell from nil.
func fill(t *rapid.T, f protocol.Format, v reflect.Value, depth int) {
	for field, value := range v.Fields() {
		if field.IsExported() && depth < maxFill && rapid.IntRange(0, 2).Draw(t, field.Name) == 0 {
			value.Set(fillValue(t, f, value.Type(), depth))
		}
	}
}

func fillValue(t *rapid.T, f protocol.Format, typ reflect.Type, depth int) reflect.Value {
	v := reflect.New(typ).Elem()
	switch typ.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32:
		v.SetInt(int64(rapid.Int32().Draw(t, "int32")))
	case reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, "int64"))
	case reflect.Uint32:
		v.SetUint(uint64(rapid.Uint32().Draw(t, "uint32")))
	case reflect.Uint64:
		v.SetUint(rapid.Uint64().Draw(t, "uint64"))
	case reflect.String:
		v.SetString(rapid.String().Draw(t, "string"))
	case reflect.Pointer:
		v.Set(reflect.New(typ.Elem()))
		fill(t, f, v.Elem(), depth+1)
	case reflect.Map:
		v.Set(reflect.MakeMap(typ))
		for range rapid.IntRange(1, 3).Draw(t, "entries") {
			v.SetMapIndex(fillValue(t, f, typ.Key(), depth), fillValue(t, f, typ.Elem(), depth))
		}
	case reflect.Slice:
		if typ == reflect.TypeFor[protocol.Raw]() {
			return reflect.ValueOf(payload(f).Draw(t, "payload"))
		}
		for range rapid.IntRange(1, 3).Draw(t, "elements") {
			v = reflect.Append(v, fillValue(t, f, typ.Elem(), depth))
		}
	default:
		t.Fatalf("a message has a field of type %s, which this test cannot fill", typ)
	}
	return v
}

// payload returns a generator of what a client of a format may send.
func payload(f protocol.Format) *rapid.Generator[protocol.Raw] {
	if f == protocol.JSON {
		return jsonValue()
	}
	return rapid.Map(rapid.SliceOfN(rapid.Byte(), 1, 40), func(b []byte) protocol.Raw { return b })
}

// jsonValue returns a generator of JSON values.
func jsonValue() *rapid.Generator[protocol.Raw] {
	leaf := rapid.OneOf(
		rapid.Map(rapid.String(), func(s string) any { return s }),
		rapid.Map(rapid.Int64(), func(n int64) any { return n }),
		rapid.Map(rapid.Float64Range(-1e9, 1e9), func(x float64) any { return x }),
		rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		rapid.Just[any](nil),
	)
	value := rapid.OneOf(
		leaf,
		rapid.Map(rapid.SliceOfN(leaf, 0, 3), func(l []any) any { return l }),
		rapid.Map(rapid.MapOfN(rapid.String(), leaf, 0, 3), func(m map[string]any) any { return []any{m} }),
	)
	return rapid.Map(value, func(v any) protocol.Raw {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return b
	})
}
