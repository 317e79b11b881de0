//! Takes secrets out of texts that come from outside, and makes them one safe line.
//!
//! Platforms and proxies quote what they were sent: tokens, addresses with tokens in them, whole requests. Every such
//! text goes through a [`Redactor`] before it is logged, stored, printed or sent on.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use regex::{Captures, Regex};
use secrecy::{ExposeSecret, SecretString};

/// What stands in the place of a secret.
const REDACTED: &str = "[redacted]";

/// Shorter values are not looked for: they would be found in ordinary words.
const SHORTEST: usize = 6;

/// Credentials by their form, whoever they belong to: `Bearer` and `OAuth` values, parameters and JSON members with
/// telling names, and the user name and password of an address. What is kept is in the first group.
static FORMS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let names = "access_token|refresh_token|client_secret|fb_exchange_token|id_token|upload_id|upload_token|password";
    let forms = format!(
        r#"(?i)(\b(?:bearer|oauth)\s+)[A-Za-z0-9._~+/|%-]{{6,}}=*|(["']?\b(?:{names})\b["']?\s*[:=]\s*["']?)[^\s"'&,;}}]+|(\b[a-z][a-z0-9+.-]*://)[^\s/@"']+@"#
    );
    // The expression is a literal; a test compiles it.
    Regex::new(&forms).ok()
});

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
            let at = if found.get(3).is_some() { "@" } else { "" };
            format!("{kept}{REDACTED}{at}")
        };
        Cow::Owned(forms.replace_all(&text, replace).into_owned())
    }
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
            ("no secret: access token refused", "no secret: access token refused"),
            ("mail me@example.com", "mail me@example.com"),
        ] {
            assert_eq!(redactor.scrub(text), scrubbed);
        }
    }
}
