// Package house is the building code: the law of how the rooms of this
// repository may be built, and the inspector that checks it.
//
// # Nouns
//
// A room is a package (with its subpackages) that the floor table knows. A
// floor is a number: imports run from a higher floor to a lower one and never
// within a floor, so the table is the architecture. The garden holds the rooms
// beside the house (client, demo, bench, ...); each names what it may reach. A
// finding is one place where the code and the law differ.
//
// # Promises
//
// [Inspect] reads the tree below a directory and reports every finding at once,
// sorted by file and line, each with the file, the rule and what to do about
// it. It reads sources only: it does not build, does not resolve dependencies,
// needs no network and works while packages do not compile. Nested modules are
// held to the rules of single files (size, sleeps, comments) but not to the
// rules of rooms. Generated files and everything under testdata, dist and
// node_modules are left alone.
//
// The law itself is data: the floors and gardens are in floors.go, third-party
// modules in libraries.go, the bounds on size in sizes.go.
package house
