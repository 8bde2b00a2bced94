//! Tests of the decisions, one file a topic.
