// Package trie finds the patterns that match a name, in a time that goes by how
// many match and not by how many there are.
//
// # Nouns
//
// A name is segments with a separator between them: ".", "/" or ":". A pattern
// is written the same, and a segment of it that is "*" stands for any one
// segment, the empty one too; "**" as the last segment stands for whatever
// follows, at least one segment. Separators stand for themselves: "a.*" does
// not match "a/b". A [Trie] holds a value for each pattern.
//
// # Limits
//
// A pattern has at most [MaxSegments] segments and [MaxStars] times "*", see
// [Check]. So however many patterns there are, and whoever chose them, one
// match looks at no more than some thousand nodes.
//
// # Concurrency
//
// A Trie is not safe for concurrent use, but any number may match at a time.
package trie
