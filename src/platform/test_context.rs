//! For unit tests of publishers' parts: a context whose lease never ends, and a plain post.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{AttemptAborted, LeaseCheck, PublishContext};
use crate::environment::ScopedSecret;
use crate::post::{Platform, Post, PostDraft, PostId, Ticket};

/// Remembers the tickets that were saved; its clock stands at the start of 2026 and moves with tokio's.
#[derive(Debug)]
pub(super) struct TestContext {
    started: tokio::time::Instant,
    pub(super) saved: Mutex<Vec<Ticket>>,
}

impl Default for TestContext {
    fn default() -> Self {
        Self { started: tokio::time::Instant::now(), saved: Mutex::default() }
    }
}

#[async_trait]
impl PublishContext for TestContext {
    fn now(&self) -> DateTime<Utc> {
        DateTime::<Utc>::from_timestamp(1_767_225_600, 0).unwrap() + self.started.elapsed()
    }

    fn lease_check(&self) -> LeaseCheck {
        Arc::new(|| true)
    }

    async fn ensure_lease(&self) -> Result<(), AttemptAborted> {
        Ok(())
    }

    async fn ensure_may_send(&self) -> Result<(), AttemptAborted> {
        Ok(())
    }

    async fn save_ticket(&self, ticket: &Ticket) -> Result<(), AttemptAborted> {
        self.saved.lock().unwrap().push(ticket.clone());
        Ok(())
    }

    async fn drop_ticket(&self) -> Result<(), AttemptAborted> {
        self.saved.lock().unwrap().clear();
        Ok(())
    }

    async fn is_recorded(&self, _id: &str) -> Result<bool, AttemptAborted> {
        Ok(false)
    }

    fn add_secret(&self, _secret: ScopedSecret) {}

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn token_accepted(&self) {}

    fn usage_exhausted(&self, _detail: String) {}

    fn platform_awaited(&self) {}

    fn bytes_sent(&self, _bytes: u64, _total: u64) {}
}

/// A failed post with nothing in it.
pub(super) fn post(platform: Platform) -> Post {
    let mut draft = PostDraft::new(PostId::from_text("p1"));
    draft.platform = Some(platform.as_str().to_owned());
    draft.check().unwrap()
}
