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
use super::http::{Answer, Http, SendError};
use super::media::AssetStore;
use super::patience::{Look, Patience, PollSettings};
use super::tokens::{TokenKeeper, TokenSource};
use super::{Attempt, Halt, Origin, PublishError, Publisher, Pursued, SignInEnd, TicketAge, Tools};
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
    tokens: TokenKeeper,
}

/// Why a call of the API has no result.
enum CallError {
    Send(SendError),
    Refused { failure: Failure, graph: GraphCode },
    Stopped(PublishError),
}

impl CallError {
    /// As the failure of a step that can be taken again without harm.
    fn into_harmless(self, step: &str) -> PublishError {
        match self {
            Self::Send(error) => error.into_harmless(Platform::Instagram, step),
            Self::Refused { failure, .. } => failure.into(),
            Self::Stopped(error) => error,
        }
    }
}

impl InstagramPublisher {
    /// A publisher for one account.
    pub fn new(settings: &InstagramSettings, tools: &Tools) -> Self {
        let Tools { http, assets, poll, vault } = tools.clone();
        let credentials = &settings.credentials;
        let source = TokenSource {
            platform: Platform::Instagram,
            account: credentials.user_id.clone(),
            access_token: Some(credentials.access_token.clone()),
            refresh_token: None,
            margin: TOKEN_MARGIN,
            advice: "renew INSTAGRAM_ACCESS_TOKEN",
            lock: TokenSource::lock_for(http.timeout()),
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
        let tokens = TokenKeeper::new(source, refresher, vault);
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
        attempt: &dyn Attempt,
    ) -> Result<Value, CallError> {
        let mut token = self.tokens.access(attempt).await.map_err(CallError::Stopped)?;
        let mut is_renewed = self.settings.credentials.app.is_none();
        loop {
            let request = request().bearer_auth(token.expose_secret());
            let answer = self.http.send(request, attempt).await.map_err(CallError::Send)?;
            let json = answer.json();
            if answer.is_success() && json.is_object() && json["error"].is_null() {
                attempt.signed_in();
                return Ok(json);
            }
            let graph = GraphCode::of(&json);
            if graph.is_token_refused(answer.status) && !is_renewed {
                is_renewed = true;
                match self.tokens.replace(&token, attempt).await {
                    Ok(renewed) => {
                        token = renewed;
                        continue;
                    }
                    // A lapsed token cannot be exchanged; what the call itself was told says more.
                    Err(PublishError::Failed(_)) => {}
                    Err(halted) => return Err(CallError::Stopped(halted)),
                }
            }
            return Err(CallError::Refused { failure: refusal(step, &answer, graph, &json, attempt), graph });
        }
    }
}

fn refusal(step: &str, answer: &Answer, graph: GraphCode, json: &Value, attempt: &dyn Attempt) -> Failure {
    if answer.is_success() && json["error"].is_null() {
        return misunderstood(step, answer.status);
    }
    let message = json["error"]["message"].as_str().unwrap_or_default();
    let now = attempt.now();
    let at = regains_access_at(answer, now).or_else(|| answer.retry_after(now));
    classify(step, answer.status, graph, message).retry_at(at)
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

    async fn sign_in_end(&self) -> Result<Option<SignInEnd>, Halt> {
        self.tokens.sign_in_end().await
    }

    async fn open(&self, post: &Post, attempt: &dyn Attempt) -> Result<Ticket, PublishError> {
        self.create(post, attempt).await
    }

    async fn pursue(
        &self,
        post: &Post,
        mut ticket: Ticket,
        age: TicketAge,
        attempt: &dyn Attempt,
    ) -> Result<Pursued, PublishError> {
        let TicketHandle::InstagramContainer { container_id, upload_uri, size } = ticket.handle.clone() else {
            return Ok(Pursued::Dead);
        };
        let container = Container { id: &container_id, is_reel: size.is_some() };
        let reel = upload_uri.zip(size);
        if let (TicketAge::Fresh, Some((uri, size))) = (age, &reel) {
            self.upload(post, container, uri, *size, 0, attempt).await?;
        }
        let mut is_first_look = age == TicketAge::Stored;
        let mut patience = Patience::new(self.poll);
        loop {
            match self.state(container, attempt).await? {
                State::Published => return self.recovered(post, &ticket, attempt).await,
                State::Finished if ticket.is_committed() => {
                    let unanswered = Failure::new(
                        Category::Network,
                        "an earlier publish at Instagram was not answered; the container is read again",
                    );
                    return match self.settle(container, attempt, &unanswered).await? {
                        Settled::Published => self.recovered(post, &ticket, attempt).await,
                        Settled::NotPublished => self.publish(post, &mut ticket, container, attempt).await,
                        Settled::Moved(State::Failed(failure)) => Err(failure.into()),
                        Settled::Moved(State::Processing { .. }) => Err(still_processing().into()),
                        Settled::Moved(_) => self.unreadable(post, &ticket, &unanswered, attempt).await,
                    };
                }
                State::Finished => return self.publish(post, &mut ticket, container, attempt).await,
                State::Failed(failure) => {
                    let was_under_way = post.retry.category == Some(Category::Processing);
                    let is_hopeless = failure.retryable == Retryable::No;
                    // An earlier attempt's failure has been counted; a new container may follow at once.
                    if is_first_look && !was_under_way && !is_hopeless {
                        return Ok(Pursued::Dead);
                    }
                    return Err(failure.into());
                }
                State::Expired => {
                    let expired = Failure::new(Category::Network, "the container has expired");
                    return self.unreadable(post, &ticket, &expired, attempt).await;
                }
                State::Unreadable(failure) => return self.unreadable(post, &ticket, &failure, attempt).await,
                State::Processing { uploaded: Some(bytes) } => match &reel {
                    Some((uri, size)) if is_first_look && bytes < *size => {
                        self.upload(post, container, uri, *size, bytes, attempt).await?;
                    }
                    Some(_) => {}
                    // Only the application knew where the bytes go; without them nothing can be published.
                    None if !ticket.is_committed() => return Ok(Pursued::Dead),
                    None => {}
                },
                State::Processing { uploaded: None } => {}
            }
            is_first_look = false;
            if patience.wait(attempt).await == Look::Enough {
                return Err(still_processing().into());
            }
        }
    }
}
