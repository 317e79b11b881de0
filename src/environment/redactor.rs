//! Takes secrets out of texts that come from outside.
//!
//! Platforms and proxies quote what they were sent: tokens, addresses with tokens in them, whole requests. Every such
//! text goes through a [`Redactor`] before it is logged, stored, printed or sent on.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use regex::{Captures, Regex};
use secrecy::{ExposeSecret, SecretString};

use crate::post::one_line;

/// What stands in the place of a secret.
const REDACTED: &str = "[redacted]";

/// Shorter values are not looked for: they would be found in ordinary words.
const SHORTEST: usize = 6;

/// Credentials by their form, whoever they belong to: the values of parameters and JSON members with telling names, and
/// the user name and password of an address. What is taken out is in a group.
static NAMED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let forms = r#"(?isx)
        # The name, as `access_token`, `accessToken` or `TIKTOK_ACCESS_TOKEN`.
        (?: (?: access | refresh | exchange | upload | session | oauth | (?: \b | _ | %[0-9a-f]{2} ) id ) [_-]? token
          | upload [_-]? id
          | (?: client | app | api | consumer ) [_-]? secret (?: [_-]? proof )?
          | password
        ) \b
        # Its end and the sign after it. JSON in a string and addresses in addresses escape them.
        (?: \\*["'] | %(?:25)*2[27] )? \s* (?: [:=] | %(?:25)*3[ad] ) \s*
        # The value, up to the closing quote or to what cannot belong to it.
        (?: "( (?: [^"\\] | \\. )+ )
          | '( (?: [^'\\] | \\. )+ )
          | \\+"( [^"]* [^"\\] )
          | \\+'( [^']* [^'\\] )
          | ( [^\s"'”’&,;}]+ )
        )
        # However short it is.
        | authorization ["']? \s* [:=] \s* ["']? (?: bearer | oauth | basic ) \s+ ( [^\s"'”’&,;}]+ )
        # A password can contain the sign that ends it.
        | \b [a-z][a-z0-9+.-]* :// ( [^\s/"']+ ) @
    "#;
    // The expression is a literal; a test compiles it.
    Regex::new(forms).ok()
});

/// What follows `Bearer` or `OAuth`, in a header or in an address.
static BEARER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let form = r#"(?ix)
        (?: \b | %[0-9a-f]{2} ) (?: (?: bearer | oauth ) (?: \s+ | \+ | %(?:25)*20 ) )+ ["'`(<]?
        ( [^\s"'”’`<>(),;&\\{}\[\]]{6,} )
    "#;
    Regex::new(form).ok()
});

/// What follows `Bearer` or `OAuth` and some of the [`WORDS`], as in "Bearer token XYZ".
static AFTER_WORDS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let form = format!(
        r#"(?ix)
        (?: \b | %[0-9a-f]{{2}} ) (?: bearer | oauth ) \s+
        (?: ["'`(<]? (?: {} ) ["'`)>]? [.:]? \s+ )+
        ["'`(<]? ( [^\s"'”’`<>(),;&\\{{}}\[\]]{{6,}} )
        "#,
        WORDS.join("|")
    );
    Regex::new(&form).ok()
});

/// Words that follow "OAuth" and "bearer" in sentences of platforms and of people. Whatever else follows is taken for a
/// token, and after one of these words whatever looks like one.
const WORDS: &[&str] = &[
    "access",
    "access_token",
    "account",
    "application",
    "authentication",
    "authorization",
    "bearer",
    "callback",
    "client",
    "clients",
    "configuration",
    "consent",
    "credential",
    "credentials",
    "disabled",
    "endpoint",
    "error",
    "errors",
    "exception",
    "expired",
    "header",
    "headers",
    "integration",
    "invalid",
    "oauth",
    "oauthexception",
    "parameter",
    "parameters",
    "permission",
    "permissions",
    "provider",
    "redirect",
    "refresh",
    "refresh_token",
    "request",
    "requests",
    "required",
    "scheme",
    "scope",
    "scopes",
    "server",
    "session",
    "settings",
    "signature",
    "token",
    "tokens",
    "value",
    "verification",
];

/// A string in a JSON document; in the second group the colon, if it is the name of a member.
static STRINGS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r#"("(?:[^"\\]|\\.)*")(\s*:)?"#).ok());

/// How many scoped secrets are still known after their scope has ended. An error that names one can be printed shortly
/// after that.
const REMEMBERED: usize = 64;

/// Knows the secrets of this process. Clones share what they know.
#[derive(Clone, Default)]
pub struct Redactor {
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    /// The longest first: one that contains another is replaced as a whole.
    secrets: Vec<KnownSecret>,
    /// How often a scoped secret was added.
    additions: u64,
}

struct KnownSecret {
    value: Arc<SecretString>,
    /// The number of the last addition during its scope; none if it is known until the process ends.
    in_scope: Option<u64>,
}

/// A secret that is known at least for as long as this exists.
pub struct ScopedSecret {
    _value: Arc<SecretString>,
}

/// Prints nothing of the secret.
impl fmt::Debug for ScopedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedSecret").finish_non_exhaustive()
    }
}

impl Known {
    fn find(&mut self, secret: &str) -> Option<&mut KnownSecret> {
        self.secrets.iter_mut().find(|known| known.value.expose_secret() == secret)
    }

    fn insert(&mut self, value: Arc<SecretString>, in_scope: Option<u64>) {
        let length = value.expose_secret().len();
        let place = self.secrets.partition_point(|known| known.value.expose_secret().len() >= length);
        self.secrets.insert(place, KnownSecret { value, in_scope });
    }

    /// Forgets the secret whose scope ended first, if more are known than must be. A pass has a new one for each post.
    fn forget_oldest(&mut self) {
        let mut oldest: Option<(u64, usize)> = None;
        let mut ended: usize = 0;
        for (place, known) in self.secrets.iter_mut().enumerate() {
            let Some(number) = known.in_scope.as_mut() else { continue };
            if Arc::strong_count(&known.value) > 1 {
                *number = self.additions;
            } else {
                ended += 1;
                let this = (*number, place);
                oldest = Some(oldest.map_or(this, |other| other.min(this)));
            }
        }
        if let Some((_, place)) = oldest.filter(|_| ended > REMEMBERED) {
            self.secrets.remove(place);
        }
    }
}

/// Prints nothing of what it knows.
impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").finish_non_exhaustive()
    }
}

impl Redactor {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a secret that no text may contain.
    pub fn add(&self, secret: &str) {
        if secret.len() < SHORTEST {
            return;
        }
        let mut known = self.known();
        match known.find(secret) {
            Some(found) => found.in_scope = None,
            None => known.insert(Arc::new(SecretString::from(secret)), None),
        }
    }

    /// Adds a secret that no text may contain until some time after what is returned is dropped.
    #[must_use = "the secret may be forgotten soon after this is dropped"]
    pub fn add_scoped(&self, secret: &str) -> ScopedSecret {
        let mut known = self.known();
        known.additions += 1;
        let number = known.additions;
        if let Some(found) = known.find(secret) {
            found.in_scope = found.in_scope.and(Some(number));
            return ScopedSecret { _value: Arc::clone(&found.value) };
        }
        let value = Arc::new(SecretString::from(secret));
        if secret.len() >= SHORTEST {
            known.insert(Arc::clone(&value), Some(number));
            known.forget_oldest();
        }
        ScopedSecret { _value: value }
    }

    /// Adds the password of an address, if it has one, as it is written there and as it is meant; the rest of the
    /// address may be shown.
    pub fn add_password_of(&self, address: &str) {
        let authority = address.split_once("://").map_or(address, |(_, rest)| rest).split(['/', '?']).next();
        let credentials =
            authority.and_then(|authority| authority.rsplit_once('@')).map(|(credentials, _)| credentials);
        if let Some((_, password)) = credentials.and_then(|credentials| credentials.split_once(':')) {
            self.add(password);
            self.add(&percent_decoded(password));
        }
    }

    /// The text without secrets.
    pub fn scrub<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        for known in &self.known().secrets {
            let secret = known.value.expose_secret();
            if text.contains(secret) {
                text = Cow::Owned(text.replace(secret, REDACTED));
            }
        }
        let text = without(NAMED.as_ref(), text, |_| true);
        if !names_scheme(&text) {
            return text;
        }
        let text = without(BEARER.as_ref(), text, is_token);
        without(AFTER_WORDS.as_ref(), text, looks_like_token)
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

/// A text without what the groups of a form contain, as far as that is secret.
fn without<'t>(form: Option<&Regex>, text: Cow<'t, str>, is_secret: fn(&str) -> bool) -> Cow<'t, str> {
    let Some(form) = form.filter(|form| form.is_match(&text)) else { return text };
    let replace = |found: &Captures<'_>| {
        let whole = &found[0];
        match (found.get(0), found.iter().skip(1).flatten().next()) {
            (Some(all), Some(secret)) if is_secret(secret.as_str()) => {
                let (before, after) = (secret.start() - all.start(), secret.end() - all.start());
                format!("{}{REDACTED}{}", &whole[..before], &whole[after..])
            }
            _ => whole.to_owned(),
        }
    };
    Cow::Owned(form.replace_all(&text, replace).into_owned())
}

/// Whether a text has one of the words that a token can follow. Most have none, and then the expressions for that are
/// not compiled.
fn names_scheme(text: &str) -> bool {
    let has = |word: &[u8]| text.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word));
    has(b"bearer") || has(b"oauth")
}

/// Whether what follows `Bearer` or `OAuth` is a token, and not a word such as in "the OAuth client".
fn is_token(value: &str) -> bool {
    let word = value.trim_end_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    !WORDS.contains(&word.as_str())
}

/// Whether what follows one of the [`WORDS`] is a token. There a sentence can go on with any word, with the name of an
/// error (`invalid_grant`), with its number or with the name of a platform.
fn looks_like_token(value: &str) -> bool {
    /// Names such as `YouTube` are no longer than this, with what is written together with them.
    const LONGEST_NAME: usize = 15;
    let has = |is_it: fn(&char) -> bool| value.chars().any(|c| is_it(&c));
    let has_letter = has(char::is_ascii_alphabetic);
    let is_mixed = has(char::is_ascii_lowercase) && has(char::is_ascii_uppercase);
    let is_random = has(char::is_ascii_digit) || (is_mixed && value.len() > LONGEST_NAME);
    is_token(value) && !value.contains("://") && has_letter && is_random
}

/// A text whose characters may be written as `%40`.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let digits = after.get(..2);
        if let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            bytes.push(byte);
            rest = &after[2..];
        } else {
            bytes.push(b'%');
            rest = after;
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
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
    fn a_scoped_secret_is_known_in_its_scope_and_some_time_after() {
        let redactor = Redactor::default();
        let add_many =
            |name: &str| (0..REMEMBERED + 2).for_each(|number| drop(redactor.add_scoped(&format!("{name}-{number}"))));
        let is_known = |secret: &str| redactor.scrub(secret) == "[redacted]";
        let long = redactor.add_scoped("long-upload");
        redactor.add("kept-for-ever");
        drop(redactor.add_scoped("kept-for-ever"));
        add_many("first");
        assert!(!is_known("first-0") && is_known("first-1") && is_known("long-upload"));
        drop(long);
        drop(redactor.add_scoped("another"));
        assert!(is_known("long-upload"), "its scope ended last");
        add_many("second");
        assert!(!is_known("long-upload") && is_known("kept-for-ever"));
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
        redactor.add_password_of("mongodb://user:p%40ss%2fw%C3%B6rd%@db1/app");
        assert_eq!(
            redactor.scrub("p%40ss%2fw%C3%B6rd% means p@ss/wörd%, not p%40ss"),
            "[redacted] means [redacted], not p%40ss"
        );
    }

    #[test]
    fn credentials_are_known_by_their_form() {
        let redactor = Redactor::default();
        for (text, scrubbed) in [
            ("Bearer abcDEF.123_x is bad", "Bearer [redacted] is bad"),
            ("header OAuth EAAB123456==", "header OAuth [redacted]"),
            ("Authorization: Bearer abc", "Authorization: Bearer [redacted]"),
            ("“Bearer abcDEF.123_x”, it said", "“Bearer [redacted]”, it said"),
            ("“access_token=a”, it said", "“access_token=[redacted]”, it said"),
            ("GET /x?access_token=abc&y=1", "GET /x?access_token=[redacted]&y=1"),
            (r#"{"refresh_token":"abc","a":1}"#, r#"{"refresh_token":"[redacted]","a":1}"#),
            ("client_secret: 'abc'", "client_secret: '[redacted]'"),
            ("mongodb://user:pass@db/app", "mongodb://[redacted]@db/app"),
            ("check the OAuth client", "check the OAuth client"),
            ("Bearer abcdefghijklmnopqrstuvwxyz", "Bearer [redacted]"),
            ("no secret: access token refused", "no secret: access token refused"),
            ("mail me@example.com", "mail me@example.com"),
            ("https://ann:p@ss@host/x", "https://[redacted]@host/x"),
            ("GET https://host?next=http://ann:pw@h2/x", "GET https://host?next=http://[redacted]@h2/x"),
            ("https://www.tiktok.com/@ann/video/1", "https://www.tiktok.com/@ann/video/1"),
        ] {
            assert_eq!(redactor.scrub(text), scrubbed);
            assert_eq!(redactor.scrub(scrubbed), scrubbed, "a second time");
        }
    }

    #[test]
    fn a_bearer_value_may_look_like_words() {
        let redactor = Redactor::default();
        for (text, scrubbed) in [
            ("Bearer somebody-elses-token", "Bearer [redacted]"),
            ("Bearer AbCdEfGhIjKl is bad", "Bearer [redacted] is bad"),
            ("OAuth PlantedSecretValue", "OAuth [redacted]"),
            ("Bearer\nplanted", "Bearer\n[redacted]"),
            ("OAuth bearer planted", "OAuth bearer [redacted]"),
            ("bearer 'planted', BEARER <planted>", "bearer '[redacted]', BEARER <[redacted]>"),
            ("act: Bearer act.abcdef!6448.va*x", "act: Bearer [redacted]"),
            ("?h=Authorization%3A%20Bearer%20planted", "?h=Authorization%3A%20Bearer%20[redacted]"),
            (r#"OAuth oauth_token="planted twice""#, r#"OAuth [redacted]"[redacted]""#),
            ("OAuth client_secret=planted", "OAuth [redacted][redacted]"),
        ] {
            assert_eq!(redactor.scrub(text), scrubbed);
        }
        for text in [
            "check the channel and the OAuth client",
            "Invalid OAuth access token.",
            "the OAuth client: deleted",
            "no bearer tokens, or a bearer token",
            "OAuth 2.0 Access Token",
            "Bearer realm",
            "OAuth Bearer",
            "the bearer of this",
        ] {
            assert_eq!(redactor.scrub(text), text);
        }
    }

    #[test]
    fn a_token_after_the_word_token_is_taken_out_and_the_sentence_stays() {
        let redactor = Redactor::default();
        for (text, scrubbed) in [
            ("Bearer token XYZ7654321", "Bearer token [redacted]"),
            ("the Bearer token abc.DEF-123_x is bad", "the Bearer token [redacted] is bad"),
            ("Bearer token: 'act.x4fG7', expired", "Bearer token: '[redacted]', expired"),
            ("Invalid OAuth access token EAAB1234567.", "Invalid OAuth access token [redacted]"),
            ("bearer access_token ya29.a0Af", "bearer access_token [redacted]"),
            ("OAuth header\n\"PlantedSecretValue\"", "OAuth header\n\"[redacted]\""),
            ("OAuth `refresh` token <1//0gPlanted>", "OAuth `refresh` token <[redacted]>"),
            ("OAuth error: bearer token a1b2c3d4", "OAuth error: bearer token [redacted]"),
        ] {
            assert_eq!(redactor.scrub(text), scrubbed);
            assert_eq!(redactor.scrub(scrubbed), scrubbed, "a second time");
        }
        for text in [
            "Bearer token expired or revoked",
            "bearer token INVALID_TOKEN",
            "OAuth error invalid_grant: Token has been expired or revoked.",
            "OAuth error 2207051",
            "OAuth error OAuthException",
            "the OAuth client YouTube has",
            "OAuth scope https://www.googleapis.com/auth/youtube2.upload",
            "OAuth scope video.upload",
            "an OAuth client, v25.0beta",
        ] {
            assert_eq!(redactor.scrub(text), text);
        }
    }

    /// Whoever looks at the rest of the text again at each word needs minutes for this.
    #[test]
    fn a_text_of_nothing_but_such_words_takes_no_longer_than_any_other() {
        let redactor = Redactor::default();
        for text in ["OAuth ".repeat(20_000), format!("OAuth {}", "access token ".repeat(20_000))] {
            assert_eq!(redactor.scrub(&text), text);
            assert_eq!(redactor.scrub(&format!("{text}a1b2c3d4")).len(), text.len() + REDACTED.len());
        }
    }

    #[test]
    fn a_named_value_is_taken_out_in_every_spelling() {
        let redactor = Redactor::default();
        for (text, scrubbed) in [
            ("access_token = 'planted twice' x", "access_token = '[redacted]' x"),
            (r#"{"access_token": "planted\" twice", "a": 1}"#, r#"{"access_token": "[redacted]", "a": 1}"#),
            (r#"{"accessToken":"planted","a":1}"#, r#"{"accessToken":"[redacted]","a":1}"#),
            (r#"{\"refreshToken\":\"planted twice\",\"a\":1}"#, r#"{\"refreshToken\":\"[redacted]\",\"a\":1}"#),
            ("x%26access_token%3Dplanted%26y%3D1 z", "x%26access_token%3D[redacted] z"),
            ("access_token%253Dplanted", "access_token%253D[redacted]"),
            ("%22id_token%22%3A%22planted%22", "%22id_token%22%3A[redacted]"),
            ("app_secret=planted&appsecret_proof=planted", "app_secret=[redacted]&appsecret_proof=[redacted]"),
            ("clientSecret: planted, client-secret=planted", "clientSecret: [redacted], client-secret=[redacted]"),
            ("TIKTOK_ACCESS_TOKEN=planted", "TIKTOK_ACCESS_TOKEN=[redacted]"),
            ("PASSWORD:planted", "PASSWORD:[redacted]"),
        ] {
            assert_eq!(redactor.scrub(text), scrubbed);
            let json = serde_json::json!({ "error": text }).to_string();
            assert_eq!(redactor.scrub_json(&json), serde_json::json!({ "error": scrubbed }).to_string());
        }
        for text in [
            "access_token_invalid: the access token is invalid",
            "invalid_token: it has expired",
            "refresh_token_expires_in: 5",
            "`TIKTOK_ACCESS_TOKEN` is not set",
            r#"{"access_token":"","a":1}"#,
        ] {
            assert_eq!(redactor.scrub(text), text);
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
