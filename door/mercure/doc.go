// Package mercure is the door for publishers and subscribers of the Mercure
// protocol (https://mercure.rocks/spec), at /.well-known/mercure: a GET is an
// event stream, a POST publishes. It speaks revision 8 ("match",
// "authorization_details") and the one before, which is in the field ("topic",
// the claim "mercure").
//
// # Nouns
//
// A topic is a channel: https://example.com/1 is "mercure:https://example.com/1".
// An update is a publication of it; a private one is a publication of the
// channel of the same name in the private namespace, so that whoever reads the
// public one by another door does not see it. A matcher selects topics: one
// exactly, all that a URI template or URL pattern matches, or all.
//
// # Promises
//
// What the namespaces' rules say holds for public updates; for private ones the
// claims of a token are what a subscription token is to others, and without them
// they are not even subscribed to. Publishing needs the claim that names the
// topic, all of them where there are several.
//
// Updates of one topic come in order. Each event has an id that stands for where
// its stream is in every topic that it matches exactly. Who comes back with it
// gets what was missed of those, and the response header Last-Event-ID repeats
// it; where something may be missing it is "earliest". A stream that matches by
// patterns gets what is published while it is there: nobody can say what was
// missed of topics that nobody named, so there it is always "earliest". The id
// that a publish is answered with is good for the topic it is about, and so is
// one that the publisher chose, while it is kept.
//
// An update with several topics is published to each, and comes to a stream
// once, unless it came back in between. It is not all or nothing: who tries again
// with the same id does not publish twice.
//
// A stream ends when its token does. One without a token is whose the user's
// backend says, where that is asked; it is asked about public topics and updates
// in namespaces that say so, too.
//
// With Options.Subscriptions a stream's matchers are told when they begin and
// end, and listed meanwhile, over all nodes; a node that dies tells nothing.
//
// # Limits
//
// See limits.go; beside those the hub's: a matcher of a stream costs one or two
// of its channels.
package mercure
