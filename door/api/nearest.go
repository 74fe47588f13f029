package api

import "strings"

// nearest returns the candidate that was probably meant by word, or nothing.
func nearest(word string, candidates []string) string {
	if word == "" || len(word) > longestName {
		return ""
	}
	best, bestCost := "", 0
	for _, c := range candidates {
		cost := distance(squash(word), squash(c))
		if cost <= max(1, len(c)/3) && (best == "" || cost < bestCost) {
			best, bestCost = c, cost
		}
	}
	return best
}

// squash makes spellings of the same words equal: idempotencyKey is
// idempotency_key.
func squash(s string) string {
	return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(s))
}

// distance counts the letters to insert, delete or replace to make a of b
// (Levenshtein 1966).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := diagonal
			if a[i-1] != b[j-1] {
				replace++
			}
			diagonal = row[j]
			row[j] = min(replace, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
