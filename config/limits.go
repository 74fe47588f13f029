package config

// Rate is how much may be published to the channels of a namespace.
type Rate struct {
	Publish     int      `yaml:"publish" default:"0" min:"1" max:"1000000" zero:"no limit" doc:"Publications on one channel within per, as a lasting rate, whoever publishes, the HTTP API included. In a cluster all nodes together."`
	Burst       int      `yaml:"burst" default:"0" min:"1" max:"1000000" zero:"as many as publish" doc:"Publications on one channel at once."`
	UserPublish int      `yaml:"user_publish" default:"0" min:"1" max:"1000000" zero:"no limit" doc:"Publications of one user within per on all channels of the namespace together. Who has no user id is measured by connection."`
	UserBurst   int      `yaml:"user_burst" default:"0" min:"1" max:"1000000" zero:"as many as user_publish" doc:"Publications of one user at once."`
	Per         Duration `yaml:"per" default:"1s" min:"1s" max:"1h" doc:"The time that publish and user_publish are for. With user_publish: 1 and per: 10s a user may send every ten seconds."`
}

// PerUser bounds what one user may use.
type PerUser struct {
	Connections    int  `yaml:"connections" default:"0" min:"1" max:"100000" zero:"no limit" doc:"Connections of one user at once, on all nodes together."`
	Publish        int  `yaml:"publish_per_second" default:"0" min:"1" max:"1000000" zero:"no limit" doc:"Publications of one user, as a lasting rate, over all its connections and nodes."`
	PublishBurst   int  `yaml:"publish_burst" default:"0" min:"1" max:"1000000" zero:"as many as publish_per_second" doc:"Publications of one user at once."`
	BytesPerSecond Size `yaml:"bytes_per_second" default:"0" min:"1KiB" max:"1GiB" zero:"no limit" doc:"Data that one user publishes, as a lasting rate. As much of it at once, or one message."`
}
