package mesh

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	// metaDir is where the server keeps what the nodes agree on, within its own
	// directory, and peersFile who they are.
	metaDir   = server.JetStreamStoreDir + "/" + systemAccount + "/_js_/_meta_"
	peersFile = "peers.idx"
	// raftIDBytes is how much of a node's hash is its id when votes are cast.
	raftIDBytes = 8
	// leastRoutes is what the server takes for the least number of voters.
	leastRoutes = 2
)

// seed tells a server that starts for the first time how many nodes with
// storage there will be. Left alone it takes all its routes for such, and at
// least two, and the first start needs a vote of each of them: a cluster with
// nodes that have no storage would wait for those too, and one with a single
// storage node for ever. What is written is what the server would write itself.
func seed(s *server.Server, o *Options, routes int) error {
	if !o.clustered() || !o.Storage || routes == o.StorageNodes && routes >= leastRoutes {
		return nil
	}
	dir := filepath.Join(o.StorePath, storeDir, filepath.FromSlash(metaDir))
	name := filepath.Join(dir, peersFile)
	if _, err := os.Stat(name); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return wrong(o.StorePath, "cannot be read", err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return wrong(o.StorePath, "cannot be written", err)
	}
	b := binary.LittleEndian.AppendUint32(nil, uint32(o.StorageNodes))
	b = binary.LittleEndian.AppendUint32(b, 1)
	b = append(b, s.NodeName()[:raftIDBytes]...)
	b = binary.LittleEndian.AppendUint16(b, 0)
	if err := writeSynced(name, b); err != nil {
		return wrong(o.StorePath, "cannot be written", err)
	}
	return nil
}
