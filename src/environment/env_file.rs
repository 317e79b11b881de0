//! The lines of an `.env` file. The file is the application's too, so a line that cannot be parsed matters only if its
//! name is one of ours.

/// The names and values of a file, in dotenvy's syntax. Other programs' lines that dotenvy cannot parse are read as
/// Node's dotenv reads them.
///
/// # Errors
/// The line of ours that cannot be parsed, by its number. The error does not repeat the value, which may be a secret.
pub fn parse(text: &str, is_ours: impl Fn(&str) -> bool) -> Result<Vec<(String, String)>, String> {
    // Windows editors write a byte order mark before the first line.
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n").replace('\r', "\n");
    // Whatever can be parsed is parsed together, because a value may refer to an earlier one.
    let mut parsable = String::new();
    let (mut rest, mut number) = (text.as_str(), 1);
    while !rest.is_empty() {
        let entry = Entry::first_of(rest);
        let (lines, after) = rest.split_at(entry.length);
        match entry.name {
            None => {}
            Some(name) if is_ours(name) => {
                let lines = our_lines(rest, lines).ok_or_else(|| entry.problem(name, number))?;
                parsable.push_str(lines);
                parsable.push('\n');
                number += lines.matches('\n').count() + 1;
                rest = rest.get(lines.len() + 1..).unwrap_or_default();
                continue;
            }
            Some(_) if is_parsable(lines) => parsable.push_str(&with_line_end(lines)),
            Some(name) => parsable.push_str(&entry.encoded(name).filter(|text| is_parsable(text)).unwrap_or_default()),
        }
        number += lines.matches('\n').count();
        rest = after;
    }
    let pairs: Result<_, dotenvy::Error> = dotenvy::from_read_iter(parsable.as_bytes()).collect();
    pairs.map_err(|_| "it cannot be read".to_owned())
}

/// The lines of one of our settings: the first line, or all lines of its quoted value.
fn our_lines<'t>(rest: &'t str, lines: &'t str) -> Option<&'t str> {
    let first = rest.split('\n').next().unwrap_or_default();
    [first, lines.strip_suffix('\n').unwrap_or(lines)].into_iter().find(|lines| is_parsable(lines))
}

/// Whether dotenvy reads exactly one setting in these lines.
fn is_parsable(lines: &str) -> bool {
    let lines = with_line_end(lines);
    let mut pairs = dotenvy::from_read_iter(lines.as_bytes());
    matches!(pairs.next(), Some(Ok(_))) && pairs.next().is_none()
}

/// Without a line end dotenvy refuses white space after the last value.
fn with_line_end(lines: &str) -> String {
    format!("{}\n", lines.strip_suffix('\n').unwrap_or(lines))
}

/// One setting or one other line, as Node's dotenv divides a file.
#[derive(Debug)]
struct Entry<'t> {
    /// The bytes of its lines, with the line end.
    length: usize,
    /// What the line sets, if it sets anything.
    name: Option<&'t str>,
    /// Its value; none without a sign between the name and the value.
    value: Option<&'t str>,
}

impl<'t> Entry<'t> {
    fn first_of(text: &'t str) -> Self {
        let line = text.split_inclusive('\n').next().unwrap_or_default();
        let start = line.trim_start();
        let after_export = start.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t']));
        let start = after_export.map_or(start, str::trim_start);
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let (name, after_name) = start.split_at(start.find(|c| !is_of_name(c)).unwrap_or(start.len()));
        if name.is_empty() {
            return Self { length: line.len(), name: None, value: None };
        }
        let sign = after_name.trim_start_matches([' ', '\t']);
        let has_colon = after_name.starts_with(": ") || after_name.starts_with(":\t");
        let value = sign.strip_prefix('=').or_else(|| sign.strip_prefix(':').filter(|_| has_colon));
        let Some(value) = value.map(|value| value.trim_start_matches([' ', '\t'])) else {
            return Self { length: line.len(), name: Some(name), value: None };
        };
        // The value may go on in the lines that follow.
        let value_at = line.len() - value.len();
        let value_on = text.get(value_at..).unwrap_or_default();
        if let Some((inside, end)) = quoted(value_on) {
            return Self { length: value_at + end, name: Some(name), value: Some(inside) };
        }
        let value = value.split('#').next().unwrap_or_default().trim();
        Self { length: line.len(), name: Some(name), value: Some(value) }
    }

    fn problem(&self, name: &str, number: usize) -> String {
        match self.value {
            None => format!("line {number} is not `{name}=value`"),
            Some(_) => format!("line {number}: the value of `{name}` cannot be parsed; put it in single quotes"),
        }
    }

    /// The same setting as dotenvy reads it.
    fn encoded(&self, name: &str) -> Option<String> {
        let value = self.value?;
        let mut text = format!("{name}=\"");
        for c in value.chars() {
            if matches!(c, '\\' | '"' | '$') {
                text.push('\\');
            }
            text.push(c);
        }
        text.push_str("\"\n");
        Some(text)
    }
}

/// What is between the quotes at the beginning of a text, and where the last line of it ends. After the closing quote
/// a line has at most a comment.
fn quoted(text: &str) -> Option<(&str, usize)> {
    let quote = text.chars().next().filter(|first| matches!(first, '\'' | '"' | '`'))?;
    // A quote after a backslash closes the value only if no other does.
    let mut escaped = None;
    for (at, _) in text.match_indices(quote).skip(1) {
        let (before, after) = text.split_at(at);
        let tail = after.split_inclusive('\n').next().unwrap_or_default();
        let comment = tail.get(1..).unwrap_or_default().trim();
        let is_end = comment.is_empty() || comment.starts_with('#');
        let found = is_end.then(|| (before.get(1..).unwrap_or_default(), at + tail.len()));
        match (before.ends_with('\\'), found) {
            (false, Some(found)) => return Some(found),
            (false, None) => return escaped,
            (true, Some(found)) => escaped = Some(found),
            (true, None) => {}
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of OURS and of the others that are asked for.
    fn read(text: &str) -> Result<Vec<(String, String)>, String> {
        parse(text, |name| name.starts_with("OURS"))
    }

    fn value(text: &str, name: &str) -> Option<String> {
        read(text).unwrap().into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    #[test]
    fn lines_of_the_application_are_read_past() {
        for line in [
            "APP_NAME=Our nice shop",
            "APP_NAME=Bob's shop",
            "APP_NAME = it's \"odd\" # and commented",
            "export APP_NAME=a b",
            "APP_NAME: a b",
            "APP-NAME=x",
            "APP_KEY=\"-----BEGIN KEY-----\nOURS=inside\n-----END KEY-----\"",
            "APP_KEY='one\n\ntwo'  # comment",
            "APP_KEY=`one\n'two\nthree`",
            "APP_KEY=\"unfinished",
            "APP_KEY='",
            "JUST SOME WORDS",
            "=nothing",
            "{",
            "",
            "# a comment with an ' apostrophe",
        ] {
            let text = format!("{line}\nOURS=42\n");
            assert_eq!(value(&text, "OURS").as_deref(), Some("42"), "{text}");
            let text = format!("{line}\r\n\r\nOURS='4 2'\r\nAPP_MORE=a b\r\n");
            assert_eq!(value(&text, "OURS").as_deref(), Some("4 2"), "{text}");
        }
    }

    #[test]
    fn a_value_of_the_application_is_what_node_reads() {
        for (line, expected) in [
            ("APP=two words", "two words"),
            ("APP=two words # comment", "two words"),
            ("APP='a b' # it's", "a b"),
            ("APP=it's", "it's"),
            ("APP=`a 'b' \"c\"`", "a 'b' \"c\""),
            ("APP=a $b c", "a $b c"),
        ] {
            assert_eq!(value(&format!("{line}\n"), "APP").as_deref(), Some(expected), "{line}");
        }
    }

    #[test]
    fn ours_refers_to_earlier_lines() {
        let text = "APP_USER=tim\nAPP_WORDS=two words\nOURS=\"mongodb://${APP_USER}@db/${APP_WORDS}\"\n";
        assert_eq!(value(text, "OURS").as_deref(), Some("mongodb://tim@db/two words"));
    }

    #[test]
    fn ours_may_have_several_lines_and_no_line_end() {
        assert_eq!(value("OURS=\"a\nb\" # c\nOURS_TOO=1", "OURS").as_deref(), Some("a\nb"));
        assert_eq!(value("OURS=\"a\nb\"\nOURS_TOO=1  ", "OURS_TOO").as_deref(), Some("1"));
    }

    #[test]
    fn a_line_of_ours_is_named_by_its_number_and_not_repeated() {
        for (text, expected) in [
            ("APP=1\n\nOURS=hush hush\n", "line 3: the value of `OURS` cannot be parsed; put it in single quotes"),
            ("APP='1\n2'\nOURS hush\n", "line 3 is not `OURS=value`"),
            (
                "OURS_TOO='a\nb'\nexport OURS=\"hush\nAPP=x\n",
                "line 3: the value of `OURS` cannot be parsed; put it in single quotes",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), expected, "{text}");
        }
    }
}
