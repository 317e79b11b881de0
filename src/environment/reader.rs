//! Reads single variables and collects their problems.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;
use url::{Host, Url};

use super::{Environment, Redactor, Secrecy, Variable};

/// How many characters of an invalid value are shown.
const MAX_VALUE_CHARS: usize = 200;

/// Reads variables. An invalid value becomes a problem and is replaced by the default until
/// [`Reader::finish`] reports all problems together.
#[derive(Debug)]
pub struct Reader<'a> {
    environment: &'a Environment,
    declared: Vec<&'static Variable>,
    problems: Vec<String>,
}

impl<'a> Reader<'a> {
    /// A reader of these variables.
    pub fn new(environment: &'a Environment, declared: impl IntoIterator<Item = &'static Variable>) -> Self {
        let not_text = |name: &String| format!("setting `{name}` is not valid UTF-8");
        let problems = environment.unreadable().iter().map(not_text).collect();
        Self { environment, declared: declared.into_iter().collect(), problems }
    }

    /// Returns the settings.
    ///
    /// # Errors
    /// All problems, one sentence each.
    pub fn finish<T>(self, settings: T) -> Result<T, Vec<String>> {
        if self.problems.is_empty() { Ok(settings) } else { Err(self.problems) }
    }

    /// Whether the value is not valid UTF-8, which is reported already.
    pub fn is_unreadable(&self, name: &str) -> bool {
        self.environment.unreadable().contains(name)
    }

    /// Adds a problem.
    pub fn problem(&mut self, text: impl Into<String>) {
        self.problems.push(text.into());
    }

    /// Reports which settings are missing in a group that must be set together.
    pub fn incomplete(&mut self, settings: &[(&str, bool)], purpose: &str) {
        let names = |wanted: bool| {
            let list: Vec<String> =
                settings.iter().filter(|(_, is_set)| *is_set == wanted).map(|(name, _)| format!("`{name}`")).collect();
            (list.join(" and "), if list.len() == 1 { "is" } else { "are" })
        };
        let (missing, are) = names(false);
        let (set, is) = names(true);
        let problem = if set.is_empty() {
            format!("{missing} {are} not set; set all of them to {purpose}")
        } else {
            format!("{set} {is} set but {missing} {are} not; set all of them to {purpose}, or none")
        };
        self.problem(problem);
    }

    /// The value, if it is set.
    pub fn optional(&mut self, name: &'static str) -> Option<String> {
        self.environment.value(name).map(str::to_owned)
    }

    /// The value, if it is set, as a secret. No header can contain one with a line break.
    pub fn optional_secret(&mut self, name: &'static str) -> Option<SecretString> {
        let value = self.environment.value(name)?.to_owned();
        if value.chars().any(char::is_control) {
            self.problem(format!(
                "setting `{name}` contains a line break or another control character (its value is not shown)"
            ));
        }
        Some(SecretString::from(value))
    }

    /// The value or its default.
    pub fn text(&self, name: &'static str) -> String {
        self.environment.value(name).unwrap_or_else(|| self.default_of(name)).to_owned()
    }

    /// One of these words.
    pub fn choice(&mut self, name: &'static str, allowed: &[&str]) -> String {
        let text = self.text(name);
        if allowed.contains(&text.as_str()) {
            return text;
        }
        let list: Vec<String> = allowed.iter().map(|word| format!("`{word}`")).collect();
        self.refuse(name, &format!("one of {}", list.join(", ")));
        self.default_of(name).to_owned()
    }

    /// A whole number within this range.
    pub fn number<N>(&mut self, name: &'static str, range: RangeInclusive<N>) -> N
    where
        N: FromStr + PartialOrd + Display + Copy,
    {
        match self.text(name).parse::<N>() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                self.refuse(name, &format!("a whole number from {} to {}", range.start(), range.end()));
                *range.start()
            }
        }
    }

    /// A duration such as `90s` within this range.
    pub fn duration(&mut self, name: &'static str, range: RangeInclusive<Duration>) -> Duration {
        self.parse_duration(name, &self.text(name), &range).unwrap_or(*range.start())
    }

    /// The same, if it is set.
    pub fn optional_duration(&mut self, name: &'static str, range: RangeInclusive<Duration>) -> Option<Duration> {
        let text = self.environment.value(name)?.to_owned();
        self.parse_duration(name, &text, &range)
    }

    fn parse_duration(&mut self, name: &'static str, text: &str, range: &RangeInclusive<Duration>) -> Option<Duration> {
        match humantime::parse_duration(text) {
            Ok(duration) if range.contains(&duration) => Some(duration),
            _ => {
                let from = humantime::format_duration(*range.start());
                let bounds = if *range.end() == Duration::MAX {
                    format!("from {from}")
                } else {
                    format!("from {from} to {}", humantime::format_duration(*range.end()))
                };
                self.refuse(name, &format!("a duration such as `90s`, `50m` or `2h`, {bounds}"));
                None
            }
        }
    }

    /// A whole address.
    pub fn endpoint(&mut self, name: &'static str) -> Url {
        let text = self.text(name);
        self.https_url(name, &text).unwrap_or_else(fallback_url)
    }

    /// An address, if it is set.
    pub fn optional_https_url(&mut self, name: &'static str) -> Option<Url> {
        let text = self.environment.value(name)?.to_owned();
        self.https_url(name, &text)
    }

    fn https_url(&mut self, name: &'static str, text: &str) -> Option<Url> {
        let usable = |url: &Url| match url.scheme() {
            "https" => url.has_host(),
            "http" => is_loopback(url),
            _ => false,
        };
        match Url::parse(text) {
            Ok(url) if usable(&url) && url.username().is_empty() && url.password().is_none() => Some(url),
            _ => {
                self.refuse(name, "an `https://` address, or `http://` to a loopback address");
                None
            }
        }
    }

    /// The default of a variable; empty if it has none.
    pub fn default_of(&self, name: &str) -> &'static str {
        self.declared.iter().find(|variable| variable.name == name).map_or("", |variable| variable.default)
    }

    /// Reports an invalid value and what is allowed.
    pub fn refuse(&mut self, name: &'static str, allowed: &str) {
        let is_secret = self.declared.iter().any(|known| known.name == name && known.secret == Secrecy::Secret);
        let value = if is_secret {
            "(its value is not shown)".to_owned()
        } else {
            format!("`{}`", Redactor::default().clean(&self.text(name), MAX_VALUE_CHARS))
        };
        self.problem(format!("setting `{name}` is not {allowed}: {value}"));
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Replaces an invalid address. It is never used, because the problem is reported first.
#[expect(clippy::expect_used, reason = "a literal that parses")]
fn fallback_url() -> Url {
    Url::parse("https://invalid.invalid").expect("the literal is a URL")
}
