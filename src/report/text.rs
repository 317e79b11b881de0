//! Times, sizes and numbers as people read them.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use unicode_width::UnicodeWidthStr;

/// An instant for JSON and logs: RFC 3339, UTC, `Z`, with milliseconds only if they are not zero.
pub fn utc(at: DateTime<Utc>) -> String {
    let format = if at.timestamp_subsec_millis() == 0 { SecondsFormat::Secs } else { SecondsFormat::Millis };
    at.to_rfc3339_opts(format, true)
}

/// An instant relative to `now`: "in 2 h", "3 d ago", "now".
pub fn relative(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let apart = at - now;
    if apart.abs() < TimeDelta::seconds(1) {
        "now".to_owned()
    } else if apart > TimeDelta::zero() {
        format!("in {}", span(apart))
    } else {
        format!("{} ago", span(apart))
    }
}

/// How a text names an instant.
#[derive(Debug, Clone, Copy)]
pub(super) enum Times {
    /// By its date, for logs and JSON.
    Exact,
    /// By its distance from this one, for people.
    From(DateTime<Utc>),
}

impl Times {
    /// "at 2026-11-23T10:00:00Z" or "in 2 h".
    pub(super) fn at(self, at: DateTime<Utc>) -> String {
        match self {
            Self::Exact => format!("at {}", utc(at)),
            Self::From(now) => relative(at, now),
        }
    }

    /// "since 2026-11-23T10:00:00Z" or "for 2 h".
    pub(super) fn since(self, at: DateTime<Utc>) -> String {
        match self {
            Self::Exact => format!("since {}", utc(at)),
            Self::From(now) => format!("for {}", span(now - at)),
        }
    }

    /// "until 2026-11-23T10:00:00Z" or "for 2 h".
    pub(super) fn until(self, at: DateTime<Utc>) -> String {
        match self {
            Self::Exact => format!("until {}", utc(at)),
            Self::From(now) => format!("for {}", span(at - now)),
        }
    }
}

/// The units of time, from the largest, with the milliseconds of each.
const UNITS: [(i64, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];

/// A distance in time: one unit, or two where the first alone would be too coarse ("1 h 49 min").
fn span(span: TimeDelta) -> String {
    in_units(span.num_milliseconds().saturating_abs(), |count| count == 1)
}

/// How long something took: "42 ms", "9 s", "1 h 49 min".
pub(super) fn duration(millis: i64) -> String {
    if millis < 1_000 { format!("{} ms", millis.max(0)) } else { in_units(millis, |_| true) }
}

/// The largest unit that is not zero, and the next one if that is wanted for such a count and is not zero.
fn in_units(millis: i64, has_second: impl Fn(i64) -> bool) -> String {
    let largest = UNITS.iter().position(|(size, _)| millis >= *size).unwrap_or(UNITS.len() - 1);
    let (size, name) = UNITS[largest];
    let count = millis / size;
    let rest = UNITS.get(largest + 1).filter(|_| has_second(count)).map(|(next, name)| (millis % size / next, name));
    match rest {
        Some((rest, next)) if rest > 0 => format!("{count} {name} {rest} {next}"),
        _ => format!("{count} {name}"),
    }
}

/// A number of bytes in its largest suitable unit.
#[expect(clippy::cast_precision_loss, reason = "it is rounded for people anyway")]
pub fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.0} kB", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", count as f64 / 1e6),
        _ => format!("{:.2} GB", count as f64 / 1e9),
    }
}

/// A text in lines of at most so many columns, broken between words; every line but the first begins with `indent`
/// spaces. A word that is wider gets its own line. Without a width the text stays in one line.
pub(super) fn wrapped(text: &str, width: Option<usize>, indent: usize) -> String {
    let Some(width) = width else { return text.to_owned() };
    let (mut lines, mut used) = (String::new(), 0);
    for word in text.split(' ') {
        let word_width = word.width();
        if used > indent && used + 1 + word_width > width {
            lines.push('\n');
            lines.push_str(&" ".repeat(indent));
            used = indent;
        } else if used > 0 {
            lines.push(' ');
            used += 1;
        }
        lines.push_str(word);
        used += word_width;
    }
    lines
}

/// Whether a text has an address, which is of no use once it is cut.
pub(super) fn has_url(text: &str) -> bool {
    text.contains("://")
}

/// The counts that are not zero, each before its word.
pub(super) fn tally(counts: &[(u64, &str)]) -> String {
    let parts: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    parts.join(", ")
}

/// A count and its noun.
pub fn plural(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_broken_between_words() {
        let text = "the quick brown fox 日本語 jumps";
        assert_eq!(wrapped(text, Some(12), 2), "the quick\n  brown fox\n  日本語\n  jumps");
        assert_eq!(wrapped(text, None, 2), text);
        assert_eq!(wrapped("incomprehensibilities are long", Some(10), 2), "incomprehensibilities\n  are long");
    }

    #[test]
    fn times_are_told_from_now() {
        let now: DateTime<Utc> = "2026-11-23T10:00:00Z".parse().unwrap();
        for (seconds, text) in [
            (0, "now"),
            (59, "in 59 s"),
            (60, "in 1 min"),
            (119, "in 1 min 59 s"),
            (120, "in 2 min"),
            (6_540, "in 1 h 49 min"),
            (7_200, "in 2 h"),
            (-7_200, "2 h ago"),
            (-25 * 3_600, "1 d 1 h ago"),
            (-3 * 86_400 - 3_600, "3 d ago"),
        ] {
            assert_eq!(relative(now + TimeDelta::seconds(seconds), now), text);
        }
        let at = now + TimeDelta::hours(2);
        assert_eq!(Times::From(now).at(at), "in 2 h");
        assert_eq!(Times::From(now).until(at), "for 2 h");
        assert_eq!(Times::From(at).since(now), "for 2 h");
        assert_eq!(Times::Exact.at(at), "at 2026-11-23T12:00:00Z");
    }

    #[test]
    fn a_duration_has_at_most_two_units() {
        for (millis, text) in
            [(-1, "0 ms"), (42, "42 ms"), (9_999, "9 s"), (125_000, "2 min 5 s"), (6_540_000, "1 h 49 min")]
        {
            assert_eq!(duration(millis), text);
        }
    }
}
