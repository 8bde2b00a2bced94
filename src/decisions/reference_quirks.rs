//! # Where the reference controller is odd, and what serin does
//!
//! A manifest, `kubectl argo rollouts`, Argo CD and an autoscaler must not notice the difference between the two
//! controllers. Where the reference does something that nobody can depend on, or that hurts, serin takes the safe side.
//!
//! | the reference | serin | because |
//! |---|---|---|
//! | after an abort, two of its rules point the canary Service at the canary and back in every pass | the Service leads to stable, moved once the routes have carried 0 for the data-plane delay | a flapping selector can send a request to pods that are about to go |
//! | an abort is seen in the status first, traffic follows in a later step | the weights go first, in one request; then the verdict is stored | between the two a crash would leave traffic on a version that failed |
//! | `abortScaleDownDelaySeconds` beyond its resync period scales the canary down at once | any deadline is waited for | that is what the field says |
//! | `scaleDownDelaySeconds: 0` keeps the previous version for ever | it is scaled down once its traffic has drained | that is what people who write 0 want |
//! | a superseded canary is scaled to 0 at once | its weight goes to 0, then it waits for the data-plane delay | proxies may still hold its addresses |
//! | a full promotion can leave `currentStepIndex` one past the last step | the index is a `Cursor` that ends at the number of steps | clients index with it |
//! | a query that cannot be asked counts as an error, five in a row abort | an outage is held with `MetricsUnavailable` (`--outage=reference` restores it) | an outage of Prometheus says nothing about the version |
//! | metric results appear in the order in which they were measured | in the order of the spec | a status that is stable can be compared |
//! | a run that ends early in an error has no `completedAt` | it has one | otherwise its time to live never begins |
//!
//! What analyses copy on purpose: a metric without conditions succeeds; an error is measured again after 10 seconds;
//! the order in which limits win inside of a metric and across metrics.
//!
//! **Not supported yet** (a Rollout that uses it is refused with a condition `InvalidSpec` that names the field, and
//! nothing of it is touched; an abort still takes its traffic away): blueGreen, canaries without traffic routing,
//! traffic routers other than Istio, DestinationRule subsets, header and mirror routes, `setCanaryScale`, experiments,
//! `dynamicStableScale`, and metric providers other than Prometheus.
