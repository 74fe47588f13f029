package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"myelin/client"
)

const (
	hostName = "myelin"
	// chatInbox is how many events may wait for the host; more are dropped.
	chatInbox = 64
	// greetingPause is the least time between two greetings; who comes
	// meanwhile is greeted together.
	greetingPause = 3 * time.Second
	// answerBurst answers may follow at once, then one every answerPause.
	answerBurst = 5
	answerPause = time.Second
	// chatTimeout is how long the host tries to say something.
	chatTimeout = 5 * time.Second
	// maxChatMessage is the longest message that the host reads, in bytes.
	maxChatMessage = 4096
	// maxNames is how many names a greeting holds, maxName how long one is.
	maxNames = 3
	maxName  = 64
	// freshRate is how old a heart rate may be to be called current.
	freshRate = 10 * time.Second
)

// chatMessage is a publication in channelChat.
type chatMessage struct {
	From string `json:"from"`
	Text string `json:"text"`
}

// host greets who comes to the chat room and answers commands.
type host struct {
	joins    chan string // users
	messages chan []byte
	mu       struct {
		sync.Mutex
		self string // the host's own client id
		rate rate
	}
}

func newHost() *host {
	return &host{joins: make(chan string, chatInbox), messages: make(chan []byte, chatInbox)}
}

// onConnected learns who the host is, who needs no greeting.
func (h *host) onConnected(i client.ConnectedInfo) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.self = i.Client
}

// run serves the room until ctx ends.
func (h *host) run(ctx context.Context, c *client.Client) error {
	_, err := c.Subscribe(channelChat, client.SubOptions{
		Recover: true, JoinLeave: true,
		OnJoin: h.onJoin,
		OnPublication: func(p client.Publication) {
			offer(h.messages, p.Data)
		},
	})
	if err != nil {
		return err
	}
	if _, err := c.Subscribe(channelRate, client.SubOptions{OnPublication: h.onRate}); err != nil {
		return err
	}
	h.serve(ctx, c.Publish)
	return nil
}

// offer drops v if there is no room: the host is not worth waiting for.
func offer[T any](ch chan T, v T) {
	select {
	case ch <- v:
	default:
	}
}

func (h *host) onJoin(i client.ClientInfo) {
	h.mu.Lock()
	self := h.mu.self
	h.mu.Unlock()
	if i.Client != self {
		offer(h.joins, i.User)
	}
}

func (h *host) onRate(p client.Publication) {
	var r rate
	if json.Unmarshal(p.Data, &r) != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.rate = r
}

// serve speaks for the host until ctx ends.
func (h *host) serve(ctx context.Context, publish publisher) {
	say := func(text string) {
		ctx, cancel := context.WithTimeout(ctx, chatTimeout)
		defer cancel()
		// Strings always have a JSON form.
		data, _ := json.Marshal(chatMessage{hostName, text})
		// What cannot be said now is not worth saying later.
		_ = publish(ctx, channelChat, data)
	}
	answers := bucket{size: answerBurst, refill: answerPause}
	var arrived guests
	var greeted time.Time
	greet := time.NewTimer(time.Hour)
	greet.Stop()
	defer greet.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case name := <-h.joins:
			if arrived.count == 0 {
				greet.Reset(time.Until(greeted.Add(greetingPause)))
			}
			arrived.add(name)
		case <-greet.C:
			say(arrived.greeting())
			arrived, greeted = guests{}, time.Now()
		case data := <-h.messages:
			if text := h.answer(data, time.Now()); text != "" && answers.take(time.Now()) {
				say(text)
			}
		}
	}
}

// answer returns what to say to a message, or nothing if it is not a command.
func (h *host) answer(data []byte, now time.Time) string {
	var m chatMessage
	if len(data) > maxChatMessage || json.Unmarshal(data, &m) != nil || m.From == hostName {
		return ""
	}
	command, _, _ := strings.Cut(strings.TrimSpace(m.Text), " ")
	if !strings.HasPrefix(command, "/") {
		return ""
	}
	switch strings.ToLower(command) {
	case "/help":
		return "I answer to /help, /time (by the server's clock) and /hr (the patient's heart rate)."
	case "/time":
		return "It is " + now.UTC().Format("15:04:05 on 2 January 2006, UTC") + "."
	case "/hr":
		h.mu.Lock()
		r := h.mu.rate
		h.mu.Unlock()
		if now.Sub(time.UnixMilli(r.T)) > freshRate {
			return "I have not heard the heart for a while."
		}
		return fmt.Sprintf("The heart in bed 1 beats %.0f times a minute.", r.BPM)
	default:
		return "I do not know that one. Try /help."
	}
}

// guests have come and are not greeted yet.
type guests struct {
	names []string // the first few that have one
	count int
}

func (g *guests) add(name string) {
	g.count++
	if name = strings.TrimSpace(name); name != "" && len(g.names) < maxNames {
		g.names = append(g.names, strings.ToValidUTF8(name[:min(len(name), maxName)], ""))
	}
}

func (g *guests) greeting() string {
	who := strings.Join(g.names, ", ")
	switch others := g.count - len(g.names); {
	case who == "" && others == 1:
		return "Welcome! Try /help."
	case who == "":
		return fmt.Sprintf("Welcome, all %d of you! Try /help.", others)
	case others > 0:
		return fmt.Sprintf("Welcome, %s and %d more! Try /help.", who, others)
	default:
		return fmt.Sprintf("Welcome, %s! Try /help.", who)
	}
}

// bucket allows size events at once, and one more after every refill.
type bucket struct {
	size   int
	refill time.Duration
	spent  int
	since  time.Time // when the first of the spent comes back, less refill
}

// take says whether an event is allowed now.
func (b *bucket) take(now time.Time) bool {
	if b.spent > 0 {
		back := int(min(now.Sub(b.since)/b.refill, time.Duration(b.spent)))
		b.spent -= back
		b.since = b.since.Add(time.Duration(back) * b.refill)
	}
	if b.spent >= b.size {
		return false
	}
	if b.spent == 0 {
		b.since = now
	}
	b.spent++
	return true
}
