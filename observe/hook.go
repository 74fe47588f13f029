package observe

// MaxHooks is how many hooks and webhooks have their own metrics.
const MaxHooks = 64

// The metrics of what tells, and asks, the outside.
const (
	nameHookSeconds  = "myelin_hook_duration_seconds"
	nameHookFailures = "myelin_hook_failures_total"
	nameHookRefused  = "myelin_hook_refused_total"
	nameHookAllowed  = "myelin_hook_allowed_total"
	nameHookOpen     = "myelin_hook_breaker_open"

	nameWebhookDelivered = "myelin_webhook_delivered_total"
	nameWebhookFailures  = "myelin_webhook_failures_total"
	nameWebhookDead      = "myelin_webhook_dead_letters_total"
	nameWebhookLost      = "myelin_webhook_lost_total"
	nameWebhookWaiting   = "myelin_webhook_waiting"
	nameWebhookOldest    = "myelin_webhook_oldest_seconds"

	labelHook = "hook"
)

func hookTable() []Metric {
	hook := []string{labelHook}
	return []Metric{
		{nameHookSeconds, TypeHistogram, hook, "seconds", "Time a backend took to answer a hook, or to fail."},
		{nameHookFailures, TypeCounter, hook, "", "Requests of a hook that got no useful answer."},
		{nameHookRefused, TypeCounter, hook, "", "Requests of a hook that were not made because its breaker was open."},
		{nameHookAllowed, TypeCounter, hook, "", "Times that a hook got no useful answer and its on_failure allowed it all the same."},
		{nameHookOpen, TypeGauge, hook, "", "1 while the breaker of a hook is open."},
		{nameWebhookDelivered, TypeCounter, hook, "", "Deliveries that a webhook took."},
		{nameWebhookFailures, TypeCounter, hook, "", "Tries of a delivery that a webhook did not take."},
		{nameWebhookDead, TypeCounter, hook, "", "Deliveries that were given up and kept as dead letters."},
		{nameWebhookLost, TypeCounter, hook, "", "Times that the history did not reach back to what a webhook needed next."},
		{nameWebhookWaiting, TypeGauge, hook, "", "Offsets between the last delivery and the newest publication; on the node that sends."},
		{nameWebhookOldest, TypeGauge, hook, "seconds", "Age of the oldest publication that has not been delivered; on the node that sends."},
	}
}

// Hook is what is counted for one hook.
type Hook struct {
	Failures, Refused, Allowed *Counter
	// Open is 1 while the breaker is.
	Open *Gauge

	seconds *Histogram
}

// Observe counts how long one request took, in seconds.
func (h *Hook) Observe(seconds float64) { h.seconds.Observe(seconds) }

// Hook returns the counters of a hook, never nil.
func (m *Metrics) Hook(name string) *Hook {
	if m == nil {
		return new(Hook)
	}
	return m.hooks.get(clean(name))
}

func (m *Metrics) newHook(name string) *Hook {
	return &Hook{
		Failures: m.counter(nameHookFailures, name), Refused: m.counter(nameHookRefused, name), Allowed: m.counter(nameHookAllowed, name),
		Open: m.gauge(nameHookOpen, name), seconds: m.histogram(nameHookSeconds, name),
	}
}

// Webhook is what is counted for one webhook.
type Webhook struct {
	Delivered, Failures, Dead, Lost *Counter
	// Waiting is how far behind it is, Oldest for how many seconds.
	Waiting, Oldest *Gauge
}

// Webhook returns the counters of a webhook, never nil.
func (m *Metrics) Webhook(name string) *Webhook {
	if m == nil {
		return new(Webhook)
	}
	return m.webhooks.get(clean(name))
}

func (m *Metrics) newWebhook(name string) *Webhook {
	return &Webhook{
		Delivered: m.counter(nameWebhookDelivered, name), Failures: m.counter(nameWebhookFailures, name),
		Dead: m.counter(nameWebhookDead, name), Lost: m.counter(nameWebhookLost, name),
		Waiting: m.gauge(nameWebhookWaiting, name), Oldest: m.gauge(nameWebhookOldest, name),
	}
}
