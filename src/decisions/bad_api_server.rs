//! # While the API server is bad
//!
//! | the API server | what serin does |
//! |---|---|
//! | refuses connections, or breaks them | a shed is tried again after 0.1 s, then with growing pauses of at most 0.5 s; other writes of a rollout after at most 30 s, a run that could not be created or a measurement that could not be booked after at most 2 s |
//! | takes connections and never answers | each request ends after 5 s; a shed is sent again each second, each time on another connection, until one is answered. After a shed without an answer the booking has 1 s, so that the next attempt comes soon |
//! | 429 or 503 with `Retry-After` | everything but a shed and the Lease waits as long as asked, at most 60 s |
//! | any other refusal | the pauses of the first line |
//! | slow | one request of a rollout at a time, its shed first. What comes after 5 s is taken for unanswered, and found out by the watch |
//! | cuts a watch, or ends it with 410 | the watch goes on from the last version, or lists again: at once, then after at most 4 s |
//! | leaves a watch open and says nothing | a watch is asked to last 20 s and is begun again when nothing was heard for 25 s; one of Rollouts or VirtualServices 5 s and 10 s: a person's abort, or a weight that somebody raised, is seen after 10 s at the latest |
//! | leaves a list unanswered | the connection is given up after 30 s of silence |
//! | away for longer than the renew deadline (10 s) | the leader stops acting and its process ends, 5 s before another may lead. After the outage whoever leads measures again and sheds: at once where the others had seen the last renewal before it, up to 17 s later where they see it only then, for nobody leads before the Lease has stood still for 15 s before his own eyes |
//!
//! A shed depends on no store being fresh: it tests what it lowers and carries no resourceVersion. Everything that raises does
//! carry one, or follows a write that does, so a store that is behind leads to a refusal and not to more traffic.
//!
//! **The answer that decided is kept** until it is stored with its run, whatever became of the requests that were to store it: one that
//! comes later may be a good one. Only a process that ends takes it along.
//!
//! **`--qps` and `--burst`** (40 and 80, as in the reference) and `--rollout-threads` (10 requests under way) hold for all writes of
//! passes but these: a shed; what is written after it (the verdict); and the booking of a measurement, without which the next
//! measurement is not asked for. All passes decide at once; only their other requests stand in line, in the order in which they came. A
//! request in the line gives its place up when an answer, an abort or a change arrives for its rollout that calls for a shed. The
//! reference's one limiter for everything would let a shed wait behind the steps of other rollouts.
//!
//! **kube's own retries are off** (`default_retry`): they repeat 429, 503 and 504 up to 15 times inside of one request, and a
//! `Retry-After` of a minute would hold a shed for a minute.
//!
//! **Instead of** longer watches: the shortest time after which a hung one can be told from a quiet one is what it is asked to last,
//! and going on with a watch costs one request without a list.
//!
//! **No pings** (HTTP/2), and no waiting for bookmarks: a proxy answers the former for a server that hangs, and the latter come once
//! a minute.
//!
//! **Price.** Each process asks for eight watches three times a minute, and for two twelve times. A shed may arrive twice; the second changes nothing.
//!
//! `e2e/faults` plays this with the real binary behind a proxy that is bad on purpose, and prints what it measured.
