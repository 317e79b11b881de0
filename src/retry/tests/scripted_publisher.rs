//! A platform that does what a test has written down, and remembers what it was asked.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::TestClock;
use crate::platform::{CredentialExpiry, PublishContext, PublishError, Publisher, TicketAge, TicketOutcome};
use crate::post::{Category, Failure, Platform, Post, Publication, Ticket, TicketFate};
use crate::store::StoreError;

/// How many bytes every file has.
const FILE_SIZE: u64 = 10;

/// A step of a publish, as a publisher is asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// `create_ticket`
    Create,
    /// `resume_publish`
    Resume,
}

/// One thing that a publisher does within a step.
#[derive(Debug, Clone)]
pub(super) enum Act {
    Wait(Duration),
    AcceptToken,
    /// Stores that the next request may make the post public.
    CommitTicket,
    SendBytes(u64),
    /// Ends the step.
    Fail(Failure),
    /// Ends the step: nothing can come of the ticket.
    ReportDead,
    Panic,
}

/// A failure of this category.
pub(super) fn fail(category: Category) -> Act {
    Act::Fail(Failure::new(category, format!("scripted {category}")))
}

/// What is done in the steps of one kind, one after another.
type Script = VecDeque<Vec<Act>>;

/// Without a script every step succeeds at once.
#[derive(Debug)]
pub(super) struct ScriptedPublisher {
    platform: Platform,
    clock: TestClock,
    scripts: Mutex<HashMap<(Step, String), Script>>,
    otherwise: Mutex<HashMap<Step, Vec<Act>>>,
    calls: Mutex<Vec<(Duration, String)>>,
    /// The posts that are public, with the ticket that made them so.
    public: Mutex<Vec<(String, Value)>>,
    tickets: AtomicU64,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
    expiry: Mutex<Option<CredentialExpiry>>,
}

impl ScriptedPublisher {
    pub(super) fn new(platform: Platform, clock: TestClock) -> Self {
        Self {
            platform,
            clock,
            scripts: Mutex::default(),
            otherwise: Mutex::new(HashMap::from([(Step::Resume, vec![Act::AcceptToken])])),
            calls: Mutex::default(),
            public: Mutex::default(),
            tickets: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            most_in_flight: AtomicUsize::new(0),
            expiry: Mutex::default(),
        }
    }

    /// What the next such step of a post does.
    pub(super) fn on(&self, step: Step, post: &str, acts: impl Into<Vec<Act>>) {
        self.scripts.lock().unwrap().entry((step, post.to_owned())).or_default().push_back(acts.into());
    }

    /// What such a step does for which there is no script.
    pub(super) fn otherwise(&self, step: Step, acts: impl Into<Vec<Act>>) {
        self.otherwise.lock().unwrap().insert(step, acts.into());
    }

    /// When a person has to renew the credentials.
    pub(super) fn credentials_expire(&self, at: DateTime<Utc>) {
        self.credentials_expire_before(at, at);
    }

    /// The same, with an access token that lasts longer.
    pub(super) fn credentials_expire_before(&self, at: DateTime<Utc>, access_expires_at: DateTime<Utc>) {
        let advice = "renew TIKTOK_REFRESH_TOKEN";
        let expiry = CredentialExpiry { at, access_expires_at: Some(access_expires_at), advice };
        *self.expiry.lock().unwrap() = Some(expiry);
    }

    /// What it was asked, in this order.
    pub(super) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().iter().map(|(_, call)| call.clone()).collect()
    }

    /// When new tickets were asked for, in seconds since the test began.
    pub(super) fn starts(&self) -> Vec<String> {
        let calls = self.calls.lock().unwrap();
        let start = |(at, call): &(Duration, String)| {
            let post = call.strip_prefix("create ")?;
            Some(format!("{post} at {}", at.as_secs()))
        };
        calls.iter().filter_map(start).collect()
    }

    /// The posts that are public, in the order in which they became so; twice if they were published twice.
    pub(super) fn published(&self) -> Vec<String> {
        self.public.lock().unwrap().iter().map(|(post, _)| post.clone()).collect()
    }

    /// How many steps were under way at the same time at most.
    pub(super) fn most_in_flight(&self) -> usize {
        self.most_in_flight.load(Ordering::Relaxed)
    }

    /// What it says of a post that it has published.
    pub(super) fn publication(&self, post: &str) -> Publication {
        let id = format!("{}-{post}", self.platform);
        Publication { url: Some(format!("https://platform.test/{id}")), id: Some(id), warning: None }
    }

    fn begin(&self, step: Step, post: &Post, call: String) -> (Vec<Act>, StepInFlight<'_>) {
        self.calls.lock().unwrap().push((self.clock.elapsed(), call));
        let in_flight = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_in_flight.fetch_max(in_flight, Ordering::Relaxed);
        let key = (step, post.id.to_string());
        let scripted = self.scripts.lock().unwrap().get_mut(&key).and_then(VecDeque::pop_front);
        let otherwise = || self.otherwise.lock().unwrap().get(&step).cloned().unwrap_or_default();
        (scripted.unwrap_or_else(otherwise), StepInFlight(&self.in_flight))
    }

    async fn perform(
        &self,
        acts: Vec<Act>,
        ticket: &Ticket,
        context: &dyn PublishContext,
    ) -> Result<TicketFate, PublishError> {
        for act in acts {
            match act {
                Act::Wait(duration) => context.sleep(duration).await,
                Act::AcceptToken => context.token_accepted(),
                Act::CommitTicket => context.save_ticket(&ticket.clone().committed(context.now())).await?,
                Act::SendBytes(bytes) => context.bytes_sent(bytes, FILE_SIZE),
                Act::Fail(failure) => return Err(failure.into()),
                Act::ReportDead => return Ok(TicketFate::Dead),
                Act::Panic => panic!("a panic that the test has scripted"),
            }
        }
        Ok(TicketFate::Kept)
    }

    /// A ticket makes its post public once, however often it is carried to its end.
    fn publish(&self, post: &Post, ticket: Ticket) -> Publication {
        let mut public = self.public.lock().unwrap();
        let made_public = (post.id.to_string(), ticket.payload);
        if !public.contains(&made_public) {
            public.push(made_public);
        }
        self.publication(post.id.as_str())
    }
}

/// Counts a step that is under way until it ends or is broken off.
struct StepInFlight<'a>(&'a AtomicUsize);

impl Drop for StepInFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl Publisher for ScriptedPublisher {
    fn platform(&self) -> Platform {
        self.platform
    }

    async fn credential_expiry(&self) -> Result<Option<CredentialExpiry>, StoreError> {
        Ok(*self.expiry.lock().unwrap())
    }

    fn adopt_upload(&self, upload_id: &str, failed_at: DateTime<Utc>, now: DateTime<Utc>) -> Ticket {
        Ticket::from_application(self.platform, failed_at, now, json!({ "upload": upload_id }))
    }

    /// The caption alone.
    async fn fingerprint(&self, post: &Post) -> Result<String, PublishError> {
        Ok(post.content.caption_text().to_owned())
    }

    async fn create_ticket(&self, post: &Post, context: &dyn PublishContext) -> Result<Ticket, PublishError> {
        let (acts, _in_flight) = self.begin(Step::Create, post, format!("create {}", post.id));
        let number = self.tickets.fetch_add(1, Ordering::Relaxed) + 1;
        let ticket = Ticket::new(self.platform, context.now(), json!({ "number": number }))
            .with_fingerprint(Some(post.content.caption_text().to_owned()));
        self.perform(acts, &ticket, context).await?;
        Ok(ticket)
    }

    async fn resume_publish(
        &self,
        post: &Post,
        ticket: Ticket,
        age: TicketAge,
        context: &dyn PublishContext,
    ) -> Result<TicketOutcome, PublishError> {
        let age = match age {
            TicketAge::Fresh => "fresh",
            TicketAge::Stored => "stored",
        };
        let (acts, _in_flight) = self.begin(Step::Resume, post, format!("resume {}, {age}", post.id));
        match self.perform(acts, &ticket, context).await? {
            TicketFate::Dead => Ok(TicketOutcome::Dead),
            TicketFate::Kept => Ok(TicketOutcome::Published(self.publish(post, ticket))),
        }
    }
}
