//! What was worked out lately, by what it was worked out from.
//!
//! An object comes again with every status of it, while its spec stays as it is: during an update the same few templates
//! are read hundreds of times. Comparing two values takes a hundredth of the time of reading and hashing one.

use std::collections::VecDeque;

/// Kept at a time: an update under way has three or four templates, and one thread seldom follows more than a few at once.
const KEPT: usize = 16;

/// Questions with their answers, the one asked last in front. A function of its question only may be asked through it.
#[derive(Debug)]
pub(super) struct Lately<K, V> {
    kept: VecDeque<(K, V)>,
}

impl<K, V: Clone> Lately<K, V> {
    pub(super) const fn new() -> Self {
        Self { kept: VecDeque::new() }
    }

    /// The answer to the question that `is_same` tells: the kept one, or what `work` gives, which is kept under `key`.
    pub(super) fn ask(
        &mut self,
        is_same: impl Fn(&K) -> bool,
        key: impl FnOnce() -> K,
        work: impl FnOnce() -> V,
    ) -> V {
        let known = self.kept.iter().position(|(known, _)| is_same(known));
        let found = known.and_then(|at| self.kept.remove(at)).unwrap_or_else(|| (key(), work()));
        let answer = found.1.clone();
        self.kept.push_front(found);
        self.kept.truncate(KEPT);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_lately_is_not_worked_out_again() {
        let mut lately = Lately::new();
        let mut worked = 0;
        let mut ask = |question: usize| {
            let work = || {
                worked += 1;
                question * 2
            };
            assert_eq!(lately.ask(|known| *known == question, || question, work), question * 2);
            worked
        };
        assert_eq!([ask(1), ask(1), ask(2), ask(1)], [1, 1, 2, 2]);
        (3..3 + KEPT - 1).for_each(|question| {
            ask(question);
        });
        assert_eq!([ask(1), ask(2)], [KEPT + 1, KEPT + 2]);
    }
}
