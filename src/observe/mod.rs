//! I/O in: stores filled by watches, and the sampler that asks Prometheus. Never names `apply`.
