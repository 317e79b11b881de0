//! The account at Instagram: its token, its caption's limits, and how long a throttled one has to wait.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::classify::{GraphCode, classify};
use crate::platform::http::{ApiResponse, Http};
use crate::platform::tokens::{Refreshed, Refresher};
use crate::platform::{Origin, PublishContext, PublishError};
use crate::post::{Category, Failure, Platform, Post, hashtags_in, with_hashtags};

/// The longest caption, in characters.
const CAPTION: usize = 2200;
/// The most hashtags and mentions in a caption.
const HASHTAGS: usize = 30;
const MENTIONS: usize = 20;

/// Exchanges the token for a fresh one, which works as long as it has not lapsed.
#[derive(Debug)]
pub(super) struct InstagramRefresher {
    pub(super) http: Http,
    pub(super) api: Origin,
    pub(super) version: String,
    pub(super) app_id: String,
    pub(super) app_secret: SecretString,
}

#[async_trait]
impl Refresher for InstagramRefresher {
    async fn refresh(&self, with: &SecretString, context: &dyn PublishContext) -> Result<Refreshed, PublishError> {
        let step = "exchange the token";
        let query = [
            ("grant_type", "fb_exchange_token"),
            ("client_id", self.app_id.as_str()),
            ("client_secret", self.app_secret.expose_secret()),
            ("fb_exchange_token", with.expose_secret()),
        ];
        let path = format!("/{}/oauth/access_token", self.version);
        let request = self.http.get(self.api.at(&path)).query(&query);
        let sent = self.http.send(request, context).await;
        let response = sent.map_err(|error| error.into_retryable(Platform::Instagram, step))?;
        let json = response.json();
        match json["access_token"].as_str() {
            Some(token) if response.is_success() => Ok(Refreshed {
                access_token: SecretString::from(token),
                expires_in: json["expires_in"].as_i64(),
                refresh_token: None,
                refresh_expires_in: None,
            }),
            _ => Err(classify(step, response.status, GraphCode::of(&json), "").into()),
        }
    }
}

/// The caption and as many hashtags as fit.
pub(super) fn fitted_caption(post: &Post) -> Result<String, Failure> {
    let text = post.content.caption_text();
    let fits = |text: &str| {
        text.chars().count() <= CAPTION && hashtags_in(text).count() <= HASHTAGS && mentions(text) <= MENTIONS
    };
    let fitted = with_hashtags(text, &post.content.hashtags, fits).ok_or_else(|| {
        let message = format!(
            "the caption has {} characters, {} hashtags and {} mentions; Instagram takes {CAPTION}, {HASHTAGS} and \
             {MENTIONS}; shorten it",
            text.chars().count(),
            hashtags_in(text).count(),
            mentions(text)
        );
        Failure::new(Category::RejectedContent, message).not_retryable()
    })?;
    if !fitted.dropped.is_empty() {
        log::debug!("post {}: left out for Instagram's limits: {}", post.id, fitted.dropped.join(" "));
    }
    Ok(fitted.text)
}

/// The mentions in a text: an `@` at the beginning of a word, with a name behind it.
fn mentions(text: &str) -> usize {
    text.split_whitespace()
        .filter(|word| {
            word.strip_prefix('@').is_some_and(|name| name.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
        })
        .count()
}

/// When a throttled account may call again: the longest of the estimates, which are in minutes.
pub(super) fn regains_access_at(response: &ApiResponse, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let usage: Value = serde_json::from_str(response.header("x-business-use-case-usage")?).ok()?;
    let entries = usage.as_object()?.values().filter_map(Value::as_array).flatten();
    let minutes = entries
        .filter(|entry| entry["type"].as_str().is_none_or(|kind| kind == "instagram"))
        .filter_map(|entry| entry["estimated_time_to_regain_access"].as_i64())
        .filter(|minutes| *minutes > 0)
        .max()?;
    now.checked_add_signed(TimeDelta::try_minutes(minutes)?)
}
