// Package filter says which publications somebody wants, by their tags.
//
// # Nouns
//
// A [Node] is a tree as clients and tokens write it: leaves compare one tag,
// the others join leaves with "and", "or" and "not". It is the FilterNode of
// the public client protocol, whose client.proto says what each operator
// means. A [Filter] is such a tree compiled: checked, in canonical form, ready
// to match.
//
// # Semantics
//
//	eq neq        the tag is, or is not, val; a missing tag is not val
//	in nin        the tag is, or is not, among vals; a missing one counts as ""
//	ex nex        there is, or is not, such a tag
//	sw ew ct      the tag starts with, ends with, contains val; a missing one does not
//	lt lte gt gte the tag is a number and less than val, and so on
//
// A number is a sign or none, digits, and, behind a point, up to 19 more
// digits: no exponent, nothing left out, at most 200 bytes. Numbers are
// compared exactly. What is no number is neither less nor greater.
//
// # Promises
//
// A Filter is immutable and may be used by any number of goroutines. Match
// allocates nothing and takes at most one step per leaf. Two filters with the
// same [Filter.String] match the same tags; trees that differ only in order,
// repetition, nesting of the same operator or double negation have the same.
//
// # Limits
//
// See [Limits] and the Max constants: what is over one is refused with an
// [*Error] whose Limit names it, before it costs anything.
package filter
