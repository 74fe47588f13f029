package roster

// NewSmallJournal returns a journal whose frames and pages have at most so many
// bytes, or one entry.
func NewSmallJournal(incarnation uint64, most int) *Journal {
	j := NewJournal(incarnation)
	j.most = most
	return j
}
