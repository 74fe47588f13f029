package config

// State is how the channels of kind state keep their entries.
type State struct {
	MaxKeys int      `yaml:"max_keys" default:"10000" min:"1" max:"100000" doc:"Entries of one channel. A put of one more key is refused with error 106."`
	KeyTTL  Duration `yaml:"key_ttl" default:"0" min:"1s" max:"8760h" zero:"for ever" doc:"How long an entry lives that was not put again, when whoever put it did not say."`
	Order   string   `yaml:"order" default:"key" enum:"key|score" doc:"The order in which snapshots are read: that of the keys, or that of the scores, from the highest where the client does not say otherwise."`
	Keys    string   `yaml:"keys" default:"any" enum:"any|own" doc:"Which keys a client that may publish may write. own: its user's id, and what begins with it and a colon."`
	Lease   Duration `yaml:"lease" default:"30s" min:"3s" max:"1h" doc:"How long an entry that is to go with its session stays when the server of that session dies."`
	TagKeys bool     `yaml:"tag_keys" default:"false" doc:"Repeat the key of each entry in its tag $key, and say $removed: true where it ends: for the SDKs that show tags and no keys."`
}

// devState is the namespace of kind state that there is to try things out with.
const devState = "state"

// stateHistory is how many changes a state channel keeps where nothing is said.
const stateHistory = 256

// Keeps returns how many publications each channel keeps. A state channel keeps
// some always, because without them a hole in its changes would go unnoticed.
func (n Namespace) Keeps() int {
	if n.Kind == "state" && n.History.Size == 0 {
		return stateHistory
	}
	return n.History.Size
}
