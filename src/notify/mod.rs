//! The Slack lane: one message a story. Never on the path of traffic.
