//! The account at TikTok: its tokens, and how its texts are fitted.

use async_trait::async_trait;
use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};

use super::classify::classify;
use super::{TikTokCredentials, TikTokSettings};
use crate::platform::http::Http;
use crate::platform::tokens::{Refreshed, Refresher, TokenConfig};
use crate::platform::{Origin, PublishContext, PublishError};
use crate::post::{Category, Failure, Platform, Post, with_hashtags};

/// The longest title of a video, in UTF-16 code units.
const TITLE: usize = 2200;
/// The longest title and description of a photo, likewise.
const PHOTO_TITLE: usize = 90;
const PHOTO_DESCRIPTION: usize = 4000;

/// What the settings say of the account's tokens, and who renews them.
pub(super) fn token_source(
    settings: &TikTokSettings,
    http: &Http,
    margin: TimeDelta,
) -> (TokenConfig, Option<TikTokRefresher>) {
    let platform = Platform::TikTok;
    match &settings.credentials {
        TikTokCredentials::Refreshed { client_key, client_secret, refresh_token, access_token } => {
            let source = TokenConfig {
                platform,
                account: client_key.clone(),
                access_token: access_token.clone(),
                refresh_token: Some(refresh_token.clone()),
                margin,
                advice: "renew TIKTOK_REFRESH_TOKEN",
                lock: TokenConfig::lock_for(http.timeout()),
            };
            let refresher = TikTokRefresher {
                http: http.clone(),
                api: settings.api.clone(),
                client_key: client_key.clone(),
                client_secret: client_secret.clone(),
            };
            (source, Some(refresher))
        }
        TikTokCredentials::Bare { access_token } => {
            let source = TokenConfig {
                platform,
                account: "bare".to_owned(),
                access_token: Some(access_token.clone()),
                refresh_token: None,
                margin,
                advice: "renew TIKTOK_ACCESS_TOKEN",
                lock: TokenConfig::lock_for(http.timeout()),
            };
            (source, None)
        }
    }
}

/// Gets new tokens. TikTok hands out a new refresh token with each and the old one is void.
#[derive(Debug)]
pub(super) struct TikTokRefresher {
    http: Http,
    api: Origin,
    client_key: String,
    client_secret: SecretString,
}

#[async_trait]
impl Refresher for TikTokRefresher {
    async fn refresh(&self, with: &SecretString, context: &dyn PublishContext) -> Result<Refreshed, PublishError> {
        let step = "renew the token";
        let form = [
            ("client_key", self.client_key.as_str()),
            ("client_secret", self.client_secret.expose_secret()),
            ("grant_type", "refresh_token"),
            ("refresh_token", with.expose_secret()),
        ];
        let request = self.http.post(self.api.at("/v2/oauth/token/")).form(&form);
        let sent = self.http.send(request, context).await;
        let response = sent.map_err(|error| error.into_retryable(Platform::TikTok, step))?;
        let json = response.json();
        // The endpoint has been seen to answer HTTP 200 with an error inside, so the body decides.
        match (json["access_token"].as_str(), json["error"].as_str()) {
            (Some(token), None | Some("" | "ok")) if response.is_success() => Ok(Refreshed {
                access_token: SecretString::from(token),
                expires_in: json["expires_in"].as_i64(),
                refresh_token: json["refresh_token"].as_str().map(SecretString::from),
                refresh_expires_in: json["refresh_expires_in"].as_i64(),
            }),
            (_, code) => {
                let description = json["error_description"].as_str().unwrap_or_default();
                let failure = classify(step, response.status, code.unwrap_or_default(), description);
                Err(failure.retry_at(response.retry_after(context.now())).into())
            }
        }
    }
}

/// The title of a video: the caption and as many hashtags as fit.
pub(super) fn fitted_title(post: &Post) -> Result<String, Failure> {
    fitted(post, TITLE)
}

/// The texts of a photo.
pub(super) struct PhotoText {
    pub(super) title: String,
    pub(super) description: String,
}

/// The caption goes into the description, since a photo's title holds but a line; the post's own title goes there if
/// it fits.
pub(super) fn fitted_photo_text(post: &Post) -> Result<PhotoText, Failure> {
    let description = fitted(post, PHOTO_DESCRIPTION)?;
    let title = post.content.title.clone().filter(|title| utf16(title) <= PHOTO_TITLE).unwrap_or_default();
    Ok(PhotoText { title, description })
}

fn fitted(post: &Post, limit: usize) -> Result<String, Failure> {
    let text = post.content.caption_text();
    let fitted = with_hashtags(text, &post.content.hashtags, |text| utf16(text) <= limit).ok_or_else(|| {
        let message = format!("the caption has {} characters, TikTok takes {limit}; shorten it", utf16(text));
        Failure::new(Category::RejectedContent, message).not_retryable()
    })?;
    if !fitted.dropped.is_empty() {
        log::debug!("post {}: left out for TikTok's limit: {}", post.id, fitted.dropped.join(" "));
    }
    Ok(fitted.text)
}

/// TikTok counts UTF-16 code units.
fn utf16(text: &str) -> usize {
    text.encode_utf16().count()
}
