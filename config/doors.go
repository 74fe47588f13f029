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
