//! Traffic weights.

use std::fmt;

/// A share of traffic in percent, 0..=100.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u8);

impl Weight {
    pub const ZERO: Self = Self(0);
    pub const FULL: Self = Self(100);

    /// `None` when `percent` is outside 0..=100.
    pub fn new(percent: i64) -> Option<Self> {
        u8::try_from(percent).ok().filter(|percent| *percent <= 100).map(Self)
    }

    /// The share that `part` is of `whole`, rounded up, so that a sliver of traffic is never read as none.
    /// Negative numbers count as 0; a `whole` of 0 or less carries nothing.
    pub fn share(part: impl Into<i128>, whole: impl Into<i128>) -> Self {
        let (part, whole) = (part.into().max(0), whole.into());
        if whole <= 0 {
            return Self::ZERO;
        }
        let percent =
            (part.min(whole) * 100).div_euclid(whole) + i128::from((part.min(whole) * 100) % whole != 0);
        Self(u8::try_from(percent).unwrap_or(100).min(100))
    }

    /// In percent, 0..=100.
    pub fn percent(self) -> u8 {
        self.0
    }

    /// What the other side gets.
    pub fn complement(self) -> Self {
        Self(100 - self.0)
    }

    /// How many of `replicas` this share needs, rounded up (`⌈replicas · weight / 100⌉`).
    pub fn replicas_needed(self, replicas: i32) -> i32 {
        let product = i64::from(replicas.max(0)) * i64::from(self.0);
        i32::try_from((product + 99) / 100).unwrap_or(i32::MAX)
    }

    /// How many of `replicas` this share needs at the least, rounded down (`⌊replicas · weight / 100⌋`).
    pub fn replicas_at_least(self, replicas: i32) -> i32 {
        i32::try_from(i64::from(replicas.max(0)) * i64::from(self.0) / 100).unwrap_or(i32::MAX)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sliver_of_traffic_is_not_nothing() {
        assert_eq!(Weight::share(1, 1000).percent(), 1);
        assert_eq!(Weight::share(0, 1000), Weight::ZERO);
        assert_eq!(Weight::share(20, 80).percent(), 25);
        assert_eq!(Weight::share(5, 0), Weight::ZERO);
        assert_eq!(Weight::share(-5, 10), Weight::ZERO);
        assert_eq!(Weight::share(i64::MAX, i64::MAX), Weight::FULL);
    }

    #[test]
    fn replicas_are_rounded_towards_the_safe_side() {
        let weight = Weight::new(15).unwrap();
        assert_eq!(weight.replicas_needed(10), 2);
        assert_eq!(weight.replicas_at_least(10), 1);
        assert_eq!(Weight::FULL.replicas_needed(i32::MAX), i32::MAX);
        assert_eq!(Weight::new(101), None);
        assert_eq!(Weight::new(-1), None);
    }
}
