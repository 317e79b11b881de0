//! Takes secrets out of texts that come from outside.
//!
//! Platforms and proxies quote what they were sent: tokens, addresses with tokens in them, whole requests. Every such
//! text goes through a [`Redactor`] before it is logged, stored, printed or sent on.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use regex::{Captures, Regex};
use secrecy::{ExposeSecret, SecretString};

use crate::post::one_line;

/// What stands in the place of a secret.
const REDACTED: &str = "[redacted]";

/// Shorter values are not looked for: they would be found in ordinary words.
const SHORTEST: usize = 6;

/// Credentials by their form, whoever they belong to: `Bearer` and `OAuth` values, parameters and JSON members with
/// telling names, and the user name and password of an address. What is kept is in the first group.
static FORMS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let names = "access_token|refresh_token|client_secret|fb_exchange_token|id_token|upload_id|upload_token|password";
    let forms = format!(
        r#"(?i)(\b(?:bearer|oauth)[ \t]+)[A-Za-z0-9._~+/|%-]{{6,}}=*|(["']?\b(?:{names})\b["']?\s*[:=]\s*["']?)[^\s"'&,;}}]+|(\b[a-z][a-z0-9+.-]*://)[^\s/@"']+@"#
    );
    // The expression is a literal; a test compiles it.
    Regex::new(&forms).ok()
});

/// A string in a JSON document; in the second group the colon, if it is the name of a member.
static STRINGS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r#"("(?:[^"\\]|\\.)*")(\s*:)?"#).ok());

/// Knows the secrets of this process. Clones share what they know.
#[derive(Clone, Default)]
pub struct Redactor {
    known: Arc<Mutex<Vec<SecretString>>>,
}

/// Prints nothing of what it knows.
impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").finish_non_exhaustive()
    }
}

impl Redactor {
    /// Adds a secret that no text may contain.
    pub fn add(&self, secret: &str) {
        if secret.len() < SHORTEST {
            return;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.iter().any(|other| other.expose_secret() == secret) {
            known.push(SecretString::from(secret));
            // A secret that contains another is replaced as a whole.
            known.sort_by_key(|secret| std::cmp::Reverse(secret.expose_secret().len()));
        }
    }

    /// Adds the password of an address, if it has one; the rest of the address may be shown.
    pub fn add_password_of(&self, address: &str) {
        let authority = address.split_once("://").map_or(address, |(_, rest)| rest).split(['/', '?']).next();
        let credentials =
            authority.and_then(|authority| authority.rsplit_once('@')).map(|(credentials, _)| credentials);
        if let Some((_, password)) = credentials.and_then(|credentials| credentials.split_once(':')) {
            self.add(password);
        }
    }

    /// The text without secrets.
    pub fn scrub<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        for secret in self.known.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let secret = secret.expose_secret();
            if text.contains(secret) {
                text = Cow::Owned(text.replace(secret, REDACTED));
            }
        }
        let Some(forms) = FORMS.as_ref() else { return text };
        if !forms.is_match(&text) {
            return text;
        }
        let replace = |found: &Captures<'_>| {
            let kept = (1..=3).find_map(|group| found.get(group)).map_or("", |kept| kept.as_str());
            if found.get(1).is_some() && !is_token(&found[0][kept.len()..]) {
                return found[0].to_owned();
            }
            let at = if found.get(3).is_some() { "@" } else { "" };
            format!("{kept}{REDACTED}{at}")
        };
        Cow::Owned(forms.replace_all(&text, replace).into_owned())
    }

    /// The text without secrets, in one safe line of at most `limit` characters. It is cut last: a part of a secret
    /// could not be found.
    pub fn clean(&self, text: &str, limit: usize) -> String {
        one_line(&self.scrub(text), limit)
    }

    /// A JSON document without secrets in its strings. Names of members, numbers and the form stay as they are.
    pub fn scrub_json<'t>(&self, json: &'t str) -> Cow<'t, str> {
        let Some(strings) = STRINGS.as_ref() else { return Cow::Borrowed(json) };
        let replace = |found: &Captures<'_>| {
            let (whole, string) = (&found[0], &found[1]);
            if found.get(2).is_some() {
                return whole.to_owned();
            }
            let text: Option<String> = serde_json::from_str(string).ok();
            match text.as_deref().map(|text| self.scrub(text)) {
                Some(Cow::Owned(clean)) => serde_json::Value::String(clean).to_string(),
                _ => whole.to_owned(),
            }
        };
        strings.replace_all(json, replace)
    }
}

/// Whether what follows `Bearer` or `OAuth` is a token, and not a word such as in "the OAuth client".
fn is_token(word: &str) -> bool {
    const LONGEST_WORD: usize = 20;
    word.len() > LONGEST_WORD || word.contains(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_secrets_are_taken_out_wherever_they_stand() {
        let redactor = Redactor::default();
        redactor.add("hush-hush");
        redactor.add("hush-hush-and-more");
        redactor.add("ab");
        assert_eq!(redactor.scrub("x hush-hush-and-more, hush-hush ab"), "x [redacted], [redacted] ab");
    }

    #[test]
    fn of_an_address_only_the_password_is_a_secret() {
        let redactor = Redactor::default();
        redactor.add_password_of("mongodb://user:hush-hush@db1,db2/app?x=y@z");
        redactor.add_password_of("sqlite:/var/lib/posts.db");
        assert_eq!(
            redactor.scrub("hush-hush at db1, sqlite:/var/lib/posts.db"),
            "[redacted] at db1, sqlite:/var/lib/posts.db"
        );
    }

    #[test]
    fn credentials_are_known_by_their_form() {
        let redactor = Redactor::default();
        for (text, scrubbed) in [
            ("Bearer abcDEF.123_x is bad", "Bearer [redacted] is bad"),
            ("header OAuth EAAB123456==", "header OAuth [redacted]"),
            ("GET /x?access_token=abc&y=1", "GET /x?access_token=[redacted]&y=1"),
            (r#"{"refresh_token":"abc","a":1}"#, r#"{"refresh_token":"[redacted]","a":1}"#),
            ("client_secret: 'abc'", "client_secret: '[redacted]'"),
            ("mongodb://user:pass@db/app", "mongodb://[redacted]@db/app"),
            ("check the OAuth client", "check the OAuth client"),
            ("Bearer abcdefghijklmnopqrstuvwxyz", "Bearer [redacted]"),
            ("no secret: access token refused", "no secret: access token refused"),
            ("mail me@example.com", "mail me@example.com"),
        ] {
            assert_eq!(redactor.scrub(text), scrubbed);
        }
    }

    #[test]
    fn a_secret_is_taken_out_before_a_text_is_cut() {
        let redactor = Redactor::default();
        redactor.add("hush-hush-hush");
        assert_eq!(redactor.clean("it said\nhush-hush-hush \u{1b}", 100), "it said [redacted] \\u{1b}");
        assert_eq!(redactor.clean("it said hush-hush-hush", 12), "it said [re…");
    }

    #[test]
    fn json_stays_json_without_its_secrets() {
        let redactor = Redactor::default();
        redactor.add("123456");
        redactor.add("retryCount");
        redactor.add("with\"quote");
        let json = r#"{
  "retryCount": 1234567,
  "error": "access_token=abc\"def\nGET https://u:p@host/123456",
  "list": ["with\"quote", "Bearer abcdef1\\", "kept \u001b \""]
}"#;
        let clean = redactor.scrub_json(json);
        let expected = serde_json::json!({
            "retryCount": 1_234_567,
            "error": "access_token=[redacted]\"def\nGET https://[redacted]@host/[redacted]",
            "list": ["[redacted]", "Bearer [redacted]\\", "kept \u{1b} \""],
        });
        assert_eq!(serde_json::from_str::<serde_json::Value>(&clean).unwrap(), expected);
    }
}
