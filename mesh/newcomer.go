package mesh

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"myelin/channel"
	"myelin/observe"
)

const (
	// newcomerFile is in the directory of a node that started with an empty one
	// until it knows that the cluster has a place for it.
	newcomerFile = "newcomer"
	// metaGroup is the group of all nodes with storage.
	metaGroup = "_meta_"
	// newcomerStep is how long a newcomer waits before it goes, once for each
	// member whose name comes later: of several newcomers only as many go as
	// there are too many.
	newcomerStep = time.Second
	// newcomerPatience is how long a newcomer that has no place may take to be
	// counted as a member, which it has to be to be removed.
	newcomerPatience = 5 * time.Second
	// askStores and removeMember are subjects of the system account: what every
	// server keeps, and that one is to go from the members.
	askStores    = "$SYS.REQ.SERVER.PING.JSZ"
	removeMember = server.JSApiRemoveServer
)

// newcomer is a node that began with an empty directory.
type newcomer struct {
	path string
	// stays says that the cluster counts on this node now.
	stays atomic.Bool
	// since is when the cluster was first seen to be full; nil for not.
	since atomic.Pointer[time.Time]
	// leaves says that this node has asked to be taken out of the members. The
	// answer may get lost: who leads them stops with his own departure.
	leaves atomic.Bool
}

// arrive notes in the directory that a node starts with nothing. It returns nil
// for a node that was a member before.
func arrive(o *Options) (*newcomer, error) {
	if !o.clustered() || !o.Storage {
		return nil, nil
	}
	c := &newcomer{path: filepath.Join(o.StorePath, newcomerFile)}
	if isNewcomer(o.StorePath) {
		return c, nil
	}
	peers := filepath.Join(o.StorePath, storeDir, filepath.FromSlash(metaDir), peersFile)
	switch _, err := os.Stat(peers); {
	case err == nil:
		return nil, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, wrong(o.StorePath, "cannot be read", err)
	}
	if err := errors.Join(writeSynced(c.path, nil), syncDir(o.StorePath)); err != nil {
		return nil, wrong(o.StorePath, "cannot be written", err)
	}
	return c, nil
}

// isNewcomer reports whether the cluster cannot count on a directory yet.
func isNewcomer(path string) bool {
	_, err := os.Stat(filepath.Join(path, newcomerFile))
	return err == nil
}

// settle finds out whether the cluster has a place for this node. It is called
// until there is no error, or a final one: this node has then taken itself out
// of the members, so that no vote needs it. Only who holds nothing goes: a
// member that lost its disk is a newcomer too, and streams are still assigned
// to it.
func (n *Network) settle(ctx context.Context) (final bool, err error) {
	if n.embedded == nil || n.embedded.newcomer == nil || n.embedded.newcomer.stays.Load() {
		return false, nil
	}
	c := n.embedded.newcomer
	members, err := n.members(ctx)
	if err != nil {
		return false, err
	}
	self := slices.Index(members, n.options.Node)
	others := slices.DeleteFunc(slices.Clone(members), func(name string) bool { return name == n.options.Node })
	full := len(others) >= n.options.StorageNodes
	waited := c.wait(full)
	noPlace := channel.ErrConflict.With(fmt.Sprintf("the cluster stores on %s and cluster.storage_nodes is %d: set cluster.storage: false on this node, "+
		"or give it the name of the node whose place it takes (and an empty data directory)", strings.Join(others, ", "), n.options.StorageNodes))
	switch {
	case self < 0 && full && (c.leaves.Load() || waited > newcomerPatience):
		return true, noPlace
	case self < 0:
		return false, channel.ErrUnavailable.With("the nodes with storage have not taken this one in yet")
	case !full:
		return false, n.stay()
	case waited < newcomerStep*time.Duration(len(members)-self):
		return false, noPlace
	}
	holds, err := n.holds(ctx)
	if err != nil {
		return false, err
	}
	if holds {
		return false, n.stay()
	}
	c.leaves.Store(true)
	if err := n.remove(ctx); err != nil {
		return false, err
	}
	return true, noPlace
}

// leaves reports whether this node has asked to be taken out of the members,
// after which its storage may not answer any more.
func (n *Network) leaves() bool {
	return n.embedded != nil && n.embedded.newcomer != nil && n.embedded.newcomer.leaves.Load()
}

// wait returns for how long the cluster has been full.
func (c *newcomer) wait(full bool) time.Duration {
	if !full {
		c.since.Store(nil)
		return 0
	}
	now := time.Now()
	if c.since.CompareAndSwap(nil, &now) {
		return 0
	}
	if since := c.since.Load(); since != nil {
		return now.Sub(*since)
	}
	return 0
}

// stay makes a newcomer a member for good.
func (n *Network) stay() error {
	if err := os.Remove(n.embedded.newcomer.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return wrong(n.options.StorePath, "cannot be written", err)
	}
	n.embedded.newcomer.stays.Store(true)
	return nil
}

// members returns the names of the nodes that vote on the storage, in order, as
// their leader knows them.
func (n *Network) members(ctx context.Context) ([]string, error) {
	var reply struct {
		Data server.JSInfo `json:"data"`
	}
	if err := n.askSystem(ctx, askStores, server.JSzOptions{LeaderOnly: true}, &reply); err != nil {
		return nil, err
	}
	meta := reply.Data.Meta
	if meta == nil || meta.Leader == "" {
		return nil, channel.ErrUnavailable.With("the nodes with storage have no leader")
	}
	names := []string{meta.Leader}
	for _, p := range meta.Replicas {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// holds reports whether a stream is assigned to this node.
func (n *Network) holds(ctx context.Context) (bool, error) {
	if groups := n.embedded.Raftz(&server.RaftzOptions{AccountFilter: globalAccount}); groups != nil && len((*groups)[globalAccount]) > 0 {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	list := n.js.ListStreams(ctx)
	found := false
	for info := range list.Info() {
		if info.Cluster == nil {
			continue
		}
		found = found || info.Cluster.Leader == n.options.Node
		for _, r := range info.Cluster.Replicas {
			found = found || r.Name == n.options.Node
		}
	}
	if err := list.Err(); err != nil {
		return false, channel.ErrUnavailable.With("the storage does not say what it has on this node").Wrap(err)
	}
	return found, nil
}

// remove takes this node out of the members.
func (n *Network) remove(ctx context.Context) error {
	var reply server.JSApiMetaServerRemoveResponse
	if err := n.askSystem(ctx, removeMember, server.JSApiMetaServerRemoveRequest{Server: n.options.Node}, &reply); err != nil {
		return err
	}
	if reply.Error != nil {
		return channel.ErrUnavailable.With("this node cannot leave the nodes with storage: " + reply.Error.Description)
	}
	return nil
}

// connectSystem connects to the system account.
func (e *embedded) connectSystem() (*nats.Conn, error) {
	c, err := nats.Connect("", nats.InProcessServer(e), nats.UserInfo(e.system.user, e.system.password), nats.Timeout(ownTimeout), nats.NoReconnect())
	if err != nil {
		return nil, channel.ErrUnavailable.With("the embedded NATS server does not let its own process in").Wrap(err)
	}
	return c, nil
}

// askSystem asks the system account.
func (n *Network) askSystem(ctx context.Context, subject string, question, reply any) error {
	system, err := n.embedded.connectSystem()
	if err != nil {
		return err
	}
	defer system.Close()
	text, err := json.Marshal(question)
	if err != nil {
		return channel.ErrInternal.With("a question to the nodes with storage has no text").Wrap(err)
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	m, err := system.RequestWithContext(ctx, subject, text)
	if err == nil {
		err = json.Unmarshal(m.Data, reply)
	}
	if err != nil {
		return channel.ErrUnavailable.With("the leader of the nodes with storage does not answer").Wrap(err)
	}
	return nil
}

// countMembers complains when more nodes vote on the storage than should: each
// one too many makes it more likely that too few are there.
func (n *Network) countMembers() {
	if n.embedded == nil || !n.options.clustered() || !n.options.Storage {
		return
	}
	groups := n.embedded.Raftz(&server.RaftzOptions{AccountFilter: systemAccount, GroupFilter: metaGroup})
	if groups == nil {
		return
	}
	group := (*groups)[systemAccount][metaGroup]
	if group.Size <= n.options.StorageNodes || !n.embedded.voice.first("members") {
		return
	}
	names := []string{n.options.Node}
	for _, p := range slices.Collect(maps.Values(group.Peers)) {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	n.options.Logger.Warn("more nodes vote on the storage than cluster.storage_nodes says, and the loss of fewer stops it; take the one that should not store out of the cluster, or correct cluster.storage_nodes",
		observe.KeyComponent, "mesh", observe.KeyReason, fmt.Sprintf("%d (%s) instead of %d", group.Size, strings.Join(slices.Compact(names), ", "), n.options.StorageNodes))
}
