//! Times, sizes and numbers as people read them.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

/// An instant as JSON and logs have it: RFC 3339, UTC, `Z`; milliseconds only where there are some.
pub fn utc(at: DateTime<Utc>) -> String {
    let format = if at.timestamp_subsec_millis() == 0 { SecondsFormat::Secs } else { SecondsFormat::Millis };
    at.to_rfc3339_opts(format, true)
}

/// An instant as seen from `now`: "in 2 h", "3 d ago", "now".
pub fn relative(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let apart = at - now;
    let size = span(apart.abs());
    if apart.abs() < TimeDelta::seconds(1) {
        "now".to_owned()
    } else if apart > TimeDelta::zero() {
        format!("in {size}")
    } else {
        format!("{size} ago")
    }
}

/// A span in its largest fitting unit.
fn span(span: TimeDelta) -> String {
    let (days, hours, minutes) = (span.num_days(), span.num_hours(), span.num_minutes());
    if days >= 2 {
        format!("{days} d")
    } else if hours >= 2 {
        format!("{hours} h")
    } else if minutes >= 2 {
        format!("{minutes} min")
    } else {
        format!("{} s", span.num_seconds())
    }
}

/// A number of bytes in its largest fitting unit.
#[expect(clippy::cast_precision_loss, reason = "it is rounded for people anyway")]
pub fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.0} kB", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", count as f64 / 1e6),
        _ => format!("{:.2} GB", count as f64 / 1e9),
    }
}

/// A count and its noun.
pub fn plural(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_from_now() {
        let now: DateTime<Utc> = "2026-11-23T10:00:00Z".parse().unwrap();
        for (seconds, text) in [
            (0, "now"),
            (59, "in 59 s"),
            (119, "in 119 s"),
            (120, "in 2 min"),
            (7200, "in 2 h"),
            (-7200, "2 h ago"),
            (-3 * 86400, "3 d ago"),
        ] {
            assert_eq!(relative(now + TimeDelta::seconds(seconds), now), text);
        }
    }
}
