//! How long to wait before something is tried again: longer each time, and never the same for two that failed
//! together. Seeded, so that a test sees the same pauses again.

use std::time::Duration;

/// The first pause after a failure, and the longest. Five minutes: short beside an outage, long beside a request.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(5);

/// The longest pause where a person has to act: they may do it tomorrow, and touching the policy ends the pause.
const LONGEST_FOR_A_PERSON: Duration = Duration::from_mins(15);

/// The first pause after a lost race, and the longest: a fetch and a push take about as long.
const FIRST_RACE: Duration = Duration::from_millis(250);
const LONGEST_RACE: Duration = Duration::from_secs(2);

/// A stream of pauses.
#[derive(Clone, Debug)]
pub struct Pause {
    state: u64,
}

impl Pause {
    /// The stream of `seed` for one thing, for instance a key.
    pub fn new(seed: u64, of: &str) -> Self {
        // FNV-1a: any spread will do, it has only to be the same each time.
        let spread = of
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        Self { state: seed ^ spread }
    }

    /// Before try number `failures + 1`: between half and all of 1 s, 2 s, 4 s ... 5 min.
    pub fn after(&mut self, failures: u32) -> Duration {
        self.growing(failures, LONGEST)
    }

    /// As [`Self::after`], up to 15 min: where a person has to act first.
    pub fn for_a_person(&mut self, failures: u32) -> Duration {
        self.growing(failures, LONGEST_FOR_A_PERSON)
    }

    fn growing(&mut self, failures: u32, longest: Duration) -> Duration {
        let full = doubled(FIRST, failures.saturating_sub(1), longest);
        full / 2 + (full / 2).mul_f64(self.unit())
    }

    /// After lost race number `race`: anything up to 0.25 s, 0.5 s, 1 s, 2 s.
    pub fn between_races(&mut self, race: u32) -> Duration {
        doubled(FIRST_RACE, race.saturating_sub(1), LONGEST_RACE).mul_f64(self.unit())
    }

    /// A number from 0 to below 1 (splitmix64).
    fn unit(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bits = u32::try_from((z ^ (z >> 31)) >> 32).unwrap_or_default();
        f64::from(bits) / (f64::from(u32::MAX) + 1.0)
    }
}

fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(times)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_and_never_pass_it() {
        let mut pause = Pause::new(7, "shop/cart");
        for failures in 1..40 {
            let full = doubled(FIRST, failures - 1, LONGEST);
            let wait = pause.after(failures);
            assert!(wait >= full / 2 && wait <= full && wait <= LONGEST, "{failures}: {wait:?}");
            assert!(pause.between_races(failures) <= LONGEST_RACE);
        }
        assert!(pause.after(u32::MAX) >= LONGEST / 2);
    }

    #[test]
    fn two_keys_that_fail_together_do_not_come_back_together() {
        let (mut a, mut b) = (Pause::new(7, "shop/a"), Pause::new(7, "shop/b"));
        assert_ne!(a.after(5), b.after(5));
        assert_eq!(Pause::new(7, "shop/a").after(5), Pause::new(7, "shop/a").after(5));
    }
}
