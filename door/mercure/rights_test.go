package mercure_test

import (
	"testing"
)

// The filter of a token holds for what was missed as for what comes.
func TestFilterOfTheTokenIsForReplays(t *testing.T) {
	s := newStage(t, true)
	for _, private := range []string{"", "&private=on"} {
		s.publish(t, "topic=a&type=open&data=1"+private)
		s.publish(t, "topic=a&type=secret&data=2"+private)
	}
	token := jwt(t, "JWT", claims{"mercure": claims{"subscribe": []string{"*"}}, "caps": []claims{{
		"channels": []string{"mercure:*", "mercure-private:*"}, "match": "wildcard", "allow": []string{"sub"},
		"filter": claims{"key": "event", "cmp": "eq", "val": "open"},
	}}})
	_, in := s.listen(t, "?match=a&lastEventID=earliest", bearer(token))
	s.publish(t, "topic=a&type=secret&data=3")
	s.publish(t, "topic=a&type=open&data=end")
	for n := 0; ; n++ {
		e := next(t, in)
		if e.kind != "open" {
			t.Errorf("%+v is not for this token", e)
		}
		if e.data == "end" {
			if n != 2 {
				t.Errorf("%d were replayed, want 2", n)
			}
			return
		}
	}
}
