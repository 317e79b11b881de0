//! Times, sizes and numbers as people read them.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::post::one_line;

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

    /// "since 2026-11-23T10:00:00Z", "for 2 h", or "for less than a minute".
    pub(super) fn since(self, at: DateTime<Utc>) -> String {
        match self {
            Self::Exact => format!("since {}", utc(at)),
            Self::From(now) if (now - at).abs() < TimeDelta::minutes(1) => "for less than a minute".to_owned(),
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
/// spaces. A word that is wider than a line is broken too, but an address never. Without a width the text stays in one
/// line.
pub fn wrapped(text: &str, width: Option<usize>, indent: usize) -> String {
    let Some(width) = width else { return text.to_owned() };
    let limit = width.saturating_sub(indent).max(1);
    let (mut lines, mut used) = (String::new(), 0);
    for word in words(text, limit).into_iter().flat_map(|word| narrow_parts(word, limit)) {
        let word_width = word.width();
        if used > indent && used + 1 + word_width > width {
            lines.push('\n');
            lines.push_str(&" ".repeat(indent));
            used = indent;
        } else if used > 0 {
            lines.push(' ');
            used += 1;
        }
        lines.push_str(&word);
        used += word_width;
    }
    lines
}

/// The words of a text. Commands and paths are copied from it, so what stands between back quotes is one word if it is
/// no wider than this.
pub(super) fn words(text: &str, limit: usize) -> Vec<String> {
    let mut words = Vec::new();
    let mut quoted: Vec<&str> = Vec::new();
    for part in text.split(' ') {
        let is_end = part.matches('`').count() % 2 == 1;
        if quoted.is_empty() && !is_end {
            words.push(part.to_owned());
            continue;
        }
        quoted.push(part);
        if is_end && quoted.len() > 1 {
            let whole = quoted.join(" ");
            if whole.width() <= limit {
                words.push(whole);
                quoted.clear();
            } else {
                words.extend(quoted.drain(..).map(str::to_owned));
            }
        }
    }
    // A back quote without another one quotes nothing.
    words.extend(quoted.into_iter().map(str::to_owned));
    words
}

/// A word in parts of at most so many columns, or whole if it is an address. Some languages have no spaces.
fn narrow_parts(word: String, limit: usize) -> Vec<String> {
    if word.width() <= limit || has_url(&word) {
        return vec![word];
    }
    let (mut parts, mut part, mut used) = (Vec::new(), String::new(), 0);
    for c in word.chars() {
        let width = char_width(c);
        if used + width > limit && used > 0 {
            parts.push(std::mem::take(&mut part));
            used = 0;
        }
        part.push(c);
        used += width;
    }
    parts.push(part);
    parts
}

/// The columns that a character needs at most. A variation selector can make the one before it wider.
pub(super) fn char_width(c: char) -> usize {
    if matches!(c, '\u{fe00}'..='\u{fe0f}') { 1 } else { c.width().unwrap_or(0) }
}

/// The longest line of text outside tables, in characters.
pub(super) const MAX_TEXT_CHARS: usize = 1_000;

/// The name of a platform, as far as it was read: in a malformed post it can be any text.
pub(super) fn platform_name(name: Option<&str>) -> String {
    const MAX_NAME_CHARS: usize = 20;
    one_line(name.unwrap_or_default(), MAX_NAME_CHARS)
}

/// The title of a post, for a table.
pub(super) fn title(text: Option<&str>) -> String {
    const MAX_TITLE_CHARS: usize = 200;
    one_line(text.unwrap_or_default(), MAX_TITLE_CHARS)
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
        assert_eq!(wrapped("incomprehensibilities are long", Some(10), 2), "incompre\n  hensibil\n  ities\n  are long");
        assert_eq!(wrapped("see https://example.com/a", Some(10), 2), "see\n  https://example.com/a");
    }

    #[test]
    fn a_command_is_broken_only_if_it_is_wider_than_a_line() {
        let text = "it is there: run `postretry reset a`, or wait";
        assert_eq!(wrapped(text, Some(24), 2), "it is there: run\n  `postretry reset a`,\n  or wait");
        assert_eq!(wrapped(text, Some(20), 0), "it is there: run\n`postretry reset a`,\nor wait");
        assert_eq!(wrapped(text, Some(19), 0), "it is there: run\n`postretry reset\na`, or wait");
        // One back quote alone, and a gap, stay as they are.
        assert_eq!(wrapped("a  ` lonely quote", Some(9), 0), "a  `\nlonely\nquote");
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
        assert_eq!(Times::From(now + TimeDelta::seconds(59)).since(now), "for less than a minute");
        assert_eq!(Times::From(now + TimeDelta::seconds(60)).since(now), "for 1 min");
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
