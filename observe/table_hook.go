package observe

// The limits of what tells, and asks, the outside.
const (
	// LimitLifecycleQueue counts lifecycle events that were lost because too
	// many waited for the engine.
	LimitLifecycleQueue = "lifecycle_queue"
	// LimitHookCalls counts hooks that were not called because too many wait.
	LimitHookCalls = "hook_calls"

	hookLimitNames = LimitLifecycleQueue + ", " + LimitHookCalls
)
