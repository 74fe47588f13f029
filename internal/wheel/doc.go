// Package wheel is a hashed, hierarchical timing wheel: many timers for the
// price of a few words each.
//
// # Nouns
//
// A [Wheel] keeps timers in slots of one tick; slots that lie far ahead span
// 64, 64², ... ticks and are spread over finer ones when their time comes. A
// [Timer] is a value that the user embeds in the struct it wakes. A tick is the
// wheel's resolution.
//
// # Promises
//
// Time: a timer never fires early. It fires in the first [Wheel.Advance] whose
// time has reached the next tick boundary at or after its due time, so at most
// one tick late plus however late the owner calls. Timers fire in the order of
// their ticks; within a tick the order is not defined. Delays of years are as
// good as delays of milliseconds.
//
// Cost: Schedule and Cancel take constant time and do not allocate. Next takes
// constant time. Advance takes time for what fires, and for moving each timer
// to a finer slot at most seven times in its life, however long the wheel
// stood still.
//
// Concurrency: none. A wheel and its timers belong to one goroutine. There is
// no goroutine inside and no clock is read after [New]: the owner says what
// time it is, and asks [Wheel.Next] how long it may sleep. A wheel without
// timers needs no wake-up.
//
// Limits: a wheel takes 8 KiB, a timer 24 bytes and its owner (32 in all where
// that is a pointer). The tick is at least [MinTick].
package wheel
