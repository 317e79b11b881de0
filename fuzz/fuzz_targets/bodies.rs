//! What is fuzzed: one function for each kind of input from outside. libFuzzer calls them (the files beside this one),
//! and `cargo test` runs them over the seeds and over edited seeds (`tests/it/fuzz.rs`).
//!
//! Each takes any bytes. It panics if the code under test panics or breaks a promise.

use std::time::{Duration, SystemTime};

use bson::{Bson, Document};
use chrono::{DateTime, TimeDelta, Utc};
use postretry::environment::{Environment, Redactor, Secrecy, parse_env_file};
use postretry::platform::RecordedResponse;
use postretry::post::{
    BackoffFrom, Category, Eligibility, MAX_ERROR_CHARS, Platform, RetryPolicy, Ticket, excerpt, is_hidden, one_line,
    shell_quoted, with_hashtags,
};
use postretry::settings::{Overrides, Settings, SettingsError, variables};
use postretry::store::{StoredPost, mongo, sqlite};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, params_from_iter};

/// A body: what it does with any bytes.
type Body = fn(&[u8]);

/// The names of the targets, and what each of them runs.
pub(crate) const TARGETS: [(&str, Body); 10] = [
    ("document", document),
    ("row", row),
    ("tiktok", |data| response(Platform::TikTok, data)),
    ("instagram", |data| response(Platform::Instagram, data)),
    ("youtube", |data| response(Platform::YouTubeShorts, data)),
    ("retry_after", retry_after),
    ("range", range),
    ("settings", settings),
    ("text", text),
    ("env_file", env_file),
];

/// Runs the body of a target.
pub(crate) fn run(target: &str, data: &[u8]) {
    let found = TARGETS.iter().find(|(name, _)| *name == target);
    let (_, body) = found.unwrap_or_else(|| panic!("no target is called `{target}`"));
    body(data);
}

/// The time at which everything happens.
fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_nanos(1_795_428_000_000_000_000)
}

/// A document of the application's: extended JSON if it begins with a brace, otherwise BSON.
fn document(data: &[u8]) {
    let document = if data.starts_with(b"{") { from_json(data) } else { from_bson(data) };
    if let Some(document) = document {
        check_post(&mongo::stored_post_from(&document));
    }
}

fn from_json(data: &[u8]) -> Option<Document> {
    let json: serde_json::Value = serde_json::from_slice(data).ok()?;
    match Bson::try_from(json).ok()? {
        Bson::Document(document) => Some(document),
        _ => None,
    }
}

/// The outer frame is made to fit, since almost every change to the bytes breaks it.
fn from_bson(data: &[u8]) -> Option<Document> {
    let mut bytes = data.to_vec();
    let length = i32::try_from(bytes.len()).ok()?;
    bytes.get_mut(..4)?.copy_from_slice(&length.to_le_bytes());
    *bytes.last_mut()? = 0;
    Document::from_reader(bytes.as_slice()).ok()
}

/// A row of any program's. A line of the input is `column=KIND VALUE`, where the kind is `i` (integer), `r` (real), `t`
/// (text of any bytes) or `b` (blob). Other columns are null.
fn row(data: &[u8]) {
    thread_local! {
        static TABLE: (Connection, Vec<String>) = table();
    }
    TABLE.with(|(connection, columns)| {
        let mut values = vec![ValueRef::Null; columns.len()];
        for line in data.split(|byte| *byte == b'\n') {
            let Some(sign) = line.iter().position(|byte| *byte == b'=') else { continue };
            let (name, value) = (&line[..sign], &line[sign + 1..]);
            if let Some(column) = columns.iter().position(|column| column.as_bytes() == name) {
                values[column] = value_of(value);
            }
        }
        let list: Vec<String> = columns.iter().map(|name| format!("? AS {name}")).collect();
        let mut statement = connection.prepare_cached(&format!("SELECT {}", list.join(", "))).unwrap();
        let values = values.into_iter().map(ToSqlOutput::Borrowed);
        let post = statement.query_row(params_from_iter(values), sqlite::stored_post_from).unwrap();
        check_post(&post);
    });
}

/// An empty store, and the columns of its posts.
fn table() -> (Connection, Vec<String>) {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(sqlite::SCHEMA).unwrap();
    let columns = connection.prepare("SELECT * FROM posts").unwrap().column_names().map(str::to_owned).collect();
    (connection, columns)
}

fn value_of(text: &[u8]) -> ValueRef<'_> {
    let Some((kind, bytes)) = text.split_first() else { return ValueRef::Null };
    let number = std::str::from_utf8(bytes).unwrap_or_default();
    match kind {
        b'i' => number.parse().map_or(ValueRef::Null, ValueRef::Integer),
        b'r' => number.parse().map_or(ValueRef::Null, ValueRef::Real),
        b't' => ValueRef::Text(bytes),
        b'b' => ValueRef::Blob(bytes),
        _ => ValueRef::Null,
    }
}

/// A post that a store has read: it says what is wrong with it, or the rules can be applied to it.
fn check_post(stored: &StoredPost) {
    let post = match stored {
        StoredPost::Readable(post) => post,
        StoredPost::Malformed(malformed) => {
            assert!(!malformed.field.is_empty() && !malformed.problem.is_empty(), "{malformed:?}");
            return;
        }
    };
    for backoff_from in [BackoffFrom::FirstFailure, BackoffFrom::LastAttempt] {
        let policy = RetryPolicy { max_retries: 20, backoff_from, ..RetryPolicy::default() };
        if let Eligibility::Waiting { until: Some(until), .. } = policy.eligibility(post, now()) {
            assert!(until > now(), "it waits for {until}");
        }
    }
    // A ticket that is written again must be the same, or the publish that it stands for is lost.
    if let Some(ticket) = &post.retry.ticket {
        let written = serde_json::to_value(ticket).unwrap();
        assert_eq!(&serde_json::from_value::<Ticket>(written).unwrap(), ticket);
    }
}

/// The steps of which an error status may mean that the upload is over, which is no failure by itself.
const UPLOADS: [&str; 3] = ["accept the video data", "report the upload's progress", "receive the video's bytes"];

/// A response in HTTP's form: `STATUS`, a line for each header, an empty line, and the body.
fn response(platform: Platform, data: &[u8]) {
    let head_end = data.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = head_end.map_or((data, &b""[..]), |end| (&data[..end], &data[end + 2..]));
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.trim().parse().ok()).unwrap_or(200);
    let headers: Vec<(&str, &str)> =
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.trim(), value.trim())).collect();
    for meaning in (RecordedResponse { status, headers: &headers, body }).meanings(platform, now()) {
        let Some(failure) = meaning.failure else {
            assert!(status < 400 || UPLOADS.contains(&meaning.step), "HTTP {status} is no failure to {}", meaning.step);
            continue;
        };
        assert!(Category::ALL.contains(&failure.category));
        assert!(!failure.message.is_empty());
        assert!(!failure.message.chars().any(is_hidden), "not one line: {:?}", failure.message);
        let length = failure.message.chars().count();
        assert!(length <= 4 * MAX_ERROR_CHARS, "{length} characters");
    }
}

/// Any `Retry-After`, and one that was written by the rules, as seconds and as a date.
fn retry_after(data: &[u8]) {
    let read = |text: &str| {
        let headers = [("Retry-After", text)];
        (RecordedResponse { status: 503, headers: &headers, body: b"" }).retry_after(now())
    };
    // Any answer that it gives can be compared with the time.
    let _is_later = read(&String::from_utf8_lossy(data)).is_some_and(|at| at > now());

    // Within a week, which is as far as a deferral goes.
    let sum = data.iter().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
    let seconds = 1 + sum % 604_000;
    let expected = now() + TimeDelta::seconds(seconds.into());
    assert_eq!(read(&seconds.to_string()), Some(expected));
    let written = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(expected.timestamp()).unwrap());
    assert_eq!(read(&httpdate::fmt_http_date(written)), Some(expected));
}

/// Any range, in the headers in which platforms say how many bytes they have. The first byte chooses the video's size.
fn range(data: &[u8]) {
    let Some((size, text)) = data.split_first() else { return };
    let size = u64::MAX.checked_shr(u32::from(*size) % 64).unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    let read = |platform: Platform, text: &str| {
        let headers = [("Range", text), ("Content-Range", text)];
        (RecordedResponse { status: 308, headers: &headers, body: b"" }).stored_bytes(platform, size, now())
    };
    for platform in Platform::ALL {
        assert!(read(platform, &text).is_none_or(|bytes| bytes <= size), "more than the video has");
    }
    // As the platforms write it.
    let stored = size / 2;
    if stored > 0 {
        let written = format!("bytes=0-{}", stored - 1);
        assert_eq!(read(Platform::YouTubeShorts, &written), Some(stored));
    }
    assert_eq!(read(Platform::TikTok, &format!("bytes 0-{stored}/{size}")), Some(stored));
}

/// What every secret contains in [`settings`].
const PLANTED: &str = "sk-9f3b71";

/// The settings with the address of a store.
const STORES: [&str; 2] = ["MONGODB_URI", "POSTRETRY_STORE"];

/// Settings, one `NAME=VALUE` a line. A line without a name is a value of the setting that its first byte chooses.
fn settings(data: &[u8]) {
    let declared: Vec<_> = variables().collect();
    let text = String::from_utf8_lossy(data);
    let mut pairs = Vec::new();
    for line in text.lines().filter(|line| !line.contains(PLANTED)) {
        let (name, value) = match line.split_once('=') {
            Some(pair) => pair,
            None => {
                let first = line.bytes().next().map_or(0, usize::from);
                (declared[first % declared.len()].name, line.get(1..).unwrap_or_default())
            }
        };
        // Of a store's address everything but the password may be shown.
        let is_secret = declared
            .iter()
            .any(|known| known.name == name && known.secret == Secrecy::Secret && !STORES.contains(&name));
        let value = if is_secret { format!("{value}{PLANTED}") } else { value.to_owned() };
        pairs.push((name.to_owned(), value));
    }
    let environment = Environment::from_pairs(pairs);
    match Settings::resolve(&environment, &Overrides::default()) {
        Ok(settings) => assert!(!format!("{settings:?}").contains(PLANTED)),
        Err(SettingsError::Invalid(problems)) => {
            assert!(!problems.is_empty() && problems.iter().all(|problem| !problem.is_empty()));
            assert!(!problems.concat().contains(PLANTED), "{problems:?}");
        }
        Err(other) => panic!("no file was read: {other}"),
    }
    let _misspelt = environment.misspelt(variables()).len();
}

/// A text of anybody's: what is shown, what is scrubbed and what is published.
fn text(data: &[u8]) {
    const SECRET: &str = "hush-hush-token";
    let Some((limit, rest)) = data.split_first() else { return };
    let limit = usize::from(*limit) + 1;
    let text = String::from_utf8_lossy(rest);

    let line = one_line(&text, limit);
    assert!(line.chars().count() <= limit);
    assert!(!line.chars().any(|c| is_hidden(c) || (c.is_whitespace() && c != ' ')), "{line:?}");
    assert_eq!(one_line(&line, limit), line);
    let short = excerpt(&text, limit);
    assert!(short.chars().count() <= limit && !short.chars().any(is_hidden), "{short:?}");
    let quoted = shell_quoted(&text);
    assert_eq!(one_line(&quoted, usize::MAX), quoted);

    let redactor = Redactor::default();
    redactor.add(SECRET);
    let middle = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
    let (before, after) = text.split_at(middle);
    assert!(!redactor.scrub(&format!("{before}{SECRET}{after}")).contains(SECRET));

    let mut words = text.splitn(8, '#').map(str::to_owned);
    let caption = words.next().unwrap_or_default();
    let hashtags: Vec<String> = words.collect();
    match with_hashtags(&caption, &hashtags, |whole| whole.chars().count() <= limit) {
        Some(fitted) => {
            assert!(fitted.text.starts_with(caption.trim_end()), "a text was shortened");
            assert!(fitted.text.chars().count() <= limit);
        }
        None => assert!(caption.trim_end().chars().count() > limit, "it fits without its hashtags"),
    }
}

/// An `.env` file, and one line of ours that is written as `.env.example` says.
fn env_file(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let is_ours = |name: &str| name.starts_with("POST");
    match parse_env_file(&text, is_ours) {
        Ok(pairs) => assert!(pairs.iter().all(|(name, _)| !name.is_empty())),
        Err(problem) => assert!(!problem.is_empty() && !problem.contains('\n'), "{problem:?}"),
    }
    let value: String = text.chars().filter(|c| !matches!(c, '\'' | '\\' | '\r')).collect();
    let written = format!("POST_COLLECTION='{value}'\n");
    let expected = vec![("POST_COLLECTION".to_owned(), value)];
    assert_eq!(parse_env_file(&written, is_ours), Ok(expected));
}
