//! A rate limit in one word (the generic cell rate algorithm).

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

/// Takes a token: `rate` a second, one second's worth saved up at most. `paid` is the time at which the tokens taken so far are
/// paid for, `now` this moment, both in nanoseconds; gives what `paid` becomes. `None`: there is no token.
#[inline(always)]
#[must_use]
pub const fn take(paid: u64, now: u64, rate: u32) -> Option<u64> {
    if is_used_up(paid, now, rate) {
        return None;
    }
    let start = if paid > now { paid } else { now };
    Some(start + SECOND / rate as u64)
}

/// Whether [`take`] would give none.
#[inline(always)]
#[must_use]
pub const fn is_used_up(paid: u64, now: u64, rate: u32) -> bool {
    rate == 0 || paid > now + SECOND - SECOND / rate as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_a_second_s_worth_at_once_and_then_the_rate() {
        let (mut paid, mut now, mut taken) = (0, 5 * SECOND, 0);
        while let Some(next) = take(paid, now, 100) {
            (paid, taken) = (next, taken + 1);
        }
        assert_eq!(taken, 100);
        now += SECOND / 100;
        paid = take(paid, now, 100).expect("one more, a hundredth of a second later");
        assert_eq!(take(paid, now, 100), None);
    }

    #[test]
    fn gives_none_at_rate_0() {
        assert_eq!(take(0, SECOND, 0), None);
    }
}
