//! How much a condition may cost. Every limit is an error when it is passed, never a verdict.

/// Bytes of text. The longest condition in the wild has a few hundred.
pub(crate) const TEXT_BYTES: usize = 4096;

/// Nodes of the tree; each byte of text makes at most two, and the optimizer adds a few.
pub(crate) const NODES: usize = 16_384;

/// Height of the tree, and so how deep the checker and the evaluator recurse. A frame of the evaluator is under
/// 2 KiB without optimization: half a MiB, a quarter of a tokio worker's stack.
pub(crate) const DEPTH: usize = 200;

/// How deep brackets, calls and unary operators may be nested in the text: how deep the parser recurses.
pub(crate) const NESTING: usize = 64;

/// Nodes evaluated, plus a charge for work whose cost grows with its operands. About half a second.
pub(crate) const STEPS: u64 = 10_000_000;

/// Elements of lists and maps, and bytes of text divided by [`BYTES_A_CELL`], that one evaluation may make.
/// The reference's number.
pub(crate) const MEMORY_CELLS: u64 = 1_000_000;

/// Text is charged to the memory at this many bytes an element.
pub(crate) const BYTES_A_CELL: u64 = 16;

/// Reading a text is charged to the steps at this many bytes a step, wherever a function or an operator does it.
pub(crate) const BYTES_A_STEP: u64 = 32;

/// Bytes of a message. The longest that the reference makes of a condition that somebody wrote has a few hundred;
/// a message that shows a whole result would not fit into the status that carries it.
pub(crate) const MESSAGE_BYTES: usize = 1024;

/// How deep lists and maps may be nested: those that a condition makes are refused beyond, and functions that walk
/// those of a result stop there.
pub(crate) const VALUE_DEPTH: usize = 128;

/// Bytes that the automaton of a small `matches` pattern takes. Those in the wild stay below half of it.
pub(crate) const PATTERN_SMALL_BYTES: usize = 8 << 10;

/// Steps for each byte that a small pattern is matched against; twice as many for an automaton twice as large. The
/// worst patterns and texts take half a microsecond a step, usual ones a thousandth of that.
pub(crate) const PATTERN_WEIGHT: u64 = 8;

/// Bytes that the automaton of one `matches` pattern may take.
pub(crate) const PATTERN_BYTES: usize = 1 << 20;

/// Steps charged for a `matches` whose pattern is made by the condition and compiled each time.
pub(crate) const PATTERN_STEPS: u64 = 20_000;
