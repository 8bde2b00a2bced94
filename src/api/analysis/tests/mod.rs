//! Tests of the wire side of analysis.
