package config

// Consumers bounds how many consumers there are.
type Consumers struct {
	Max        int `yaml:"max" default:"10000" min:"1" max:"100000" doc:"Consumers in all. A new one beyond is refused with error 106."`
	PerUser    int `yaml:"per_user" default:"1000" min:"1" max:"100000" doc:"Consumers that clients of one user may make; all anonymous clients are one user. A new one beyond is refused with error 106."`
	PerChannel int `yaml:"per_channel" default:"100" min:"1" max:"10000" doc:"Consumers of one channel. A new one beyond is refused with error 106."`
}

// NamespaceConsumers is how the consumers of a namespace's channels are when
// whoever makes them does not say.
type NamespaceConsumers struct {
	Clients       string   `yaml:"clients" default:"nobody" enum:"nobody|own|any" doc:"Which clients may take part in consumers of a channel that they may subscribe to. own: in those that are called as their user, or begin with that and a slash. any: in all. A client whose token names $consumers:NAME~CHANNEL always may, and the HTTP API may everything."`
	Start         string   `yaml:"start" default:"new" enum:"new|first" doc:"Where a consumer begins that its first subscription makes: behind what is there, or with the first publication that is kept."`
	AckTimeout    Duration `yaml:"ack_timeout" default:"30s" min:"100ms" max:"24h" doc:"How long an acknowledgement may take before the publication is delivered again."`
	MaxUnacked    int      `yaml:"max_unacked" default:"100" min:"1" max:"10000" doc:"Publications that a consumer may have taken and not settled; more wait in the history."`
	MaxPerSession int      `yaml:"max_per_session" default:"0" min:"1" max:"10000" zero:"as many as max_unacked" doc:"How many of them one connection may have."`
	MaxAttempts   int      `yaml:"max_attempts" default:"0" min:"1" max:"1000" zero:"until it is acknowledged" doc:"Deliveries after which a publication goes to dead_letter instead."`
	DeadLetter    string   `yaml:"dead_letter" default:"" doc:"Channel for what is given up: after max_attempts, because it expired, or because the history did not keep it. In another namespace of kind log, best with history."`
	Ordered       bool     `yaml:"ordered" default:"false" doc:"One publication at a time, in order: the next one comes when the one before is settled."`
	Exclusive     bool     `yaml:"exclusive" default:"false" doc:"One connection gets all, the others stand by. Otherwise they share the work."`
}
