//! The account's tokens, and how TikTok gives new ones: "Refresh a User Access Token" and "Manage OAuth Access Tokens"
//! on <https://developers.tiktok.com>.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::classify::{classify, with_retry_at};
use super::settings::{TikTokCredentials, TikTokSettings};
use super::wire::ApiError;
use crate::platform::http::{Http, lenient, text_or_number};
use crate::platform::token_provider::{Refreshed, Refresher, TokenConfig, TokenProvider};
use crate::platform::{Origin, PublishContext, PublishError, PublisherDeps};
use crate::post::Platform;

/// How long before its end a token is refreshed.
const MARGIN: TimeDelta = TimeDelta::minutes(2);

pub(super) fn token_provider(settings: &TikTokSettings, deps: &PublisherDeps) -> TokenProvider {
    let lock = TokenConfig::lock_for(deps.http.timeout());
    let (config, refresher) = match &settings.credentials {
        TikTokCredentials::Refreshed { client_key, client_secret, refresh_token, access_token } => {
            let config = TokenConfig {
                platform: Platform::TikTok,
                account: client_key.clone(),
                access_token: access_token.clone(),
                refresh_token: Some(refresh_token.clone()),
                margin: MARGIN,
                advice: "renew TIKTOK_REFRESH_TOKEN",
                lock,
            };
            let refresher = TikTokRefresher {
                http: deps.http.clone(),
                api: settings.api.clone(),
                client_key: client_key.clone(),
                client_secret: client_secret.clone(),
            };
            (config, Some(Box::new(refresher) as Box<dyn Refresher>))
        }
        TikTokCredentials::Bare { access_token } => {
            let config = TokenConfig {
                platform: Platform::TikTok,
                account: "bare".to_owned(),
                access_token: Some(access_token.clone()),
                refresh_token: None,
                margin: MARGIN,
                advice: "renew TIKTOK_ACCESS_TOKEN",
                lock,
            };
            (config, None)
        }
    };
    TokenProvider::new(config, refresher, Arc::clone(&deps.tokens))
}

/// With each access token TikTok gives a new refresh token, and the old one stops working.
#[derive(Debug)]
struct TikTokRefresher {
    http: Http,
    api: Origin,
    client_key: String,
    client_secret: SecretString,
}

#[async_trait]
impl Refresher for TikTokRefresher {
    async fn refresh(&self, with: &SecretString, context: &dyn PublishContext) -> Result<Refreshed, PublishError> {
        let step = "refresh the access token";
        let form = [
            ("client_key", self.client_key.as_str()),
            ("client_secret", self.client_secret.expose_secret()),
            ("grant_type", "refresh_token"),
            ("refresh_token", with.expose_secret()),
        ];
        let request = self.http.post(self.api.at("/v2/oauth/token/")).form(&form);
        let sent = self.http.send(request, context).await;
        let response = sent.map_err(|error| error.into_retryable(Platform::TikTok, step))?;
        let given = response.parse::<TokenResponse>().unwrap_or_default();
        given.into_refreshed(response.is_success()).map_err(|error| {
            let now = context.now();
            with_retry_at(classify(step, response.status, &error), response.retry_after(now), now).into()
        })
    }
}

/// The response is flat, unlike those of the API. It contains secrets, so it cannot be printed.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TokenResponse {
    #[serde(deserialize_with = "lenient")]
    access_token: Option<String>,
    #[serde(deserialize_with = "lenient")]
    expires_in: Option<i64>,
    #[serde(deserialize_with = "lenient")]
    refresh_token: Option<String>,
    #[serde(deserialize_with = "lenient")]
    refresh_expires_in: Option<i64>,
    #[serde(deserialize_with = "lenient")]
    error: String,
    #[serde(deserialize_with = "lenient")]
    error_description: String,
    #[serde(deserialize_with = "text_or_number")]
    log_id: Option<String>,
}

impl TokenResponse {
    /// The new tokens. The status alone does not tell: an error was seen with HTTP 200 (not documented).
    pub(super) fn into_refreshed(self, is_success: bool) -> Result<Refreshed, ApiError> {
        match self.access_token {
            Some(token) if is_success && matches!(self.error.as_str(), "" | "ok") => Ok(Refreshed {
                access_token: SecretString::from(token),
                expires_in: self.expires_in,
                refresh_token: self.refresh_token.map(SecretString::from),
                refresh_expires_in: self.refresh_expires_in,
            }),
            _ => Err(ApiError {
                code: self.error,
                message: self.error_description,
                log_id: self.log_id,
                ..ApiError::default()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refreshed(text: &str, is_success: bool) -> Result<Refreshed, ApiError> {
        serde_json::from_str::<TokenResponse>(text).unwrap().into_refreshed(is_success)
    }

    #[test]
    fn new_tokens_are_read_whatever_else_is_there() {
        let given =
            r#"{"access_token":"a","expires_in":7200,"refresh_token":"r","refresh_expires_in":"x","open_id":1}"#;
        let tokens = refreshed(given, true).unwrap();
        assert_eq!(tokens.access_token.expose_secret(), "a");
        assert_eq!((tokens.expires_in, tokens.refresh_expires_in), (Some(7200), None));
        assert_eq!(tokens.refresh_token.unwrap().expose_secret(), "r");
        assert_eq!(refreshed(given, false).unwrap_err(), ApiError::default());
    }

    #[test]
    fn the_endpoint_refuses_with_http_200_too() {
        let given = r#"{"access_token":"a","error":"invalid_grant","error_description":"refused","log_id":"1"}"#;
        let error = refreshed(given, true).unwrap_err();
        assert_eq!((error.code.as_str(), error.message.as_str()), ("invalid_grant", "refused"));
        assert_eq!(error.log_id(), Some("1"));
    }
}
