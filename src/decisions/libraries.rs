//! # Libraries: what differs from the usual choice, and why
//!
//! The starting list was kube, tokio, reqwest, prometheus-http-query, serde, git2, backoff, tracing and schemars.
//!
//! | instead of | serin uses | because |
//! |---|---|---|
//! | backoff | backon | backoff is unmaintained (RUSTSEC-2025-0012). Waits go through `crate::clock`, so that tests own the time |
//! | `serde_yaml` | serde-saphyr to read manifests, granit-parser and yaml-edit in the Git lane | `serde_yaml` is unmaintained, and a revert needs the byte range of a value, not a value |
//! | kube's `Controller` | kube's `watcher` and `reflector` with a queue of our own | it waits only for its own store, and has no back-off per key; see `control` |
//! | prometheus-http-query's default client | the same crate over our reqwest client | one client decides on TLS, redirects and limits of size and time |
//! | chrono | jiff | one time type from the wire to the log; kube and k8s-openapi speak it too |
//! | a crate for the condition language | `crate::expr` | the crate with this syntax yields nil for an index out of range: no data would pass the gate |
//!
//! **One TLS stack, and its one exception.** Everything that speaks to Kubernetes, Prometheus and Slack uses rustls
//! with aws-lc-rs; `.deny.toml` refuses another. libgit2 has no rustls backend: in the Git lane, and only there,
//! HTTPS is OpenSSL and SSH is libssh2 on the same OpenSSL. The lane's transfers are processes of their own, so the
//! traffic controller never runs that code. The default feature `vendored` builds libgit2 and OpenSSL from source, for
//! machines that have a C compiler and nothing else; `--no-default-features` links the system's OpenSSL and is what
//! the tests use.
