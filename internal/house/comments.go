package house

import (
	"regexp"
	"strings"
)

// notes are words that mark work left undone. They are looked for in upper
// case, as people write them.
var notes = regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`)

// tickets are references that only this project's tracker can resolve. A
// number in another project's tracker ("golang/go#12345") explains a
// workaround and stays readable.
var tickets = regexp.MustCompile(`(?i)\b(?:issue|ticket|bug|pr|pull request|task)s?:?\s+#?\d+\b|(?:^|[\s(\[])#\d+\b`)

// scriptComment is what starts a comment in the sources that are not Go.
var scriptComment = regexp.MustCompile(`(?:^|\s)(?://|/\*|\*|#)(.*)$`)

// checkComments wants comments that say why the code is as it is, not what is
// missing from it or who asked for it.
func checkComments(t *tree, report *Report) {
	for _, s := range t.files {
		switch {
		case s.generated:
		case s.syntax != nil:
			for _, group := range s.syntax.Comments {
				for _, c := range group.List {
					for i, text := range strings.Split(c.Text, "\n") {
						checkComment(report, s.name, t.line(c.Pos())+i, text)
					}
				}
			}
		default:
			for i, text := range strings.Split(string(s.text), "\n") {
				if m := scriptComment.FindStringSubmatch(text); m != nil {
					checkComment(report, s.name, i+1, m[1])
				}
			}
		}
	}
}

func checkComment(report *Report, file string, line int, text string) {
	text = strings.TrimLeft(text, "/* \t")
	if note := notes.FindString(text); note != "" {
		report.violate(file, line, "comments", "%s: do it now or leave it out; unfinished work is not kept in comments", note)
	}
	if ticket := strings.TrimSpace(tickets.FindString(text)); ticket != "" {
		report.violate(file, line, "comments", "%q is a ticket number: say the reason itself", ticket)
	}
}
