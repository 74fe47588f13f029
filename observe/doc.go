// Package observe is what an operator sees of Myelin: every metric, log key
// and span name in one table, the metrics endpoint, health and readiness, and
// the logger.
//
// # Nouns
//
// [Metrics] is one process's metrics. What counts asks it once for a group
// ([Namespace], [Door], [APIMethod], [Hub]) or for a single [Counter] and from
// then on only adds. [Table] lists every metric, [LogKeys] every log key and
// [SpanNames] every span; docs/metrics.md is generated from them. [Health]
// gathers what components say of themselves.
//
// # Promises
//
// Everything may be called from any goroutine. Adding is one atomic operation
// and does not allocate. A nil *Metrics, and whatever it returns, counts
// nothing, so what is counted needs no metrics to be tested. The same question
// gives the same counter.
//
// # Limits
//
// No metric is labeled by channel, user or client. Every label has a bound
// (see [Labels]); what comes beyond it, or is not in its list, counts under
// the value "other". Health keeps at most [MaxComponents] components.
package observe
