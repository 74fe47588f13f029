package config

// Lifecycle is who comes and goes, as a channel.
type Lifecycle struct {
	Events       []string         `yaml:"events" default:"" enum:"connected|disconnected|subscribed|unsubscribed|occupied|vacated" zero:"off" doc:"What is told. Empty: nothing, and there is no such channel."`
	Namespaces   []string         `yaml:"namespaces" default:"" form:"namespace" zero:"all" doc:"Whose channels are told of. Empty: those of all namespaces, but those of the server itself."`
	VacatedAfter Duration         `yaml:"vacated_after" default:"1s" min:"10ms" max:"10m" doc:"How long a channel is without subscribers before it is told as vacated. Who comes back within it was never away."`
	Queue        int              `yaml:"queue" default:"100000" min:"100" max:"10000000" doc:"Events that may wait for the engine on one node. What is more is lost, and told as lost."`
	History      LifecycleHistory `yaml:"history" doc:"What is kept of the channel, for those who come back."`
}

// LifecycleHistory bounds what the lifecycle channel keeps.
type LifecycleHistory struct {
	Size int      `yaml:"size" default:"10000" min:"100" max:"100000" doc:"Publications kept. Each holds one event, or up to 256 where many happen at once."`
	TTL  Duration `yaml:"ttl" default:"24h" min:"1m" max:"8760h" doc:"How long they are kept."`
}

// On says whether there is a lifecycle channel.
func (l Lifecycle) On() bool { return len(l.Events) > 0 }
