package config

import "strings"

// longestWord is the longest text for which something closer is looked for.
const longestWord = 64

// nearest returns the candidate that was probably meant, or nothing.
func nearest(word string, candidates []string) string {
	if word == "" || len(word) > longestWord {
		return ""
	}
	const shortest = 3 // letters that say enough to be the beginning of a name
	best, bestCost := "", 0
	for _, c := range candidates {
		w, k := squash(word), squash(c)
		cost := distance(w, k)
		if len(w) >= shortest && strings.HasPrefix(k, w) {
			cost = min(cost, 1)
		}
		if cost <= max(1, len(c)/3) && (best == "" || cost < bestCost) {
			best, bestCost = c, cost
		}
	}
	return best
}

// squash makes spellings of the same words equal: pingInterval, ping-interval.
func squash(s string) string {
	return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(s))
}

// distance counts the edits between two words: insert, delete, replace and
// swap of two side by side.
func distance(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, above, row := rows[0], rows[1], rows[2]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := above[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(replace, above[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		rows = [3][]int{above, row, before}
	}
	return rows[1][len(b)]
}
