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
    let size = span(apart.abs());
    if apart.abs() < TimeDelta::seconds(1) {
        "now".to_owned()
    } else if apart > TimeDelta::zero() {
        format!("in {size}")
    } else {
        format!("{size} ago")
    }
}

/// A duration in its largest suitable unit.
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
