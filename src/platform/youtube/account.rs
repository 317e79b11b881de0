//! The channel's sign-in at Google.

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::classify::classify;
use crate::platform::http::Http;
use crate::platform::tokens::{Refreshed, Refresher};
use crate::platform::{PublishContext, PublishError};
use crate::post::Platform;

/// Gets new access tokens; the refresh token stays the same.
#[derive(Debug)]
pub(super) struct GoogleRefresher {
    pub(super) http: Http,
    pub(super) url: Url,
    pub(super) client_id: String,
    pub(super) client_secret: SecretString,
}

#[async_trait]
impl Refresher for GoogleRefresher {
    async fn refresh(&self, with: &SecretString, context: &dyn PublishContext) -> Result<Refreshed, PublishError> {
        let step = "renew the token";
        let form = [
            ("client_id", self.client_id.as_str()),
            ("client_secret", self.client_secret.expose_secret()),
            ("grant_type", "refresh_token"),
            ("refresh_token", with.expose_secret()),
        ];
        let request = self.http.post(self.url.clone()).form(&form);
        let sent = self.http.send(request, context).await;
        let response = sent.map_err(|error| error.into_retryable(Platform::YouTubeShorts, step))?;
        let json = response.json();
        match json["access_token"].as_str() {
            Some(token) if response.is_success() => Ok(Refreshed {
                access_token: SecretString::from(token),
                expires_in: json["expires_in"].as_i64(),
                refresh_token: json["refresh_token"].as_str().map(SecretString::from),
                refresh_expires_in: json["refresh_token_expires_in"].as_i64(),
            }),
            _ => Err(classify(step, response.status, &json, context.now()).into()),
        }
    }
}
