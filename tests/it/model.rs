//! The protocol of claims and tickets against a model that counts publishes: two workers, every interleaving, crashes,
//! claims that run out, and late writes.
//!
//! The decisions are the program's own ([`AttemptStart::decide`], [`RetryPolicy::eligibility`], [`settle`]); the store
//! and the platform are as small as they can be. A platform makes a post public once per ticket, when its last step
//! arrives; a step that was on its way when its worker died may still arrive, at any time.

use chrono::{DateTime, TimeDelta, Utc};
use postretry::post::{
    AttemptEnd, AttemptStart, Category, Claim, ClaimedPost, Eligibility, Failure, Platform, Post, PostDraft, PostId,
    Publication, RetryPolicy, Ticket, settle,
};
use proptest::prelude::*;
use serde_json::json;

/// How long a claim lasts, in the model's ticks of one second.
const CLAIM: i64 = 10;

/// What happens next.
#[derive(Debug, Clone, Copy)]
enum Move {
    /// A worker takes its next step.
    Step(usize),
    /// A worker dies; what it was about to send may be on its way.
    Crash(usize),
    /// Time passes.
    Wait(i64),
    /// Something that was on its way arrives.
    Arrive,
    /// The next request of a worker is lost: with its effect, or before it.
    Lose(usize, bool),
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        12 => (0usize..2).prop_map(Move::Step),
        1 => (0usize..2).prop_map(Move::Crash),
        3 => (1i64..15).prop_map(Move::Wait),
        1 => Just(Move::Arrive),
        1 => (0usize..2, any::<bool>()).prop_map(|(worker, effect)| Move::Lose(worker, effect)),
    ]
}

/// Where a worker stands.
#[derive(Debug, Clone)]
enum Worker {
    Idle,
    /// It has read the post and means to claim it.
    Read(Box<Post>),
    /// It has claimed it and looks its ticket up, or asks for one.
    Claimed(Box<ClaimedPost>),
    /// It has a ticket in hand and has not stored it.
    Opened(Box<ClaimedPost>, Ticket),
    /// The ticket is stored.
    Ticketed(Box<ClaimedPost>, Ticket),
    /// That the last step is about to be taken is stored too.
    Committed(Box<ClaimedPost>, Ticket),
    /// It knows how the attempt ended.
    Ended(Box<ClaimedPost>, AttemptEnd),
}

/// The store and the platform.
struct World {
    now: DateTime<Utc>,
    post: Option<Post>,
    posted: bool,
    published: Vec<String>,
    tickets: u32,
    on_its_way: Vec<String>,
    policy: RetryPolicy,
}

impl World {
    fn holds(&self, by: &str) -> bool {
        let claim = self.post.as_ref().and_then(|post| post.retry.claim.as_ref());
        claim.is_some_and(|claim| claim.by == by && claim.is_live(self.now))
    }

    /// The last step arrives: a ticket becomes a post, once however often it arrives.
    fn arrive(&mut self, ticket: &str) {
        if !self.published.iter().any(|known| known == ticket) {
            self.published.push(ticket.to_owned());
        }
    }

    fn store_ticket(&mut self, by: &str, ticket: &Ticket) -> bool {
        let holds = self.holds(by);
        if let Some(post) = self.post.as_mut().filter(|_| holds) {
            post.retry.ticket = Some(ticket.clone());
        }
        holds
    }
}

fn name(ticket: &Ticket) -> String {
    ticket.payload["publishId"].as_str().unwrap().to_owned()
}

/// One step of a worker; what a lost request means is for the platform's last step only.
#[expect(clippy::too_many_lines, reason = "the protocol reads best in one piece")]
fn step(world: &mut World, worker: &mut Worker, id: usize, serial: usize, lost: Option<bool>) {
    *worker = match std::mem::replace(worker, Worker::Idle) {
        Worker::Idle => match &world.post {
            Some(post) if matches!(world.policy.eligibility(post, world.now), Eligibility::Due(_)) => {
                Worker::Read(Box::new(post.clone()))
            }
            _ => Worker::Idle,
        },
        Worker::Read(read) => {
            let start = AttemptStart::decide(&read, world.now, "host");
            let by = format!("worker-{id}-{serial}");
            let now = world.now;
            let same = |post: &Post| {
                post.retry.count == read.retry.count
                    && post.retry.last_retried_at == read.retry.last_retried_at
                    && post.retry.claim == read.retry.claim
                    && !post.retry.permanently_failed
                    && post.retry.claim.as_ref().is_none_or(|claim| !claim.is_live(now))
            };
            match world.post.as_mut().filter(|post| same(post)) {
                None => Worker::Idle,
                Some(post) => {
                    post.retry.count = start.attempt;
                    post.retry.last_retried_at = Some(now);
                    post.retry.claim = Some(Claim { by: by.clone(), until: now + TimeDelta::seconds(CLAIM) });
                    if let Some(entry) = &start.entry {
                        if start.replaces_last {
                            post.retry.history.pop();
                        }
                        post.retry.history.push(entry.clone());
                    }
                    Worker::Claimed(Box::new(ClaimedPost {
                        post: post.clone(),
                        claim_by: by,
                        start,
                        host: "host".into(),
                        last_retried_before: read.retry.last_retried_at,
                    }))
                }
            }
        }
        // Every request asks first whether the claim stands; who has lost it sends nothing.
        Worker::Claimed(work) | Worker::Opened(work, _) | Worker::Ticketed(work, _) | Worker::Committed(work, _)
            if !world.holds(&work.claim_by) =>
        {
            drop(work);
            Worker::Idle
        }
        Worker::Claimed(work) if work.start.exceeds_interruptions() => {
            Worker::Ended(work, AttemptEnd::Failed(Failure::new(Category::Interrupted, "x")))
        }
        Worker::Claimed(work) => match work.post.retry.ticket.clone() {
            Some(ticket) if world.published.contains(&name(&ticket)) => {
                Worker::Ended(work, AttemptEnd::Posted(Publication::default()))
            }
            Some(ticket) => Worker::Ticketed(work, ticket),
            None => {
                world.tickets += 1;
                let payload = json!({ "publishId": format!("ticket-{}", world.tickets) });
                Worker::Opened(work, Ticket::new(Platform::TikTok, world.now, payload))
            }
        },
        Worker::Opened(work, ticket) => {
            if world.store_ticket(&work.claim_by, &ticket) {
                Worker::Ticketed(work, ticket)
            } else {
                Worker::Idle
            }
        }
        Worker::Ticketed(work, ticket) => {
            let ticket = ticket.committed(world.now);
            if world.store_ticket(&work.claim_by, &ticket) { Worker::Committed(work, ticket) } else { Worker::Idle }
        }
        Worker::Committed(mut work, ticket) => {
            work.post.retry.ticket = Some(ticket.clone());
            let ended = match lost {
                None => {
                    world.arrive(&name(&ticket));
                    AttemptEnd::Posted(Publication::default())
                }
                Some(took_effect) => {
                    if took_effect {
                        world.arrive(&name(&ticket));
                    }
                    AttemptEnd::Failed(Failure::new(Category::Network, "lost"))
                }
            };
            Worker::Ended(work, ended)
        }
        Worker::Ended(work, end) => {
            if world.holds(&work.claim_by) {
                let is_posted = matches!(end, AttemptEnd::Posted(_));
                let settlement = settle(&work, &world.policy, end, world.now);
                let post = world.post.take().unwrap();
                if is_posted {
                    world.posted = true;
                } else {
                    world.post = Some(settlement.applied_to(post));
                }
            }
            Worker::Idle
        }
    };
}

/// A history: whatever happens, at most one publish; and once nothing disturbs, exactly one.
fn play(history: &[Move]) -> Result<(), TestCaseError> {
    let mut draft = PostDraft::new(PostId::from_text("1"));
    draft.platform = Some("tiktok".to_owned());
    let mut world = World {
        now: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
        post: Some(draft.check().unwrap()),
        posted: false,
        published: Vec::new(),
        tickets: 0,
        on_its_way: Vec::new(),
        policy: RetryPolicy { max_retries: 1000, ..RetryPolicy::default() },
    };
    // So many retries do not wait: a post without dates is due at once, and an absurd backoff is none of this model's.
    let undated = |world: &mut World| {
        if let Some(post) = world.post.as_mut() {
            post.updated_at = None;
        }
    };
    let mut workers = [Worker::Idle, Worker::Idle];
    for (serial, happens) in history.iter().enumerate() {
        undated(&mut world);
        match *happens {
            Move::Step(id) => step(&mut world, &mut workers[id], id, serial, None),
            Move::Lose(id, effect) => step(&mut world, &mut workers[id], id, serial, Some(effect)),
            Move::Crash(id) => {
                if let Worker::Committed(work, ticket) = &workers[id]
                    && world.holds(&work.claim_by)
                {
                    world.on_its_way.push(name(ticket));
                }
                workers[id] = Worker::Idle;
            }
            Move::Wait(seconds) => world.now += TimeDelta::seconds(seconds),
            Move::Arrive => {
                if let Some(ticket) = world.on_its_way.pop() {
                    world.arrive(&ticket);
                }
            }
        }
        prop_assert!(world.published.len() <= 1, "published twice: {:?}", world.published);
        prop_assert!(!world.posted || world.published.len() == 1, "posted and not published");
    }
    // Nothing disturbs any more: claims run out, and one worker goes on to the end.
    let mut serial = history.len();
    while !world.posted {
        undated(&mut world);
        serial += 1;
        prop_assert!(serial < history.len() + 200, "it is stuck: {:?}", world.post);
        if matches!(workers[0], Worker::Idle) {
            world.now += TimeDelta::seconds(CLAIM + 1);
        }
        step(&mut world, &mut workers[0], 0, serial, None);
    }
    for ticket in std::mem::take(&mut world.on_its_way) {
        world.arrive(&ticket);
    }
    prop_assert_eq!(world.published.len(), 1);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn in_every_history_a_post_is_published_once(history in proptest::collection::vec(moves(), 1..120)) {
        play(&history)?;
    }
}
