package config

// Hooks ask the application behind this server.
type Hooks struct {
	Connect     HookCall     `yaml:"connect" doc:"Asked who a client is that brings no token."`
	Refresh     HookRenewal  `yaml:"refresh" doc:"Asked whether a connection that connect gave an expire_at may go on, shortly before that."`
	Subscribe   HookDecision `yaml:"subscribe" doc:"Asked whether a client may subscribe, in namespaces whose hooks say so, unless a subscription token does."`
	SubRefresh  HookRenewal  `yaml:"sub_refresh" doc:"Asked whether a subscription that subscribe gave an expire_at may go on, shortly before that."`
	Publish     HookDecision `yaml:"publish" doc:"Asked whether a client may publish, in namespaces whose hooks say so."`
	RPC         HookCall     `yaml:"rpc" doc:"Asked for the answer to an rpc whose name does not begin with myelin."`
	Headers     []string     `yaml:"headers" default:"" form:"header" doc:"Headers of the client's request that are handed on, such as Cookie or Authorization."`
	Secret      Secret       `yaml:"secret" default:"" form:"secret" zero:"not signed" doc:"What requests are signed with, in X-Myelin-Signature."`
	CAFile      string       `yaml:"ca_file" default:"" doc:"Certificates that sign those of the backend, PEM. Empty: as this machine trusts. Also for webhooks."`
	Concurrency int          `yaml:"concurrency" default:"256" min:"1" max:"1024" doc:"Requests of each hook that may be under way. Others wait, within the timeout."`
	Breaker     Breaker      `yaml:"breaker" doc:"When a backend is left alone because it fails."`
}

// Breaker says when a backend is left alone.
type Breaker struct {
	Failures int      `yaml:"failures" default:"10" min:"1" max:"1000" doc:"Failures in a row after which the hook is not called any more."`
	Cooldown Duration `yaml:"cooldown" default:"5s" min:"100ms" max:"10m" doc:"For how long. Then one request tries."`
}

// HookCall is a hook without which nothing goes on.
type HookCall struct {
	URL     string   `yaml:"url" default:"" form:"url" zero:"off" doc:"Where the request goes."`
	Timeout Duration `yaml:"timeout" default:"3s" min:"10ms" max:"1m" doc:"How long an answer may take."`
}

// HookDecision is a hook that decides.
type HookDecision struct {
	URL       string   `yaml:"url" default:"" form:"url" zero:"off" doc:"Where the request goes."`
	Timeout   Duration `yaml:"timeout" default:"3s" min:"10ms" max:"1m" doc:"How long an answer may take."`
	OnFailure string   `yaml:"on_failure" default:"deny" enum:"deny|allow" doc:"What holds where the backend gives no useful answer."`
}

// HookRenewal is a hook that lets go on.
type HookRenewal struct {
	URL       string   `yaml:"url" default:"" form:"url" zero:"off" doc:"Where the request goes."`
	Timeout   Duration `yaml:"timeout" default:"3s" min:"10ms" max:"1m" doc:"How long an answer may take."`
	OnFailure string   `yaml:"on_failure" default:"allow" enum:"allow|deny" doc:"What holds where the backend gives no useful answer. allow: it goes on for a minute and is asked about again. deny: it ends."`
}

// Webhook is who is told of the lifecycle.
type Webhook struct {
	URL        string   `yaml:"url" default:"" form:"url" zero:"must be set" doc:"Where events are posted."`
	Secret     Secret   `yaml:"secret" default:"" form:"secret" zero:"must be set" doc:"What deliveries are signed with, in X-Myelin-Signature; at least 16 bytes."`
	Events     []string `yaml:"events" default:"" enum:"connected|disconnected|subscribed|unsubscribed|occupied|vacated" zero:"all of lifecycle.events" doc:"Of which events it is told. Of nodes that come and go, and of lost events, it always is."`
	Namespaces []string `yaml:"namespaces" default:"" form:"namespace" zero:"all" doc:"Of whose channels it is told. Empty: all that the lifecycle tells of."`
	Timeout    Duration `yaml:"timeout" default:"5s" min:"100ms" max:"1m" doc:"How long one request may take."`
	Batch      int      `yaml:"batch" default:"100" min:"1" max:"1000" doc:"Events in one request, about. What waits goes together."`
	Retry      Retry    `yaml:"retry" doc:"What becomes of a delivery that is not taken. Those behind it wait."`
}

// Retry says how often something is tried.
type Retry struct {
	Min    Duration `yaml:"min" default:"500ms" min:"10ms" max:"1m" doc:"The first pause. Each is twice the one before, and up to a half of it is taken off at random."`
	Max    Duration `yaml:"max" default:"1m" min:"100ms" max:"1h" doc:"The longest pause."`
	GiveUp Duration `yaml:"give_up" default:"1h" min:"1s" max:"168h" doc:"After how long it becomes a dead letter, in channel $dead:<name>, and the next one is tried."`
}
