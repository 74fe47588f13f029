package hub

// fewSubs is up to how many subscriptions are looked for one by one. Most
// sessions stay below, and a map costs more than all else they have.
const fewSubs = 16

// subSet is the subscriptions of a session by channel.
type subSet struct {
	list  []*sub
	index map[string]*sub // nil while there are few
}

func (s *subSet) get(name string) *sub {
	if s.index != nil {
		return s.index[name]
	}
	for _, sb := range s.list {
		if sb.name == name {
			return sb
		}
	}
	return nil
}

// add enters a subscription to a channel that has none.
func (s *subSet) add(sb *sub) {
	sb.place = len(s.list)
	s.list = append(s.list, sb)
	if s.index != nil {
		s.index[sb.name] = sb
		return
	}
	if len(s.list) > fewSubs {
		s.index = make(map[string]*sub, 2*fewSubs)
		for _, sb := range s.list {
			s.index[sb.name] = sb
		}
	}
}

// remove takes out a subscription that is in.
func (s *subSet) remove(sb *sub) {
	last := s.list[len(s.list)-1]
	s.list[sb.place], last.place = last, sb.place
	s.list[len(s.list)-1] = nil
	s.list = s.list[:len(s.list)-1]
	if s.index != nil {
		delete(s.index, sb.name)
	}
}
