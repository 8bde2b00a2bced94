//! The condition language of analysis metrics: pure, bounded, total. No I/O. No clock.
