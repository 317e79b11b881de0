//! Text from outside as one safe line: the only place that decides which characters may be shown.
//!
//! Documents, platforms, the store and the machine can contain anything: terminal escape sequences, line breaks that
//! look like another log line, characters that turn a line around or that nobody sees, megabytes. Whatever is logged,
//! stored as a failure, or printed for people goes through [`one_line`].

use unicode_width::UnicodeWidthChar;

/// How many characters without a width may follow a character that has one. More of them cover the lines above it.
const MAX_MARKS: usize = 8;

/// How many characters of a platform's words a message quotes.
pub const MAX_WORDS_CHARS: usize = 400;

/// How many characters of a platform's error code or log id a message quotes.
pub const MAX_CODE_CHARS: usize = 100;

/// How many characters of an id are shown. A UUID has 36, and a hash with its name 71.
const MAX_ID_CHARS: usize = 80;

/// How long an id may be that a hint repeats.
const MAX_ARGUMENT_CHARS: usize = 200;

/// Stands for what was left out.
const CUT: char = '…';

/// A text in one line: every run of white space becomes one space, a character that acts on the terminal or is not seen
/// becomes its escape such as `\u{1b}`, and of a long run of combining marks the first ones are kept. At most `limit`
/// characters; the last one is … if the text was cut. A text that this has returned is returned as it is.
pub fn one_line(text: &str, limit: usize) -> String {
    let mut line = String::new();
    let (mut length, mut marks, mut is_gap) = (0_usize, 0_usize, false);
    let mut push = |c: char, length: &mut usize| {
        *length = length.saturating_add(1);
        line.push(c);
        c.is_ascii()
    };
    // At the beginning nothing joins.
    let mut follows_ascii = true;
    for c in text.chars() {
        // One more than may be kept shows that the text has to be cut.
        if length > limit {
            break;
        }
        if c.is_whitespace() {
            is_gap = length > 0;
            continue;
        }
        if is_gap {
            follows_ascii = push(' ', &mut length);
            (is_gap, marks) = (false, 0);
        }
        if is_hidden(c) || (is_joiner(c) && follows_ascii) {
            for escaped in c.escape_unicode() {
                follows_ascii = push(escaped, &mut length);
            }
            marks = 0;
        } else if c.width() == Some(0) {
            marks = marks.saturating_add(1);
            if marks <= MAX_MARKS {
                follows_ascii = push(c, &mut length);
            } else if marks == MAX_MARKS.saturating_add(1) {
                follows_ascii = push(CUT, &mut length);
            }
        } else {
            follows_ascii = push(c, &mut length);
            marks = 0;
        }
    }
    if length <= limit {
        return line;
    }
    let mut cut: String = line.chars().take(limit.saturating_sub(1)).collect();
    cut.push(CUT);
    cut
}

/// Whether a terminal acts on the character, or nobody sees it: control characters, marks that change the direction of
/// a text, and characters without a width that no script needs.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Whether the character joins its neighbours, or keeps them apart. Emoji, Persian and the scripts of India need these;
/// after an ASCII character they only hide something.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// A platform's own words, to be part of a message: one line of at most `limit` characters. What follows them in the
/// message is then not cut. A word that does not fit is left out whole: a part of a secret would not be recognised as
/// one.
pub fn excerpt(text: &str, limit: usize) -> String {
    let line = one_line(text, limit);
    let Some(kept) = line.strip_suffix(CUT).filter(|kept| kept.chars().count().saturating_add(1) >= limit) else {
        return line;
    };
    let is_boundary = |c: char| matches!(c, ' ' | '"' | '\'' | '(' | '<' | '[' | '{');
    let kept = kept.rfind(is_boundary).and_then(|end| kept.get(..=end)).unwrap_or_default();
    format!("{}{CUT}", kept.trim_end())
}

/// The machine's text for a cause, as it begins a sentence of ours: without the number of its error, and in lower case
/// unless it begins with an abbreviation.
pub fn plain_cause(cause: &str) -> String {
    let text = cause.split_once(" (os error ").map_or(cause, |(text, _)| text);
    let mut rest = text.chars();
    match rest.next() {
        Some(first) if rest.as_str().starts_with(char::is_lowercase) => first.to_lowercase().chain(rest).collect(),
        _ => text.to_owned(),
    }
}

/// An id for people: one line that is short enough to leave room for what is said about the post.
pub fn shown_id(id: &str) -> String {
    one_line(id, MAX_ID_CHARS)
}

/// An id as the last argument of a command line in a hint, for POSIX shells: quoted if it needs to be, and after `--` if
/// it looks like an option. `ID` if it cannot be written in one line, or is too long.
pub fn shell_quoted(id: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_./:@%+=,-".contains(c);
    // No argument has a NUL, and a substitution drops line breaks at its end.
    if id.contains('\0') || id.ends_with('\n') || id.chars().count() > MAX_ARGUMENT_CHARS {
        return "ID".to_owned();
    }
    let word = if !id.is_empty() && id.chars().all(is_plain) {
        id.to_owned()
    } else if one_line(id, MAX_ARGUMENT_CHARS) == id {
        format!("'{}'", id.replace('\'', r"'\''"))
    } else {
        format!("\"$(printf '{}')\"", id.bytes().map(printf_byte).collect::<String>())
    };
    if id.starts_with('-') { format!("-- {word}") } else { word }
}

/// A byte in the format of `printf`, between single quotes.
fn printf_byte(byte: u8) -> String {
    match char::from(byte) {
        '%' => "%%".to_owned(),
        c if c.is_ascii_alphanumeric() || "_./:@+=,".contains(c) => c.to_string(),
        _ => format!(r"\{byte:03o}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_machines_cause_reads_like_the_beginning_of_a_sentence() {
        for (cause, expected) in [
            ("Connection refused (os error 111)", "connection refused"),
            ("connection reset by peer", "connection reset by peer"),
            ("Input/output error (os error 5)", "input/output error"),
            ("TLS handshake failed", "TLS handshake failed"),
            ("", ""),
        ] {
            assert_eq!(plain_cause(cause), expected);
        }
    }

    #[test]
    fn what_a_terminal_would_act_on_is_shown_as_its_escape() {
        for (text, shown) in [
            ("plain", "plain"),
            ("  a\t b\r\n\u{2028}c\u{85}\u{a0}d  ", "a b c d"),
            ("done\n[ERROR] failed", "done [ERROR] failed"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\u{7f}b\0", "a\\u{7f}b\\u{0}"),
            ("exe.\u{202e}4pm", "exe.\\u{202e}4pm"),
            ("\u{feff}text", "\\u{feff}text"),
            ("ad\u{200b}min", "ad\\u{200b}min"),
            ("ad\u{200d}min", "ad\\u{200d}min"),
            ("\u{e0041}\u{fff9}\u{2066}\u{61c}", "\\u{e0041}\\u{fff9}\\u{2066}\\u{61c}"),
            // What people write stays as it is.
            ("日本語 👩‍👩‍👧‍👦 ❤️ می‌خواهم é", "日本語 👩‍👩‍👧‍👦 ❤️ می‌خواهم é"),
            ("Ze\u{301}\u{302}", "Ze\u{301}\u{302}"),
            ("", ""),
        ] {
            assert_eq!(one_line(text, 100), shown);
        }
    }

    #[test]
    fn marks_do_not_pile_up_and_a_long_text_is_cut() {
        let zalgo = format!("a{}b", "\u{301}".repeat(100_000));
        assert_eq!(one_line(&zalgo, 1_000), format!("a{}…b", "\u{301}".repeat(8)));
        assert_eq!(one_line("abcdef", 6), "abcdef");
        assert_eq!(one_line("abcdefg", 6), "abcde…");
        assert_eq!(one_line("abc defg", 5), "abc …");
        assert_eq!(one_line(&"\u{1b}".repeat(1_000_000), 10), "\\u{1b}\\u{…");
    }

    #[test]
    fn an_excerpt_ends_before_a_word_that_does_not_fit() {
        assert_eq!(excerpt("short", 20), "short");
        assert_eq!(excerpt("the token abcdefghijklmnop", 20), "the token…");
        assert_eq!(excerpt(r#"{"access_token":"abcdefghijklmnop"}"#, 20), r#"{"access_token":"…"#);
        assert_eq!(excerpt(&"a".repeat(500_000), 20), "…");
        assert_eq!(excerpt("it goes on…", 20), "it goes on…");
    }

    #[test]
    fn an_id_is_quoted_for_a_shell_only_if_it_must_be() {
        for (id, quoted) in [
            ("65f0a1b2c3d4e5f6a7b8c9d0", "65f0a1b2c3d4e5f6a7b8c9d0"),
            ("spring/2026_a.b:c@d%e+f=g,h-i", "spring/2026_a.b:c@d%e+f=g,h-i"),
            ("-x", "-- -x"),
            ("--force", "-- --force"),
            ("", "''"),
            ("two words", "'two words'"),
            ("it's; rm -rf $HOME `x`", r"'it'\''s; rm -rf $HOME `x`'"),
            ("- a", "-- '- a'"),
            (r#"{"shop":1}"#, r#"'{"shop":1}'"#),
            ("a  b", r#""$(printf 'a\040\040b')""#),
            ("a\u{1b}'%", r#""$(printf 'a\033\047%%')""#),
            ("a\0", "ID"),
            ("a\n", "ID"),
        ] {
            assert_eq!(shell_quoted(id), quoted);
        }
        assert_eq!(shell_quoted(&"a".repeat(201)), "ID");
    }

    /// Texts of what is dangerous, what is harmless and anything.
    fn texts() -> impl Strategy<Value = String> {
        let dangerous = prop::sample::select(vec![
            "\u{1b}[31m",
            "\n",
            "\r",
            "\0",
            "\u{9b}",
            "\u{202e}",
            "\u{2066}",
            "\u{2028}",
            "\u{301}",
            "\u{200d}",
            "\u{feff}",
            "\u{e0020}",
            "\u{fe0f}",
            "❤",
            "é",
            "a",
            " ",
            "'",
            "\\u{1b}",
            "…",
            "日",
        ]);
        let parts = prop_oneof![dangerous.prop_map(str::to_owned), any::<char>().prop_map(String::from)];
        prop::collection::vec(parts, 0..60).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn every_text_becomes_one_short_line_that_stays_as_it_is(text in texts(), limit in 1_usize..80) {
            let line = one_line(&text, limit);
            prop_assert!(line.chars().count() <= limit);
            prop_assert!(!line.chars().any(|c| is_hidden(c) || (c.is_whitespace() && c != ' ')), "{line:?}");
            prop_assert_eq!(one_line(&line, limit), line.clone());
            let short = excerpt(&text, limit);
            prop_assert!(short.chars().count() <= limit && !short.chars().any(is_hidden), "{short:?}");
        }

        #[test]
        fn a_quoted_id_is_safe_in_a_line(text in texts()) {
            let quoted = shell_quoted(&text);
            prop_assert_eq!(one_line(&quoted, usize::MAX), quoted.clone());
        }
    }
}
