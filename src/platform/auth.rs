//! Requests with the account's token. A token that the platform refuses is renewed once.

use std::ops::Range;
use std::sync::Arc;

use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};

use super::http::{ApiResponse, Http, SendError};
use super::media::MediaFile;
use super::token_provider::TokenProvider;
use super::{PublishContext, PublishError};
use crate::post::{Failure, Platform};

/// What a response says of the token that the request carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenVerdict {
    /// The platform accepted it.
    Accepted,
    /// The platform refused it, so nothing was done.
    Rejected,
    /// Neither can be told.
    Unknown,
}

/// Why a call has no result. `R` is what a platform says when it refuses.
#[derive(Debug)]
pub(super) enum CallError<R> {
    /// There is no response.
    Send(SendError),
    /// There is no usable token; the request was not sent.
    NoToken(PublishError),
    /// The platform refused.
    Refused(R),
}

impl<R: Into<Failure>> CallError<R> {
    /// As the failure of a step that can be taken again without harm.
    pub(super) fn into_retryable(self, platform: Platform, step: &str) -> PublishError {
        match self {
            Self::Send(error) => error.into_retryable(platform, step),
            Self::NoToken(error) => error,
            Self::Refused(refusal) => refusal.into().into(),
        }
    }
}

/// Sends requests with the account's token.
#[derive(Debug)]
pub(super) struct AuthorizedClient {
    http: Http,
    tokens: Arc<TokenProvider>,
    verdict: fn(&ApiResponse) -> TokenVerdict,
}

impl AuthorizedClient {
    /// `verdict` reads what a response of the platform says of the token.
    pub(super) fn new(
        http: Http,
        tokens: impl Into<Arc<TokenProvider>>,
        verdict: fn(&ApiResponse) -> TokenVerdict,
    ) -> Self {
        Self { http, tokens: tokens.into(), verdict }
    }

    /// For requests that carry no token, and for building those that do.
    pub(super) fn http(&self) -> &Http {
        &self.http
    }

    /// The account's tokens.
    pub(super) fn tokens(&self) -> &TokenProvider {
        &self.tokens
    }

    /// Sends a request with the token as `Authorization: Bearer`.
    pub(super) async fn send<R>(
        &self,
        request: impl Fn() -> RequestBuilder + Send + Sync,
        context: &dyn PublishContext,
    ) -> Result<ApiResponse, CallError<R>> {
        let request = |token: &SecretString| request().bearer_auth(token.expose_secret());
        self.send_renewing(&request, None, context).await
    }

    /// The same, but never a second time: for a request that may have taken effect although its token was refused. A
    /// refused token is renewed if it can be, and the caller finds out what became of the request.
    pub(super) async fn send_once<R>(
        &self,
        request: RequestBuilder,
        context: &dyn PublishContext,
    ) -> Result<ApiResponse, CallError<R>> {
        let token = self.tokens.access_token(context).await.map_err(CallError::NoToken)?;
        let request = request.bearer_auth(token.expose_secret());
        let response = self.http.send(request, context).await.map_err(CallError::Send)?;
        match (self.verdict)(&response) {
            TokenVerdict::Accepted => context.token_accepted(),
            TokenVerdict::Rejected => match self.tokens.renew(&token, context).await {
                Ok(_) => {}
                // The refusal of the request says what is wrong.
                Err(PublishError::Failed(failure)) => {
                    log::debug!("a refused token was not renewed: {}", failure.message);
                }
                Err(error) => return Err(CallError::NoToken(error)),
            },
            TokenVerdict::Unknown => {}
        }
        Ok(response)
    }

    /// Sends part of a file; `request` puts the token where the platform wants it.
    pub(super) async fn upload<R>(
        &self,
        request: impl Fn(&SecretString) -> RequestBuilder + Send + Sync,
        file: &MediaFile,
        range: Range<u64>,
        context: &dyn PublishContext,
    ) -> Result<ApiResponse, CallError<R>> {
        self.send_renewing(&request, Some((file, range)), context).await
    }

    async fn send_renewing<R>(
        &self,
        request: &(dyn Fn(&SecretString) -> RequestBuilder + Send + Sync),
        body: Option<(&MediaFile, Range<u64>)>,
        context: &dyn PublishContext,
    ) -> Result<ApiResponse, CallError<R>> {
        let mut token = self.tokens.access_token(context).await.map_err(CallError::NoToken)?;
        let mut is_renewed = false;
        loop {
            let request = request(&token);
            let sent = match &body {
                Some((file, range)) => self.http.upload(request, file, range.clone(), context).await,
                None => self.http.send(request, context).await,
            };
            let response = sent.map_err(CallError::Send)?;
            match (self.verdict)(&response) {
                TokenVerdict::Accepted => context.token_accepted(),
                // Where only the refused token itself could get a new one, the first refusal says more than a second.
                TokenVerdict::Rejected if !is_renewed => match self.tokens.renew(&token, context).await {
                    Ok(renewed) => {
                        token = renewed;
                        is_renewed = true;
                        continue;
                    }
                    Err(PublishError::Failed(_)) if !self.tokens.has_refresh_token() => {}
                    Err(error) => return Err(CallError::NoToken(error)),
                },
                TokenVerdict::Rejected | TokenVerdict::Unknown => {}
            }
            return Ok(response);
        }
    }
}
