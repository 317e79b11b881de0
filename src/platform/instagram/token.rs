//! The account's token, which can be exchanged for a fresh one until it expires: "Long-Lived Access Tokens" on
//! <https://developers.facebook.com>.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};

use super::InstagramSettings;
use super::api::refusal_of;
use super::classify::classify_read;
use super::wire::{ExchangedToken, graph_error};
use crate::platform::http::Http;
use crate::platform::token_provider::{Refreshed, Refresher, TokenConfig, TokenProvider};
use crate::platform::{Origin, PublishContext, PublishError, unexpected_response};
use crate::post::Platform;
use crate::store::TokenStore;

/// A token lives for two months and is exchanged this long before its end.
const TOKEN_MARGIN: TimeDelta = TimeDelta::days(10);

/// The tokens of the account that the settings name. Without the credentials of an app they are never exchanged.
pub(super) fn token_provider(settings: &InstagramSettings, http: &Http, store: Arc<dyn TokenStore>) -> TokenProvider {
    let credentials = &settings.credentials;
    let config = TokenConfig {
        platform: Platform::Instagram,
        account: credentials.user_id.clone(),
        access_token: Some(credentials.access_token.clone()),
        refresh_token: None,
        margin: TOKEN_MARGIN,
        advice: "renew INSTAGRAM_ACCESS_TOKEN",
        lock: TokenConfig::lock_for(http.timeout()),
    };
    let refresher = credentials.app.as_ref().map(|(app_id, app_secret)| -> Box<dyn Refresher> {
        Box::new(InstagramRefresher {
            http: http.clone(),
            api: settings.api.clone(),
            version: settings.version.clone(),
            app_id: app_id.clone(),
            app_secret: app_secret.clone(),
        })
    });
    TokenProvider::new(config, refresher, store)
}

#[derive(Debug)]
struct InstagramRefresher {
    http: Http,
    api: Origin,
    version: String,
    app_id: String,
    app_secret: SecretString,
}

#[async_trait]
impl Refresher for InstagramRefresher {
    async fn refresh(&self, with: &SecretString, context: &dyn PublishContext) -> Result<Refreshed, PublishError> {
        let step = "exchange the access token";
        let query = [
            ("grant_type", "fb_exchange_token"),
            ("client_id", self.app_id.as_str()),
            ("client_secret", self.app_secret.expose_secret()),
            ("fb_exchange_token", with.expose_secret()),
        ];
        let url = self.api.at_segments(&[&self.version, "oauth", "access_token"]);
        let request = self.http.get(url).query(&query);
        let sent = self.http.send(request, context).await;
        let response = sent.map_err(|error| error.into_retryable(Platform::Instagram, step))?;
        if !response.is_success() || graph_error(&response).is_some() {
            return Err(refusal_of(step, &response, classify_read, context.now()).failure.into());
        }
        let token: ExchangedToken =
            response.parse().ok_or_else(|| unexpected_response(Platform::Instagram, step, response.status))?;
        Ok(Refreshed {
            access_token: SecretString::from(token.access_token),
            expires_in: token.expires_in,
            refresh_token: None,
            refresh_expires_in: None,
        })
    }
}
