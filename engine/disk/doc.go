// Package disk is the engine that keeps channels on the disk of one node, in
// one Pebble database, so that what was acknowledged is there after a crash.
//
// # Nouns
//
// An [Engine] lives in a directory that only it may use. It has two stores: the
// database on disk, and one in memory with the same layout, for channels whose
// policy wants no more than [channel.DurabilityMemory]. A book is what is in
// memory of one channel; channels without subscribers have one only while they
// are among those used last, and are otherwise on disk alone. A ticket is a
// piece of work on its way to the disk, the ledger takes tickets there, and the
// gate bounds how many there are. The guard stands between the database and a
// disk that fails; the mender opens the database anew when the disk works again.
// The flusher flushes async channels, the sweeper lets go of
// what has outlived its time.
//
// # The way of a publication
//
// A publisher gets an offset under the lock of the channel's book, puts a
// ticket in the ledger's queue and waits. The scribe takes all tickets that are
// there, commits them as one batch and goes on with the next ones without
// waiting for the disk; the herald waits for the fsync, then moves the top of
// each book, delivers and tells the publisher, in the order of the log. So many
// publishers share an fsync, a channel has any number of publications under
// way, and nobody sees one that is not as safe as its policy wants: neither a
// subscriber, nor Read, nor Snapshot.
//
// # Durability and epochs
//
// Everything goes into one log, which a crash cuts off at some place behind
// the last fsync. What is there afterwards is therefore the front of what was
// written, in order.
//
//   - sync: acknowledged after the fsync. Nothing acknowledged is behind the
//     cut, so the epoch never changes.
//   - async: the first publication after a second's pause is acknowledged after
//     the fsync, and so is the second one, which brings a mark along that says
//     "this channel may have acknowledged what is not on disk". The ones after it
//     are acknowledged when they are written, and the log is flushed every
//     [Options.FlushInterval]. The mark goes when the channel has been quiet for a
//     second; its removal is behind all that it spoke of, so whoever finds it
//     gone finds all of that. Open gives each channel that still has a mark a new
//     epoch. A channel that was quiet loses nothing and keeps its epoch, be the
//     stop clean or not; and a clean stop leaves no marks.
//   - memory: kept in this process only, in an epoch of this process.
//
// A channel whose epoch changed keeps what survived, under the new epoch, so
// that who reads anew finds it.
//
// A channel of which nothing is on disk has an epoch that is derived from a
// secret of the directory, its name and the season, so that a mere read or
// subscription writes nothing and a restart finds the same. The season goes up
// with every channel that is forgotten, so that no derived epoch comes back.
//
// # Backups
//
// [Engine.Backup] makes a copy that says that it is one, with the checksums of
// its logs. When it is opened, everything in it gets other epochs than what it
// was copied from, as what came after the copy is not there: nobody who knows
// more than the copy is told that he missed nothing. The new birth from which
// the epochs follow is on disk before the note that the copy is a backup goes,
// and both are before anybody can see a channel; so whatever happens at the first
// opening, no old epoch comes back and none that was seen changes. Copies of one
// backup are born apart, and the original knows nothing of it. A backup that
// was not finished is refused.
//
// A copy of the directory that was made by other means cannot be told from the
// directory itself: it must not take the place of a newer one.
//
// # Keeping
//
// Offsets are dense: Prev is always offset-1. What is beyond HistorySize,
// HistoryTTL or [Options.MaxHistoryBytes] is not seen any more at once; it is
// removed from the disk when it is a quarter of the history, or at a visit of
// the sweeper. Message ids are written with their publication and forgotten
// within two minutes after their window. Expired keys are published as OpExpire
// when they are due, and before any call that could see them. A position is
// remembered for MetaTTL, and up to an eighth longer. The policy of a channel is
// the one its book was opened with. A channel that is given another Kind, or is
// no longer kept on disk, is another channel with another epoch.
//
// Times are Unix milliseconds on a clock that follows the wall clock at Open and
// runs by itself from there; it does not go back behind what was written down,
// a minute at most aside.
//
// # A disk that is full or fails
//
// While the disk is full, publishes on channels kept there are refused with
// [channel.ErrUnavailable], those under way are told ErrUnknownOutcome, and
// everything else goes on. As soon as there is room what was under way is done,
// and publishing goes on, without a restart. It is the same where only tables
// cannot be written.
//
// Where a write or an fsync of the log fails otherwise nobody can say what is on
// disk, and asking again would lie: publishes are refused, and everything else
// goes on, until the disk takes writes again. Then the mender leaves the database
// where it is, once no write of it is under way any more, and opens it anew, as
// after a crash: what was acknowledged is there, busy async channels have new
// epochs, and Lost is called for each subscribed channel whose feed may have a
// hole. Calls that come in the meantime wait. What the old database had in memory
// stays behind, and its goroutines do, so after [MaxMends] times it takes a
// restart.
//
// A directory that is another program's, of a newer format, in use or damaged is
// refused by Open with words, and what is in it stays: with the damaged file as it
// was, all is there again. Damage that is found later is an error of the call that
// found it, and never another or a shorter answer. A log that was cut
// off or changed after a crash is told from one that the crash cut off by the
// witness, a file beside the database that says four times a second how much of
// each log is on disk, with its checksum; what came to the disk in the last
// quarter of a second before a crash, and was damaged after it, passes for what
// the crash took.
//
// # Concurrency
//
// All methods may be called from any goroutine. Deliveries of one channel are
// made under the lock of its book, by the ledger's goroutines or, for channels
// in memory, by the publisher's.
//
// # Limits
//
// See [Options]. One channel's publication is committed with others up to 4 MiB,
// 1024 at a time, and 256 such groups wait for the disk at most.
package disk
