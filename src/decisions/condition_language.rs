//! # The condition language: the reference's verdicts, with an end to everything
//!
//! **Chosen.** `crate::expr` gives the verdict of the reference controller's evaluator (`expr-lang/expr` 1.17.8) on
//! every condition, and an error, never a pass, where there is nothing to judge. 375 fixed cases and 200,000 random
//! ones are compared with that evaluator in every run of the tests.
//!
//! **Instead of** a crate with the same syntax: it yields nil for an index out of range, so no data would pass the gate.
//!
//! **What differs**, and is counted by each run (`e2e/expr/accepted.jsonl`):
//!
//! - *Limits.* 4 KiB of text and of a pattern made at run time; 64 nested brackets, 200 operators in a row, values
//!   nested 128 deep; 10 million steps, 1 million cells (text counts too), automata up to 1 MiB. The reference can
//!   hang on what these stop; here it is an error.
//! - *Left out*, an error that says so: bytes literals, time zones other than UTC, text cut inside of a character, base
//!   64 that is not text, `fromJSON` of a lone surrogate or of more than 128 nested lists.
//! - *Defects not copied*: `findLast` and `last(filter(..))` to the right of an operator (the reference takes a stale
//!   value from its stack), a predicate over an object that never looks at `#`, a repetition behind `(?i)`.
//! - *Clock and order*: `now()` is read once a verdict; keys of objects have an order.
//!
//! **What passes on nothing**, because it does in the reference and people rely on it: `all`, `none`, `sum`, `mean`,
//! `median` and `count` over an empty list, `!=` against nil or NaN, a negated comparison with NaN. A metric's policy for
//! no data is asked before any of these; without a policy `serin condition` warns.
