package config

// Batch joins what is sent.
type Batch struct {
	MaxDelay Duration `yaml:"max_delay" default:"0" min:"1ms" max:"1s" zero:"none" doc:"How long a publication may wait for others to share a write with, half as long on average. Without it what is there is sent at once, and joined only while the server is busy."`
}
