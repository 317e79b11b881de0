//! The clock of this machine.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};

/// The time by the clock of this machine, whatever it is set to.
#[expect(clippy::disallowed_methods, reason = "this is the clock that everything else is handed")]
pub fn machine_now() -> DateTime<Utc> {
    utc(SystemTime::now())
}

/// A time of the machine as a date. Where there is no such date, the first or the last one that there is.
fn utc(at: SystemTime) -> DateTime<Utc> {
    const ZERO: DateTime<Utc> = DateTime::<Utc>::UNIX_EPOCH;
    let (after, before) = match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => (after, Duration::ZERO),
        Err(error) => (Duration::ZERO, error.duration()),
    };
    let date = match (TimeDelta::from_std(after), TimeDelta::from_std(before)) {
        (Ok(after), Ok(before)) => ZERO.checked_add_signed(after).and_then(|date| date.checked_sub_signed(before)),
        _ => None,
    };
    date.unwrap_or(if before.is_zero() { DateTime::<Utc>::MAX_UTC } else { DateTime::<Utc>::MIN_UTC })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_before_1970_or_beyond_all_dates_is_read_like_any_other() {
        const LONG: Duration = Duration::from_secs(1 << 60);
        const SHORT: Duration = Duration::from_millis(1500);
        let zero = SystemTime::UNIX_EPOCH;
        assert_eq!([zero + SHORT, zero, zero - SHORT].map(|at| utc(at).timestamp_millis()), [1500, 0, -1500]);
        assert_eq!([zero + LONG, zero - LONG].map(utc), [DateTime::<Utc>::MAX_UTC, DateTime::<Utc>::MIN_UTC]);
    }
}
