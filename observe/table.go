package observe

// Type is what a metric is to Prometheus.
type Type string

// The types.
const (
	TypeCounter   Type = "counter"
	TypeGauge     Type = "gauge"
	TypeHistogram Type = "histogram"
)

// Metric is one row of the table of metrics.
type Metric struct {
	Name   string
	Type   Type
	Labels []string
	// Unit is bytes, seconds, or empty where things are counted.
	Unit string
	Help string
}

// The names of the metrics.
const (
	nameBuildInfo = "myelin_build_info"

	namePublications     = "myelin_publications_total"
	nameDeliveries       = "myelin_deliveries_total"
	nameDuplicates       = "myelin_duplicates_total"
	nameJoins            = "myelin_joins_total"
	nameLeaves           = "myelin_leaves_total"
	nameRecovered        = "myelin_recovered_total"
	nameUnrecovered      = "myelin_unrecovered_total"
	namePositionFailures = "myelin_position_failures_total"
	nameRepairs          = "myelin_repairs_total"
	nameDropped          = "myelin_dropped_total"
	nameConflated        = "myelin_conflated_total"
	nameFiltered         = "myelin_filtered_total"
	nameDeltaSaved       = "myelin_delta_saved_bytes_total"
	nameChannels         = "myelin_channels"
	nameSubscriptions    = "myelin_subscriptions"
	namePublishSeconds   = "myelin_publish_duration_seconds"

	nameConsumers            = "myelin_consumers"
	nameConsumerPending      = "myelin_consumer_pending"
	nameConsumerUnacked      = "myelin_consumer_unacked"
	nameConsumerOldest       = "myelin_consumer_oldest_unacked_seconds"
	nameConsumerAcked        = "myelin_consumer_acked_total"
	nameConsumerRedelivered  = "myelin_consumer_redelivered_total"
	nameConsumerDeadLettered = "myelin_consumer_dead_lettered_total"
	nameConsumerExpired      = "myelin_consumer_expired_total"
	nameConsumerLost         = "myelin_consumer_lost_total"
	nameConsumerRefused      = "myelin_consumer_refused_acks_total"

	nameDoorConnections = "myelin_door_connections"
	nameDoorOpened      = "myelin_door_opened_total"
	nameDoorIn          = "myelin_door_received_bytes_total"
	nameDoorOut         = "myelin_door_sent_bytes_total"
	nameDoorRefused     = "myelin_door_refused_total"

	nameCommands     = "myelin_commands_total"
	nameErrorReplies = "myelin_error_replies_total"
	nameDisconnects  = "myelin_disconnects_total"
	nameLimitHits    = "myelin_limit_hits_total"

	nameAPIRequests = "myelin_api_requests_total"
	nameAPIErrors   = "myelin_api_errors_total"
	nameAPISeconds  = "myelin_api_duration_seconds"

	nameHubSessions  = "myelin_hub_sessions"
	nameHubInbox     = "myelin_hub_inbox_depth"
	nameHubWrites    = "myelin_hub_writes_total"
	nameHubBytes     = "myelin_hub_written_bytes_total"
	nameHubJoined    = "myelin_hub_joined_frames_total"
	nameHubPings     = "myelin_hub_pings_sent_total"
	nameHubSlowDrops = "myelin_hub_slow_disconnects_total"
	nameSlow         = "myelin_slow_total"
	nameExpired      = "myelin_expired_total"
	nameHubRemote    = "myelin_hub_remote_members"
	nameHubCopies    = "myelin_hub_member_copies_total"
)

// The labels.
const (
	labelVersion   = "version"
	labelEngine    = "engine"
	labelNamespace = "namespace"
	labelDoor      = "door"
	labelCommand   = "command"
	labelMethod    = "method"
	labelCode      = "code"
	labelLimit     = "limit"
	labelRule      = "rule"
	labelQueue     = "queue"
)

// Table returns every metric that Myelin itself has, in the order of the
// docs. The registry holds these and what the Go runtime and the operating
// system say of the process.
func Table() []Metric {
	ns, door, method := []string{labelNamespace}, []string{labelDoor}, []string{labelMethod}
	code, limit, command := []string{labelCode}, []string{labelLimit}, []string{labelCommand}
	return append([]Metric{
		{nameBuildInfo, TypeGauge, []string{labelVersion, labelEngine}, "", "Always 1; the labels say what is running."},

		{namePublications, TypeCounter, ns, "", "Publications accepted from publishers."},
		{nameDeliveries, TypeCounter, ns, "", "Publications handed to subscribers, one for each subscriber."},
		{nameDuplicates, TypeCounter, ns, "", "Publishes answered with an earlier position because their id was known."},
		{nameJoins, TypeCounter, ns, "", "Join events made."},
		{nameLeaves, TypeCounter, ns, "", "Leave events made."},
		{nameRecovered, TypeCounter, ns, "", "Subscriptions that asked to recover and got all they missed."},
		{nameUnrecovered, TypeCounter, ns, "", "Subscriptions that asked to recover and were told that they could not."},
		{namePositionFailures, TypeCounter, ns, "", "Position checks that found a subscriber behind its channel."},
		{nameRepairs, TypeCounter, ns, "", "Channels read again from the engine because the continuity of their feed was unknown."},
		{nameDropped, TypeCounter, ns, "", "Publications that a subscriber was not sent because it was too slow, one for each subscriber."},
		{nameConflated, TypeCounter, ns, "", "Publications that a subscriber did not get because he wants only the newest or was too slow for more, one for each subscriber."},
		{nameFiltered, TypeCounter, ns, "", "Publications that a subscriber did not get because of his filter, one for each subscriber."},
		{nameDeltaSaved, TypeCounter, ns, "bytes", "What patches were shorter than the data they stand for, for each subscriber."},
		{nameChannels, TypeGauge, ns, "", "Channels with a subscriber on this node."},
		{nameSubscriptions, TypeGauge, ns, "", "Subscriptions on this node."},
		{namePublishSeconds, TypeHistogram, ns, "seconds", "Time from a publish request to the engine's acknowledgement."},

		{nameConsumers, TypeGauge, ns, "", "Consumers that this node works for channels of the namespace."},
		{nameConsumerPending, TypeGauge, ns, "", "Publications that its consumers have taken and that are not settled."},
		{nameConsumerUnacked, TypeGauge, ns, "", "Those of them that are delivered and not acknowledged."},
		{nameConsumerOldest, TypeGauge, ns, "seconds", "How long ago the oldest publication that is not settled was published. 0 where there is none."},
		{nameConsumerAcked, TypeCounter, ns, "", "Deliveries acknowledged."},
		{nameConsumerRedelivered, TypeCounter, ns, "", "Deliveries after the first of the same publication."},
		{nameConsumerDeadLettered, TypeCounter, ns, "", "Publications given up after as many deliveries as they may have."},
		{nameConsumerExpired, TypeCounter, ns, "", "Publications whose time was over before they were acknowledged."},
		{nameConsumerLost, TypeCounter, ns, "", "Publications, at most, that a channel did not keep until its consumer took them, or that were open when it began a new epoch."},
		{nameConsumerRefused, TypeCounter, ns, "", "Acknowledgements refused: of what was never delivered, of another's, with a token that is none."},

		{nameDoorConnections, TypeGauge, door, "", "Connections open now."},
		{nameDoorOpened, TypeCounter, door, "", "Connections opened."},
		{nameDoorIn, TypeCounter, door, "bytes", "Payload bytes received from clients."},
		{nameDoorOut, TypeCounter, door, "bytes", "Payload bytes sent to clients."},
		{nameDoorRefused, TypeCounter, door, "", "Connections or requests refused before there was a session."},

		{nameCommands, TypeCounter, command, "", "Client commands handled."},
		{nameErrorReplies, TypeCounter, code, "", "Error replies to client commands, by code."},
		{nameDisconnects, TypeCounter, code, "", "Connections ended by the server, by code."},
		{nameLimitHits, TypeCounter, limit, "", "Times that a limit refused or dropped something."},

		{nameAPIRequests, TypeCounter, method, "", "HTTP API requests handled."},
		{nameAPIErrors, TypeCounter, method, "", "HTTP API requests answered with an error."},
		{nameAPISeconds, TypeHistogram, method, "seconds", "Time to handle an HTTP API request."},

		{nameHubSessions, TypeGauge, nil, "", "Sessions on this node."},
		{nameHubInbox, TypeGauge, nil, "", "Items waiting in the inboxes of the shards."},
		{nameHubWrites, TypeCounter, nil, "", "Writes to connections."},
		{nameHubBytes, TypeCounter, nil, "bytes", "Bytes of the writes to connections."},
		{nameHubJoined, TypeCounter, nil, "", "Frames that shared a write with an earlier frame."},
		{nameHubPings, TypeCounter, nil, "", "Pings sent to clients."},
		{nameHubSlowDrops, TypeCounter, nil, "", "Sessions ended because they did not take what was queued for them."},
		{nameSlow, TypeCounter, []string{labelRule}, "", "Times that a rule for slow clients was applied, to a subscription or, disconnect, to a connection."},
		{nameExpired, TypeCounter, []string{labelQueue}, "", "Publications not handed on because they had expired, by where they waited; one for each subscriber in paced and backlog."},
		{nameHubRemote, TypeGauge, nil, "", "Members of channels that other nodes of the cluster have, as far as they are known here."},
		{nameHubCopies, TypeCounter, nil, "", "Times that all members of another node were read, because it is new or because a message of it was missed."},
	}, hookTable()...)
}

// Label is one row of the table of labels.
type Label struct {
	Name string
	// Max is how many values the label may have in one metric, "other"
	// included.
	Max  int
	Help string
}

// The bounds of the labels whose values are not in a fixed list.
const (
	// MaxNamespaces is how many namespaces have their own metrics.
	MaxNamespaces = 1024
	// MaxDoors is how many doors have their own metrics.
	MaxDoors = 32
	// MaxLimits is how many named limits have their own metrics.
	MaxLimits = 64
)

// other is the label value for what is unknown or beyond a bound.
const other = "other"

// Labels returns every label and its bound.
func Labels() []Label {
	return []Label{
		{labelNamespace, MaxNamespaces + 1, "A namespace of the config."},
		{labelDoor, MaxDoors + 1, "A way in: websocket, sse, http_stream, uni_websocket, uni_sse, uni_http_stream, api."},
		{labelCommand, len(commandNames()) + 1, "A command of the client protocol."},
		{labelMethod, len(apiMethods()) + 1, "A method of the HTTP API."},
		{labelCode, 2*codesPerRange + 1, "An error or disconnect code of the published lists."},
		{labelLimit, MaxLimits + 1, "A named limit: " + limitNames + "."},
		{labelRule, len(slowRules()) + 1, "A rule for slow clients: disconnect, conflate, drop_oldest, resync."},
		{labelQueue, len(expiryQueues()) + 1, "Where a publication waited: publish, inbox, waiting, paced, backlog, recovery, history."},
		{labelHook, MaxHooks + 1, "A hook (connect, refresh, subscribe, sub_refresh, publish, rpc), or a webhook of the config."},
		{labelVersion, 1, "The version of the binary."},
		{labelEngine, 1, "The kind of engine."},
	}
}

// The limits that have a name everywhere.
const (
	LimitConnections   = "connections"
	LimitChannels      = "channels_per_connection"
	LimitMessage       = "message"
	LimitQueue         = "queue"
	LimitCommands      = "commands"
	LimitShardInbox    = "shard_inbox"
	LimitMeshPending   = "mesh_pending"
	LimitBusInbox      = "bus_inbox"
	LimitBusOutbox     = "bus_outbox"
	LimitBusRequests   = "bus_requests"
	LimitBusPeers      = "bus_peers"
	LimitSubscribed    = "subscribed_channels"
	LimitEntries       = "channel_entries"
	LimitForeign       = "foreign_messages"
	LimitRecovery      = "recovery"
	LimitAsides        = "asides"
	LimitRemoteMembers = "remote_members"
	LimitMembersInbox  = "members_inbox"
	LimitMembersOutbox = "members_outbox"
	LimitMemberBytes   = "member_bytes"
	// LimitConsumers counts consumers that were not made because there are
	// enough, LimitAcks requests about too many deliveries.
	LimitConsumers = "consumers"
	LimitAcks      = "acks"
	// LimitAppend counts appends to texts that had become as long as they may.
	LimitAppend = "append"
	// LimitHeldOperations counts what was to be done to the sessions of a node
	// that is away, and was given up because too much is.
	LimitHeldOperations = "held_operations"

	// LimitTails counts clients that could not be listened to.
	LimitTails = "tails"

	limitNames = LimitConsumers + ", " + LimitAcks + ", " + LimitAppend + ", " + LimitConnections + ", " + LimitChannels + ", " + LimitMessage + ", " +
		LimitQueue + ", " + LimitCommands + ", " + LimitShardInbox + ", " + LimitMeshPending + ", " +
		LimitBusInbox + ", " + LimitBusOutbox + ", " + LimitBusRequests + ", " + LimitBusPeers + ", " +
		LimitSubscribed + ", " + LimitEntries + ", " + LimitForeign + ", " +
		LimitRecovery + ", " + LimitAsides + ", " + LimitRemoteMembers + ", " + LimitMembersInbox + ", " + LimitMembersOutbox + ", " + LimitMemberBytes + ", " +
		LimitHeldOperations + ", " + LimitTails + ", " + deliveryLimitNames + ", " + quotaLimitNames +
		", " + patternLimitNames +
		", " + hookLimitNames +
		", " + filterLimitNames +
		", " + stateLimitNames +
		", " + doorLimitNames
)

// commandNames returns the commands of the client protocol.
func commandNames() []string {
	return []string{
		"connect", "subscribe", "unsubscribe", "publish", "presence", "presence_stats",
		"history", "ping", "send", "rpc", "refresh", "sub_refresh",
	}
}

// apiMethods returns the methods of the HTTP API.
func apiMethods() []string {
	return []string{
		"publish", "broadcast", "subscribe", "unsubscribe", "disconnect", "refresh",
		"presence", "presence_stats", "history", "history_remove", "channels", "info", "batch",
		"consumer_create", "consumer_list", "consumer_info", "consumer_seek", "consumer_delete", "consumer_ack", "append",
		"revoke", "block", "unblock", "blocks",
		"explain", "tail", "connections", "limits",
		"state_set", "state_remove", "state_get", "state_list",
	}
}

// codesPerRange is how many codes of each published range have their own
// value. The lists are appended to from the start of their range.
const codesPerRange = 64

// errorCode reports whether code is in the published ranges of error codes:
// those of the client protocol from 100, those of Myelin from 1000.
func errorCode(code uint32) bool { return inRange(code, 100) || inRange(code, 1000) }

// disconnectCode reports whether code is in the published ranges of disconnect
// codes: from 3000 a client comes back, from 3500 it does not.
func disconnectCode(code uint32) bool { return inRange(code, 3000) || inRange(code, 3500) }

func inRange(code, start uint32) bool { return code >= start && code < start+codesPerRange }
