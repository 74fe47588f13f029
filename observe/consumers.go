package observe

// Consumers is what is counted of the acknowledged consumers of a namespace.
type Consumers struct {
	// Consumers are those worked here, Pending what they have taken and not
	// settled, Unacked what of it is delivered, OldestSeconds the age of the
	// oldest.
	Consumers, Pending, Unacked, OldestSeconds *Gauge
	// Acked to Lost count what became of publications, Redelivered deliveries
	// after the first, Refused acknowledgements that were none.
	Acked, Redelivered, DeadLettered, Expired, Lost, Refused *Counter
}

// Consumers returns the counters of a namespace's consumers, never nil.
func (m *Metrics) Consumers(namespace string) *Consumers {
	if m == nil {
		return new(Consumers)
	}
	return m.consumers.get(clean(namespace))
}

func (m *Metrics) newConsumers(name string) *Consumers {
	return &Consumers{
		Consumers:     m.gauge(nameConsumers, name),
		Pending:       m.gauge(nameConsumerPending, name),
		Unacked:       m.gauge(nameConsumerUnacked, name),
		OldestSeconds: m.gauge(nameConsumerOldest, name),
		Acked:         m.counter(nameConsumerAcked, name),
		Redelivered:   m.counter(nameConsumerRedelivered, name),
		DeadLettered:  m.counter(nameConsumerDeadLettered, name),
		Expired:       m.counter(nameConsumerExpired, name),
		Lost:          m.counter(nameConsumerLost, name),
		Refused:       m.counter(nameConsumerRefused, name),
	}
}
