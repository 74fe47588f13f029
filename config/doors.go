package config

// Pusher is one application of the Pusher protocol.
type Pusher struct {
	AppID            string `yaml:"app_id" default:"" doc:"Id of the application, in the paths of the HTTP API."`
	Key              string `yaml:"key" default:"" doc:"Key of the application, which its clients connect with. No secret."`
	Secret           Secret `yaml:"secret" default:"" form:"secret" doc:"What the servers of the application sign with."`
	Namespace        string `yaml:"namespace" default:"pusher" form:"filled" doc:"Namespace of public channels: orders is pusher:orders. Clients are anonymous there."`
	PrivateNamespace string `yaml:"private_namespace" default:"pusher-private" form:"filled" doc:"Namespace of private and presence channels: private-orders is pusher-private:private-orders. A signature is to it what a subscription token is, so it lets in token. Presence channels need presence and join_leave, client events publish: [subscriber]."`
	PresenceMembers  int    `yaml:"presence_members" default:"100" min:"1" max:"10000" doc:"Members of one presence channel; one more is refused."`
	ClientEvents     int    `yaml:"client_events_per_second" default:"10" min:"1" max:"1000" doc:"Events of one client, as a lasting rate; a second's worth may come at once."`
}

// Mercure is the hub of the Mercure protocol.
type Mercure struct {
	Enabled          bool   `yaml:"enabled" default:"false" doc:"Whether there is a hub at /.well-known/mercure. Tokens are checked as auth.tokens says; subscribers without one need auth.anonymous."`
	Namespace        string `yaml:"namespace" default:"mercure" form:"filled" doc:"Namespace of public updates: topic https://example.com/1 is mercure:https://example.com/1. Templates, URL patterns and * need subscribe_patterns."`
	PrivateNamespace string `yaml:"private_namespace" default:"mercure-private" form:"filled" doc:"Namespace of private updates. What a token's claims name is to it what a subscription token is, so it lets in token."`
	Subscriptions    bool   `yaml:"subscriptions" default:"false" doc:"Whether active subscriptions are told in private updates and listed at /.well-known/mercure/subscriptions, to those whose token names these topics. Each stream then takes one more of limits.channels_per_connection."`
}
