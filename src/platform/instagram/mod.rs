//! Instagram, by the Graph API's content publishing: facts of the vendor pages as of November 2026.
//!
//! A post is a *container* that is filled, processed, and made public by one call, `media_publish`. The ticket is the
//! container; the one step that cannot be taken back is that call. No error of it proves that nothing was published,
//! so after any error the container is read, twice with a pause before each, and only then is the same container
//! published again. Never a second container once the first may be public.

mod account;
mod classify;
mod container;
mod publish;
mod recovery;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use self::account::{InstagramRefresher, regains_access_at};
use self::classify::{GraphCode, classify};
use self::container::{Container, State};
use self::publish::Settled;
use super::http::{ApiResponse, Http, SendError};
use super::media::AssetStore;
use super::patience::{Look, Patience, PollSettings};
use super::tokens::{TokenConfig, TokenProvider};
use super::{
    AttemptAborted, CredentialExpiry, Origin, PublishContext, PublishError, Publisher, PublisherDeps, TicketAge,
    TicketOutcome,
};
use crate::post::{Category, Failure, Platform, Post, Retryable, Ticket, TicketHandle};

/// A token that lives two months is exchanged this long before its end.
const TOKEN_MARGIN: TimeDelta = TimeDelta::days(10);

/// How Instagram is spoken to.
#[derive(Debug, Clone)]
pub struct InstagramSettings {
    /// Where the Graph API is.
    pub api: Origin,
    /// Where reels are uploaded.
    pub upload: Origin,
    /// The version of the API, for example `v25.0`.
    pub version: String,
    /// How long to wait, twice, before an unanswered publish is believed not to have happened.
    pub settle: Duration,
    /// The account.
    pub credentials: InstagramCredentials,
}

/// How the account is signed in to.
#[derive(Debug, Clone)]
pub struct InstagramCredentials {
    /// The professional account's id.
    pub user_id: String,
    /// A long-lived token.
    pub access_token: SecretString,
    /// Id and secret of the app, with which the token can be exchanged for a fresh one.
    pub app: Option<(String, SecretString)>,
}

/// Publishes on Instagram.
#[derive(Debug)]
pub struct InstagramPublisher {
    settings: InstagramSettings,
    http: Http,
    assets: Arc<AssetStore>,
    poll: PollSettings,
    tokens: TokenProvider,
}

/// Why a call of the API has no result.
enum CallError {
    Send(SendError),
    Refused { failure: Failure, graph: GraphCode },
    Stopped(PublishError),
}

impl CallError {
    /// As the failure of a step that can be taken again without harm.
    fn into_retryable(self, step: &str) -> PublishError {
        match self {
            Self::Send(error) => error.into_retryable(Platform::Instagram, step),
            Self::Refused { failure, .. } => failure.into(),
            Self::Stopped(error) => error,
        }
    }
}

impl InstagramPublisher {
    /// A publisher for one account.
    pub fn new(settings: &InstagramSettings, tools: &PublisherDeps) -> Self {
        let PublisherDeps { http, assets, poll, vault } = tools.clone();
        let credentials = &settings.credentials;
        let source = TokenConfig {
            platform: Platform::Instagram,
            account: credentials.user_id.clone(),
            access_token: Some(credentials.access_token.clone()),
            refresh_token: None,
            margin: TOKEN_MARGIN,
            advice: "renew INSTAGRAM_ACCESS_TOKEN",
            lock: TokenConfig::lock_for(http.timeout()),
        };
        let refresher = credentials.app.as_ref().map(|(app_id, app_secret)| {
            Box::new(InstagramRefresher {
                http: http.clone(),
                api: settings.api.clone(),
                version: settings.version.clone(),
                app_id: app_id.clone(),
                app_secret: app_secret.clone(),
            }) as _
        });
        let tokens = TokenProvider::new(source, refresher, vault);
        Self { settings: settings.clone(), http, assets, poll, tokens }
    }

    fn url(&self, path: &str) -> url::Url {
        self.settings.api.at(&format!("/{}/{path}", self.settings.version))
    }

    fn of_account(&self, edge: &str) -> url::Url {
        self.url(&format!("{}/{edge}", self.settings.credentials.user_id))
    }

    /// Calls the API; a token that is refused is renewed once, where it can be.
    async fn call(
        &self,
        step: &str,
        request: impl Fn() -> RequestBuilder + Send,
        context: &dyn PublishContext,
    ) -> Result<Value, CallError> {
        let mut token = self.tokens.access(context).await.map_err(CallError::Stopped)?;
        let mut is_renewed = self.settings.credentials.app.is_none();
        loop {
            let request = request().bearer_auth(token.expose_secret());
            let response = self.http.send(request, context).await.map_err(CallError::Send)?;
            let json = response.json();
            if response.is_success() && json.is_object() && json["error"].is_null() {
                context.token_accepted();
                return Ok(json);
            }
            let graph = GraphCode::of(&json);
            if graph.is_token_refused(response.status) && !is_renewed {
                is_renewed = true;
                match self.tokens.replace(&token, context).await {
                    Ok(renewed) => {
                        token = renewed;
                        continue;
                    }
                    // A lapsed token cannot be exchanged; what the call itself was told says more.
                    Err(PublishError::Failed(_)) => {}
                    Err(aborted) => return Err(CallError::Stopped(aborted)),
                }
            }
            return Err(CallError::Refused { failure: refusal(step, &response, graph, &json, context), graph });
        }
    }
}

fn refusal(
    step: &str,
    response: &ApiResponse,
    graph: GraphCode,
    json: &Value,
    context: &dyn PublishContext,
) -> Failure {
    if response.is_success() && json["error"].is_null() {
        return misunderstood(step, response.status);
    }
    let message = json["error"]["message"].as_str().unwrap_or_default();
    let now = context.now();
    let at = regains_access_at(response, now).or_else(|| response.retry_after(now));
    classify(step, response.status, graph, message).retry_at(at)
}

fn still_processing() -> Failure {
    let text = "Instagram has the post and is still processing it; the next pass looks again";
    Failure::new(Category::Processing, text)
}

fn misunderstood(step: &str, status: u16) -> Failure {
    let text = format!("Instagram answered HTTP {status} to {step} with something that is not understood");
    Failure::new(Category::Unknown, text)
}

#[async_trait]
impl Publisher for InstagramPublisher {
    fn platform(&self) -> Platform {
        Platform::Instagram
    }

    async fn credential_expiry(&self) -> Result<Option<CredentialExpiry>, AttemptAborted> {
        self.tokens.credential_expiry().await
    }

    async fn create_ticket(&self, post: &Post, context: &dyn PublishContext) -> Result<Ticket, PublishError> {
        self.create(post, context).await
    }

    async fn resume_publish(
        &self,
        post: &Post,
        mut ticket: Ticket,
        age: TicketAge,
        context: &dyn PublishContext,
    ) -> Result<TicketOutcome, PublishError> {
        let TicketHandle::InstagramContainer { container_id, upload_uri, size } = ticket.handle.clone() else {
            return Ok(TicketOutcome::Dead);
        };
        let container = Container { id: &container_id, is_reel: size.is_some() };
        let reel = upload_uri.zip(size);
        if let (TicketAge::Fresh, Some((uri, size))) = (age, &reel) {
            self.upload(post, container, uri, *size, 0, context).await?;
        }
        let mut is_first_look = age == TicketAge::Stored;
        let mut patience = Patience::new(self.poll);
        loop {
            match self.state(container, context).await? {
                State::Published => return self.recovered(post, &ticket, context).await,
                State::Finished if ticket.is_committed() => {
                    let unanswered = Failure::new(
                        Category::Network,
                        "an earlier publish at Instagram was not answered; the container is read again",
                    );
                    return match self.settle(container, context, &unanswered).await? {
                        Settled::Published => self.recovered(post, &ticket, context).await,
                        Settled::NotPublished => self.publish(post, &mut ticket, container, context).await,
                        Settled::Moved(State::Failed(failure)) => Err(failure.into()),
                        Settled::Moved(State::Processing { .. }) => Err(still_processing().into()),
                        Settled::Moved(_) => self.unreadable(post, &ticket, &unanswered, context).await,
                    };
                }
                State::Finished => return self.publish(post, &mut ticket, container, context).await,
                State::Failed(failure) => {
                    let was_under_way = post.retry.category == Some(Category::Processing);
                    let is_hopeless = failure.retryable == Retryable::No;
                    // An earlier attempt's failure has been counted; a new container may follow at once.
                    if is_first_look && !was_under_way && !is_hopeless {
                        return Ok(TicketOutcome::Dead);
                    }
                    return Err(failure.into());
                }
                State::Expired => {
                    let expired = Failure::new(Category::Network, "the container has expired");
                    return self.unreadable(post, &ticket, &expired, context).await;
                }
                State::Unreadable(failure) => return self.unreadable(post, &ticket, &failure, context).await,
                State::Processing { uploaded: Some(bytes) } => match &reel {
                    Some((uri, size)) if is_first_look && bytes < *size => {
                        self.upload(post, container, uri, *size, bytes, context).await?;
                    }
                    Some(_) => {}
                    // Only the application knew where the bytes go; without them nothing can be published.
                    None if !ticket.is_committed() => return Ok(TicketOutcome::Dead),
                    None => {}
                },
                State::Processing { uploaded: None } => {}
            }
            is_first_look = false;
            if patience.wait(context).await == Look::Enough {
                return Err(still_processing().into());
            }
        }
    }
}
