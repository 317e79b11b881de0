//! The channel's tokens, and what a response says of them: Google Identity's "OAuth 2.0" for web servers, and
//! "YouTube Data API - Errors" on <https://developers.google.com>.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::YouTubeSettings;
use super::api::TokenRequest;
use super::classify::classify_token_error;
use super::error::PlatformError;
use super::responses::TokenResponse;
use super::session::RESUME_INCOMPLETE;
use crate::platform::auth::TokenVerdict;
use crate::platform::http::{ApiResponse, Http};
use crate::platform::token_provider::{Refreshed, Refresher, TokenConfig, TokenProvider};
use crate::platform::{PublishContext, PublishError, unexpected_response};
use crate::post::Platform;
use crate::store::TokenStore;

/// A token is refreshed this long before it expires.
const TOKEN_MARGIN: TimeDelta = TimeDelta::minutes(2);

pub(super) fn token_provider(settings: &YouTubeSettings, http: &Http, store: Arc<dyn TokenStore>) -> TokenProvider {
    let config = TokenConfig {
        platform: Platform::YouTubeShorts,
        account: settings.client_id.clone(),
        access_token: None,
        refresh_token: Some(settings.refresh_token.clone()),
        margin: TOKEN_MARGIN,
        advice: "renew YOUTUBE_REFRESH_TOKEN",
        lock: TokenConfig::lock_for(http.timeout()),
    };
    let refresher = GoogleRefresher {
        http: http.clone(),
        url: settings.token_url.clone(),
        client_id: settings.client_id.clone(),
        client_secret: settings.client_secret.clone(),
    };
    TokenProvider::new(config, Some(Box::new(refresher)), store)
}

pub(super) fn token_verdict(response: &ApiResponse) -> TokenVerdict {
    let error = PlatformError::of_api(response).unwrap_or_default();
    verdict(response.status, &error.reason)
}

fn verdict(status: u16, reason: &str) -> TokenVerdict {
    match status {
        200..300 | RESUME_INCOMPLETE => TokenVerdict::Accepted,
        // An account without a channel is refused with 401 too; a new token does not help it.
        401 if reason != "youtubeSignupRequired" => TokenVerdict::Rejected,
        _ => TokenVerdict::Unknown,
    }
}

/// Gets new access tokens. The refresh token normally stays the same.
#[derive(Debug)]
struct GoogleRefresher {
    http: Http,
    url: Url,
    client_id: String,
    client_secret: SecretString,
}

#[async_trait]
impl Refresher for GoogleRefresher {
    async fn refresh(&self, with: &SecretString, context: &dyn PublishContext) -> Result<Refreshed, PublishError> {
        let step = "refresh the access token";
        let form = TokenRequest {
            client_id: &self.client_id,
            client_secret: self.client_secret.expose_secret(),
            grant_type: "refresh_token",
            refresh_token: with.expose_secret(),
        };
        let request = self.http.post(self.url.clone()).form(&form);
        let sent = self.http.send(request, context).await;
        let response = sent.map_err(|error| error.into_retryable(Platform::YouTubeShorts, step))?;
        let given: TokenResponse = response.parse().unwrap_or_default();
        match given.access_token {
            Some(token) if response.is_success() => Ok(Refreshed {
                access_token: SecretString::from(token),
                expires_in: given.expires_in,
                refresh_token: given.refresh_token.map(SecretString::from),
                refresh_expires_in: given.refresh_token_expires_in,
            }),
            _ if response.is_success() => {
                Err(unexpected_response(Platform::YouTubeShorts, step, response.status).into())
            }
            _ => {
                let error = PlatformError::of_token_endpoint(&response);
                let failure = classify_token_error(step, response.status, error.as_ref());
                Err(failure.retry_at(response.retry_after(context.now())).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_401_that_is_not_about_a_missing_channel_rejects_the_token() {
        for (status, reason, expected) in [
            (200, "", TokenVerdict::Accepted),
            (201, "", TokenVerdict::Accepted),
            (308, "", TokenVerdict::Accepted),
            (401, "authError", TokenVerdict::Rejected),
            (401, "", TokenVerdict::Rejected),
            (401, "youtubeSignupRequired", TokenVerdict::Unknown),
            (302, "", TokenVerdict::Unknown),
            (403, "forbidden", TokenVerdict::Unknown),
            (404, "", TokenVerdict::Unknown),
            (503, "backendError", TokenVerdict::Unknown),
        ] {
            assert_eq!(verdict(status, reason), expected, "{status} {reason}");
        }
    }
}
