//! A publisher whose failures contain no secret and are one safe line, and whose addresses of posts are those of its
//! platform, whatever that has answered.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::public_url::public_url;
use super::{CredentialExpiry, PublishContext, PublishError, Publisher, TicketAge, TicketOutcome};
use crate::environment::Redactor;
use crate::post::{Failure, MAX_ERROR_CHARS, Platform, Post, Ticket, TokenRecord};
use crate::store::{Lease, LeaseWrite, StoreError, TokenStore};

/// Scrubs and cuts every text that another publisher gives back. This is the one place where texts of platforms pass on
/// their way to the store, the reports and the alert.
#[derive(Debug)]
pub(super) struct RedactedPublisher {
    inner: Arc<dyn Publisher>,
    redactor: Redactor,
}

impl RedactedPublisher {
    pub(super) fn new(inner: Arc<dyn Publisher>, redactor: Redactor) -> Self {
        Self { inner, redactor }
    }

    fn clean(&self, failure: Failure) -> Failure {
        Failure {
            message: self.redactor.clean(&failure.message, MAX_ERROR_CHARS),
            advice: failure.advice.map(|advice| self.redactor.clean(&advice, MAX_ERROR_CHARS)),
            ..failure
        }
    }

    /// An upload address authorises the upload, so it is a secret. Each upload has its own, which matters only while an
    /// attempt uses it.
    fn add_addresses(&self, payload: &Value, context: &dyn PublishContext) {
        match payload {
            Value::String(text) if text.contains("://") => context.add_secret(self.redactor.add_scoped(text)),
            Value::Object(members) => members.values().for_each(|member| self.add_addresses(member, context)),
            _ => {}
        }
    }

    fn clean_error(&self, error: PublishError) -> PublishError {
        match error {
            PublishError::Failed(failure) => PublishError::Failed(self.clean(failure)),
            PublishError::Aborted(aborted) => PublishError::Aborted(aborted),
        }
    }
}

#[async_trait]
impl Publisher for RedactedPublisher {
    fn platform(&self) -> Platform {
        self.inner.platform()
    }

    async fn credential_expiry(&self) -> Result<Option<CredentialExpiry>, StoreError> {
        self.inner.credential_expiry().await
    }

    fn adopt_upload(&self, upload_id: &str, failed_at: DateTime<Utc>, now: DateTime<Utc>) -> Ticket {
        self.inner.adopt_upload(upload_id, failed_at, now)
    }

    async fn check(&self, post: &Post) -> Result<(), PublishError> {
        self.inner.check(post).await.map_err(|error| self.clean_error(error))
    }

    async fn fingerprint(&self, post: &Post) -> Result<String, PublishError> {
        self.inner.fingerprint(post).await.map_err(|error| self.clean_error(error))
    }

    async fn create_ticket(&self, post: &Post, context: &dyn PublishContext) -> Result<Ticket, PublishError> {
        let created = self.inner.create_ticket(post, context).await;
        if let Ok(ticket) = &created {
            self.add_addresses(&ticket.payload, context);
        }
        created.map_err(|error| self.clean_error(error))
    }

    async fn resume_publish(
        &self,
        post: &Post,
        ticket: Ticket,
        age: TicketAge,
        context: &dyn PublishContext,
    ) -> Result<TicketOutcome, PublishError> {
        self.add_addresses(&ticket.payload, context);
        match self.inner.resume_publish(post, ticket, age, context).await {
            Ok(TicketOutcome::Published(mut publication)) => {
                let url = publication.url.take();
                publication.url = url.and_then(|url| public_url(self.platform(), &url, &self.redactor));
                publication.warning = publication.warning.map(|text| self.redactor.clean(&text, MAX_ERROR_CHARS));
                Ok(TicketOutcome::Published(publication))
            }
            Ok(TicketOutcome::Dead) => Ok(TicketOutcome::Dead),
            Err(error) => Err(self.clean_error(error)),
        }
    }
}

/// A store of tokens that lets a redactor learn each token before it is used.
#[derive(Debug)]
pub(super) struct LearningTokenStore {
    inner: Arc<dyn TokenStore>,
    redactor: Redactor,
}

impl LearningTokenStore {
    pub(super) fn new(inner: Arc<dyn TokenStore>, redactor: Redactor) -> Self {
        Self { inner, redactor }
    }

    fn learn(&self, record: &TokenRecord) {
        self.redactor.add(record.access_token.expose_secret());
        if let Some(token) = &record.refresh_token {
            self.redactor.add(token.expose_secret());
        }
    }
}

#[async_trait]
impl TokenStore for LearningTokenStore {
    async fn load_token(&self, key: &str) -> Result<Option<TokenRecord>, StoreError> {
        let loaded = self.inner.load_token(key).await?;
        if let Some(record) = &loaded {
            self.learn(record);
        }
        Ok(loaded)
    }

    async fn lock_token(&self, key: &str, lease: &Lease) -> Result<LeaseWrite, StoreError> {
        self.inner.lock_token(key, lease).await
    }

    async fn save_token(&self, record: &TokenRecord, by: &str) -> Result<LeaseWrite, StoreError> {
        self.learn(record);
        self.inner.save_token(record, by).await
    }

    async fn unlock_token(&self, key: &str, by: &str) -> Result<(), StoreError> {
        self.inner.unlock_token(key, by).await
    }
}
