package observe

// The limits on what waits for a client.
const (
	// LimitPacedKeys counts conflated subscriptions that had more keys waiting
	// than they may.
	LimitPacedKeys = "paced_keys"
	// LimitAlarmQueue counts sessions that had more of lane alarm waiting than
	// they may.
	LimitAlarmQueue = "alarm_queue"

	deliveryLimitNames = LimitPacedKeys + ", " + LimitAlarmQueue
)

// slowRules are the rules for slow clients.
func slowRules() []string { return []string{"disconnect", "conflate", "drop_oldest", "resync"} }

// expiryQueues are where a publication may be found to be of no more use.
func expiryQueues() []string {
	return []string{"publish", "inbox", "waiting", "paced", "backlog", "recovery", "history"}
}

// Slow returns the counter of how often a rule for slow clients was applied.
func (m *Metrics) Slow(rule string) *Counter {
	if m == nil {
		return nil
	}
	return m.slow.get(rule)
}

// Expired returns the counter of publications that were too old when they
// left a queue.
func (m *Metrics) Expired(queue string) *Counter {
	if m == nil {
		return nil
	}
	return m.expired.get(queue)
}
