//! How long a slot rests after a failure. Knows neither the clock nor what a failure is.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::kinds::BackoffRange;

/// Second delay of a slot whose first delay is zero: the first restart is at once, a loop is not.
const AFTER_ZERO: Duration = Duration::from_millis(10);

/// One slot's failures since it was last stable.
#[derive(Clone, Debug)]
pub struct Backoff {
    range: BackoffRange,
    failures: u32,
}

impl Backoff {
    /// A slot without a past.
    pub fn new(range: BackoffRange) -> Self {
        Self { range, failures: 0 }
    }

    /// Failures since it was last stable.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether the failures have come to the limit.
    pub fn is_exhausted(&self, limit: Option<NonZeroU32>) -> bool {
        limit.is_some_and(|limit| self.failures >= limit.get())
    }

    /// The slot was stable: its failures are forgotten.
    pub fn forget(&mut self) {
        self.failures = 0;
    }

    /// One more failure: how long to rest.
    pub fn fail(&mut self, random: &mut Random) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.jittered(self.delay(), random)
    }

    /// How long to rest after an end that is no failure, but came too soon to start again at once.
    pub fn pause(&self, random: &mut Random) -> Duration {
        self.jittered(self.range.first, random)
    }

    /// The delay after this many failures, without jitter: doubling, up to the ceiling.
    fn delay(&self) -> Duration {
        let (first, doublings) = match self.range.first {
            Duration::ZERO if self.failures <= 1 => return Duration::ZERO,
            Duration::ZERO => (AFTER_ZERO, self.failures - 2),
            first => (first, self.failures.saturating_sub(1)),
        };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        first.saturating_mul(factor).min(self.range.ceiling)
    }

    /// ±20 %, so that slots that failed together do not come back together; never above the ceiling.
    fn jittered(&self, delay: Duration, random: &mut Random) -> Duration {
        let nanos = delay.as_nanos() as u64 / 1000 * random.between(800, 1200);
        Duration::from_nanos(nanos).min(self.range.ceiling)
    }
}

/// A seeded source of chance (SplitMix64), so that every run can be repeated.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        low + (mixed ^ (mixed >> 31)) % (high - low + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, ceiling: u64) -> BackoffRange {
        BackoffRange { first: Duration::from_millis(first), ceiling: Duration::from_millis(ceiling) }
    }

    #[test]
    fn delays_double_up_to_the_ceiling_within_a_fifth() {
        let mut random = Random::new(1);
        let mut backoff = Backoff::new(range(100, 1000));
        for expected in [100, 200, 400, 800, 1000, 1000] {
            let delay = backoff.fail(&mut random).as_millis();
            assert!(
                (expected * 8 / 10..=(expected * 12 / 10).min(1000)).contains(&delay),
                "{delay} for {expected}"
            );
        }
        backoff.forget();
        assert!(backoff.fail(&mut random).as_millis() <= 120);
    }

    #[test]
    fn a_first_delay_of_zero_still_bounds_a_loop() {
        let mut random = Random::new(2);
        let mut backoff = Backoff::new(range(0, 30_000));
        assert_eq!(backoff.fail(&mut random), Duration::ZERO);
        assert!(backoff.fail(&mut random) >= Duration::from_millis(8));
        let total: Duration = (0..10).map(|_| backoff.fail(&mut random)).sum();
        assert!(total > Duration::from_secs(8), "{total:?}");
    }

    #[test]
    fn a_thousand_failures_overflow_nothing() {
        let mut random = Random::new(3);
        let mut backoff = Backoff::new(range(100, 30_000));
        for _ in 0..1000 {
            assert!(backoff.fail(&mut random) <= Duration::from_secs(30));
        }
    }

    #[test]
    fn jitter_is_spread_and_can_be_repeated() {
        let delays = |seed| {
            let mut random = Random::new(seed);
            (0..50).map(|_| Backoff::new(range(1000, 9000)).fail(&mut random)).collect::<Vec<_>>()
        };
        assert_eq!(delays(4), delays(4));
        let (low, high) = (delays(4).into_iter().min(), delays(4).into_iter().max());
        assert!(
            low < Some(Duration::from_millis(850)) && high > Some(Duration::from_millis(1150)),
            "{low:?} {high:?}"
        );
    }
}
