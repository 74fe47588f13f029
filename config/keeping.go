package config

// Engine is what keeps the channels.
type Engine struct {
	Kind      string    `yaml:"kind" default:"auto" enum:"auto|memory|disk|jetstream" doc:"memory keeps channels in this process, disk in a directory of this node, jetstream in a cluster or in NATS servers elsewhere. auto: jetstream when cluster.peers or jetstream.url is set, disk when disk.path is, otherwise memory. See [engines](engines.md)."`
	Memory    Memory    `yaml:"memory" doc:"Bounds of the memory engine."`
	Disk      Disk      `yaml:"disk" doc:"The disk engine."`
	JetStream JetStream `yaml:"jetstream" doc:"The jetstream engine: NATS, inside this process or elsewhere."`
}

// Memory bounds the memory engine.
type Memory struct {
	MaxChannels int  `yaml:"max_channels" default:"1000000" min:"1" max:"100000000" doc:"Channels that are known at a time, idle ones included; each takes about 200 bytes. A new one beyond is refused with error 106."`
	MaxBytes    Size `yaml:"max_bytes" default:"1GiB" min:"1MiB" max:"1024GiB" doc:"Bytes that all histories together may take. A publication beyond is refused with error 106."`
}

// Disk is where and how the disk engine keeps channels.
type Disk struct {
	Path          string   `yaml:"path" default:"" doc:"Directory of the data, made when it is missing. One server uses it at a time."`
	FlushInterval Duration `yaml:"flush_interval" default:"50ms" min:"1ms" max:"10s" doc:"How much time of acknowledged publications a crash may take from channels of durability async."`
	MaxChannels   int      `yaml:"max_channels" default:"1000000" min:"1" max:"100000000" doc:"Channels that may be in use at a time. A new one beyond is refused with error 106."`
}

// JetStream is where and how the jetstream engine keeps channels.
type JetStream struct {
	Path            string   `yaml:"path" default:"" doc:"Directory of this node's part of the data, made when it is missing. One node uses it at a time, always the same."`
	URL             []string `yaml:"url" default:"" form:"NATS URL" doc:"NATS servers elsewhere, such as nats://10.0.0.5:4222 or tls://nats.example.com:4222, to use instead of one inside this process."`
	CredentialsFile string   `yaml:"credentials_file" default:"" doc:"File with the credentials for url, as nsc writes it."`
	User            string   `yaml:"user" default:"" doc:"Name to log in with at url."`
	Password        Secret   `yaml:"password" default:"" form:"secret" doc:"Password that goes with user."`
	Token           Secret   `yaml:"token" default:"" form:"secret" doc:"Token to log in with at url."`
	CAFile          string   `yaml:"ca_file" default:"" doc:"Certificates that sign those of the servers of url, PEM. Empty: those that this machine trusts."`
	Prefix          string   `yaml:"prefix" default:"myelin" form:"prefix" doc:"What subjects begin with, and in capitals the names of streams, so that several installations may share NATS servers. 1 to 32 letters, digits, - and _."`
	Replicas        int      `yaml:"replicas" default:"0" min:"1" max:"5" zero:"as many as store, at most 3; with url 1" doc:"Nodes that keep each publication: 1, 3 or 5. A publication is acknowledged when most of them have it. Streams that are there follow it."`
	MaxBytes        Size     `yaml:"max_bytes" default:"0" min:"16MiB" max:"1024GiB" zero:"three quarters of what is free on the disk" doc:"Bytes that path may hold. A publication beyond is refused. With url: what each stream may hold, 0 is then no limit."`
	MaxMemory       Size     `yaml:"max_memory" default:"256MiB" min:"16MiB" max:"1024GiB" doc:"Bytes that histories of durability memory may take in this process, all together."`
	PublishTimeout  Duration `yaml:"publish_timeout" default:"10s" min:"1s" max:"1m" doc:"How long a publication may wait for its acknowledgement, such as while a new leader is elected."`
	MaxMetaTTL      Duration `yaml:"max_meta_ttl" default:"24h" min:"1m" max:"720h" doc:"What history.meta_ttl is cut to: publications stay on disk for as long as the position of their channel is remembered."`
	Synced          bool     `yaml:"synced" default:"false" doc:"Whether the servers of url are set to sync_interval: always. Only then durability sync can be promised."`
}

// Cluster is the nodes that serve the same channels.
type Cluster struct {
	Name         string     `yaml:"name" default:"myelin" form:"prefix" doc:"Name of the cluster, the same on all its nodes. A node of another one is refused."`
	Listen       string     `yaml:"listen" default:"127.0.0.1:8002" form:"address" doc:"Address for the other nodes. Used only when peers is set."`
	Advertise    string     `yaml:"advertise" default:"" form:"peer" zero:"as the others see it" doc:"host:port where the other nodes reach listen, when that is not its own address, as in containers."`
	Peers        []string   `yaml:"peers" default:"" form:"peer" doc:"host:port of cluster.listen of the nodes that store, and of others where you like: nodes that know one know all. The list may be the same on all nodes: a node leaves itself out."`
	Secret       Secret     `yaml:"secret" default:"" form:"secret" doc:"What the nodes know each other by, the same on all of them, at least 16 bytes."`
	TLS          ClusterTLS `yaml:"tls" doc:"TLS between the nodes, where each shows the other its certificate. Off while all files are empty."`
	Insecure     bool       `yaml:"insecure" default:"false" doc:"Let nodes talk without TLS over a network. Whoever can listen there reads all, the secret too."`
	Storage      bool       `yaml:"storage" default:"true" doc:"Whether this node stores. Nodes beyond storage_nodes say false: they serve clients and keep nothing."`
	StorageNodes int        `yaml:"storage_nodes" default:"3" min:"1" max:"5" doc:"How many nodes of the cluster store: 1, 3 or 5, the same on all of them. Most of them have to be there."`
}

// ClusterTLS names the certificates of the nodes.
type ClusterTLS struct {
	CertFile string `yaml:"cert_file" default:"" doc:"This node's certificate chain, PEM, for servers and clients alike."`
	KeyFile  string `yaml:"key_file" default:"" doc:"Its private key, PEM."`
	CAFile   string `yaml:"ca_file" default:"" doc:"Certificates that sign those of the other nodes, PEM."`
}

// Kept returns the kind of engine in force: memory, disk or jetstream.
func (c *Config) Kept() string {
	e := c.Engine
	switch {
	case e.Kind != "auto":
		return e.Kind
	case c.Clustered() || c.External():
		return "jetstream"
	case e.Disk.Path != "":
		return "disk"
	}
	return "memory"
}

// Clustered says whether this node has others beside it that it knows of by
// itself.
func (c *Config) Clustered() bool { return len(c.Cluster.Peers) > 0 }

// External says whether channels are kept by NATS servers elsewhere.
func (c *Config) External() bool { return len(c.Engine.JetStream.URL) > 0 }

// Directory returns where this node keeps its data, "" for nowhere.
func (c *Config) Directory() string {
	switch c.Kept() {
	case "disk":
		return c.Engine.Disk.Path
	case "jetstream":
		if !c.External() && c.Cluster.Storage {
			return c.Engine.JetStream.Path
		}
	}
	return ""
}

// Replicas returns how many nodes keep each publication of the jetstream
// engine.
func (c *Config) Replicas() int {
	switch {
	case c.Engine.JetStream.Replicas > 0:
		return c.Engine.JetStream.Replicas
	case c.Clustered():
		return min(c.Cluster.StorageNodes, 3)
	}
	return 1
}

// Survives returns the durability in force in a namespace: memory, async or
// sync.
func (c *Config) Survives(n Namespace) string {
	if n.Durability != "auto" {
		return n.Durability
	}
	kept := c.Kept()
	switch {
	case n.Keeps() == 0 || kept == "memory":
		return "memory"
	case kept == "jetstream" && c.External() && !c.Engine.JetStream.Synced:
		return "async"
	}
	return "sync"
}
