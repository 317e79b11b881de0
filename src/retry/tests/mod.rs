//! The engine with a store in memory, scripted platforms and tokio's paused clock: hours pass in milliseconds.

mod attempt;
mod dry_run;
mod faulty_store;
mod lease;
mod limits;
mod pass;
mod people;
mod retry_post;
mod run_record;
mod scripted_publisher;
mod stop;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use self::faulty_store::FaultyStore;
use self::scripted_publisher::ScriptedPublisher;
use super::{
    Event, Listener, PassConfig, PassOptions, PassReport, PlatformReport, Records, RetryContext, Shutdown, StoreClock,
    run_pass,
};
use crate::environment::Redactor;
use crate::platform::Publisher;
use crate::post::{Platform, Post, PostDraft, PostId, RetryPolicy, Ticket};
use crate::store::memory::InMemoryPostStore;
use crate::store::{PostStore, StoredPost};

/// The clock of this machine, of the store and of the platforms: it starts with the test and moves with tokio's.
#[derive(Debug, Clone, Copy)]
struct TestClock {
    started: Instant,
}

impl TestClock {
    fn start() -> Self {
        Self { started: Instant::now() }
    }

    fn elapsed(self) -> Duration {
        self.started.elapsed()
    }

    fn now(self) -> DateTime<Utc> {
        start_of_test() + self.elapsed()
    }
}

fn start_of_test() -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Remembers every event as a line of text.
#[derive(Debug, Default)]
struct RecordingListener {
    events: Mutex<Vec<String>>,
}

impl Listener for RecordingListener {
    fn notice(&self, event: &Event<'_>) {
        let line = match event {
            Event::Started { post, attempt } => format!("{} started, attempt {attempt}", post.id),
            Event::Sent { post, bytes, of } => format!("{} sent {bytes} of {of}", post.id),
            Event::Processing { .. } | Event::Waiting { .. } | Event::Due { .. } => return,
            Event::Left { post } => format!("{} left", post.id),
            Event::Ended { post, report } => format!("{} ended, {}", post.id, report.outcome),
        };
        self.events.lock().unwrap().push(line);
    }
}

/// A context to make passes with, and everything behind it: TikTok and Instagram are configured, YouTube is not.
struct TestBench {
    clock: TestClock,
    store: Arc<FaultyStore>,
    tiktok: Arc<ScriptedPublisher>,
    instagram: Arc<ScriptedPublisher>,
    listener: Arc<RecordingListener>,
    context: Arc<RetryContext>,
}

impl TestBench {
    /// Three posts at a time, no gap, claims of two minutes.
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// The same with other settings.
    async fn with(change: impl FnOnce(&mut RetryContext)) -> Self {
        let clock = TestClock::start();
        let store = Arc::new(FaultyStore::new(InMemoryPostStore::new(move || clock.now())));
        let post_store: Arc<dyn PostStore> = Arc::<FaultyStore>::clone(&store);
        let tiktok = Arc::new(ScriptedPublisher::new(Platform::TikTok, clock));
        let instagram = Arc::new(ScriptedPublisher::new(Platform::Instagram, clock));
        let listener = Arc::new(RecordingListener::default());
        let mut publishers: HashMap<Platform, Arc<dyn Publisher>> = HashMap::new();
        publishers.insert(Platform::TikTok, Arc::<ScriptedPublisher>::clone(&tiktok));
        publishers.insert(Platform::Instagram, Arc::<ScriptedPublisher>::clone(&instagram));
        let mut context = RetryContext {
            clock: StoreClock::from_local(Arc::new(move || clock.now()), post_store.as_ref()).await.unwrap(),
            store: post_store,
            publishers,
            host: "here".to_owned(),
            policy: RetryPolicy::default(),
            config: PassConfig {
                concurrency: 3,
                gap: Duration::ZERO,
                expire: None,
                claim: seconds(120),
                poll: seconds(1),
                wait: seconds(60),
            },
            shutdown: Shutdown::default(),
            listener: Arc::<RecordingListener>::clone(&listener),
            redactor: Redactor::default(),
        };
        change(&mut context);
        Self { clock, store, tiktok, instagram, listener, context: Arc::new(context) }
    }

    /// Adds a post, or puts it in the place of the one with its id.
    fn add(&self, post: Post) {
        self.store.memory.insert(StoredPost::Readable(Box::new(post)));
    }

    /// Adds due TikTok posts, the one that failed first at the beginning.
    fn add_due(&self, ids: &[&str]) {
        // They are stored in another order than they failed.
        for (age, id) in (0..).zip(ids.iter().rev()) {
            let mut post = due_post(id);
            post.failed_at = post.failed_at.map(|at| at - TimeDelta::seconds(age));
            self.add(post);
        }
    }

    /// A post as it is stored, failed or not.
    fn stored(&self, id: &str) -> Post {
        self.store.memory.get(id).unwrap().post.readable().unwrap().clone()
    }

    /// Whether the store has the post as published.
    fn is_posted(&self, id: &str) -> bool {
        self.store.memory.get(id).unwrap().status == "posted"
    }

    /// The number of the ticket that is stored with a post.
    fn ticket_number(&self, id: &str) -> Option<u64> {
        self.stored(id).retry.ticket.and_then(|ticket| ticket.payload["number"].as_u64())
    }

    /// A pass over everything, as fast as the settings allow.
    async fn run(&self) -> PassReport {
        self.run_with(&PassOptions::default()).await
    }

    async fn run_with(&self, options: &PassOptions) -> PassReport {
        run_pass(&self.context, options).await.unwrap()
    }

    fn events(&self) -> Vec<String> {
        self.listener.events.lock().unwrap().clone()
    }
}

/// A TikTok post that failed an hour and a half before the test began: its first retry is due, a second would not be.
fn due_post(id: &str) -> Post {
    due_post_on(Platform::TikTok, id)
}

fn due_post_on(platform: Platform, id: &str) -> Post {
    let mut draft = PostDraft::new(PostId::from_text(id));
    draft.platform = Some(platform.as_str().to_owned());
    draft.failed_at = Some(start_of_test() - TimeDelta::minutes(90));
    draft.check().unwrap()
}

/// A TikTok ticket of an earlier attempt.
fn earlier_ticket() -> Ticket {
    Ticket::new(Platform::TikTok, start_of_test() - TimeDelta::hours(1), serde_json::json!({ "number": 100 }))
}

/// The records of a report.
fn all<T: Clone + Serialize + DeserializeOwned>(records: &Records<T>) -> Vec<T> {
    records.iter().map(|record| record.unwrap().into_owned()).collect()
}

/// The attempts of a pass, in the order in which they ended.
fn outcomes(report: &PassReport) -> Vec<String> {
    all(&report.posts).iter().map(|post| format!("{} {}", post.id, post.outcome)).collect()
}

fn report_on(report: &PassReport, platform: Platform) -> &PlatformReport {
    report.platforms.iter().find(|entry| entry.platform == platform).unwrap()
}
