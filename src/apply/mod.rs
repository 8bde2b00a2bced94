//! I/O out: plans become requests, requests are sent in order. Never names `observe`.
