//! Requests that go wrong: no duplicate, and nothing lost.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use mongodb::bson::{Document, doc};
use postretry_sandbox::{Act, Fault};

use crate::genuine::Wire;
use crate::support::env::{Shape, TestEnv, hours_ago, sha256, video};
use crate::support::kinds::{KINDS, is_settled, post_of, renew_credentials_if_stranded, requests_of};

/// How a request and its answer can get lost.
fn losses() -> [Act; 5] {
    [
        Act::LoseRequest,
        Act::LoseAnswer,
        Act::Cut { after: 40_000 },
        Act::Garbage,
        // Longer than anyone waits for an answer.
        Act::Slow { ms: 1500 },
    ]
}

/// Lets one request of a publish get lost, and passes run until the post is settled.
async fn lose_at(kind: &'static str, shape: Shape, number: usize, endpoint: String, act: Act, wire: Wire) {
    let place = format!("{kind}, {shape:?}, request {number} ({endpoint}), {act:?}, {wire:?}");
    let mut env = TestEnv::reused().await.shaped(shape);
    wire.lay(&mut env).await;
    env.set("HTTP_TIMEOUT", "1s");
    env.sandbox.world().knobs.instagram_lag = 1;
    env.sandbox.fault(Fault::once("*", act).after(u32::try_from(number).unwrap()));
    let (platform, mut fields) = post_of(kind);
    fields.insert("failedAt", hours_ago(500));
    let id = env.post(platform, fields).await;
    let mut was_settled = false;
    for _ in 0..6 {
        let ran = env.run(&["run", "--format", "json"]).await;
        assert!(matches!(ran.code, 0 | 3), "{place}: {ran:?}");
        if renew_credentials_if_stranded(&env).await {
            assert_eq!(endpoint, "tiktok.token", "{place}");
        }
        // One more pass, which must not send it again.
        if was_settled {
            break;
        }
        was_settled = is_settled(&env.get(&id).await);
    }
    let (published, post) = (env.sandbox.published(), env.get(&id).await);
    assert_eq!(env.sandbox.world().violations, Vec::<String>::new(), "{place}");
    if endpoint == "tiktok.photo_init" && post.get_str("failureCategory").ok() == Some("ambiguous") {
        assert!(published.len() <= 1, "{place}: {post}");
        return;
    }
    assert_eq!(published.len(), 1, "{place}: {post}");
    assert_eq!(post.get_str("status").ok(), Some("posted"), "{place}: {post}");
    let is_upload = published[0].source_url.is_none();
    assert!(!is_upload || published[0].sha256 == sha256(&video(100_000, 1)), "{place}");
}

/// Every request of every kind of publish, and every way in which it or its answer can get lost: within a few passes
/// the post is published, once.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_gets_lost_on_the_way_the_post_is_published_once() {
    let mut places = Vec::new();
    for kind in KINDS {
        for (number, endpoint) in requests_of(kind).await.into_iter().enumerate() {
            places.extend(losses().map(|act| lose_at(kind, Shape::One, number, endpoint.clone(), act, Wire::Plain)));
            // What arrives late or is nonsense is that in either protocol.
            let torn = losses().into_iter().filter(|act| !matches!(act, Act::Garbage | Act::Slow { .. }));
            places.extend(torn.map(|act| lose_at(kind, Shape::One, number, endpoint.clone(), act, Wire::Multiplexed)));
            // What decides about a ticket is the same whatever the document's shape; where it is written is not.
            let lost = [Act::LoseRequest, Act::LoseAnswer];
            places.extend(lost.map(|act| lose_at(kind, Shape::Several, number, endpoint.clone(), act, Wire::Plain)));
        }
    }
    let count = places.len();
    stream::iter(places).buffer_unordered(10).collect::<Vec<()>>().await;
    println!("{count} losses");
}

/// The page of something in between, a gateway or a firewall, in place of the answer to one request of one post.
#[derive(Debug, Clone)]
struct ForeignAnswer {
    kind: &'static str,
    endpoint: String,
    /// How many requests of the post this endpoint has answered before.
    nth: u32,
    status: u16,
    /// Whether the request had its effect.
    is_after: bool,
    /// The endpoint whose answer was lost before.
    lost: Option<&'static str>,
}

/// The requests that make a post public.
const IRREVERSIBLE: [&str; 4] = ["tiktok.chunk", "tiktok.photo_init", "instagram.publish", "youtube.chunk"];

/// The requests that are for no post in particular, so that a fault of theirs cannot be laid for one of many posts.
const SHARED: [&str; 4] = ["tiktok.token", "google.token", "tiktok.creator_info", "instagram.limit"];

/// How many cases share a database and its passes.
const BATCH: usize = 25;

/// Those that are in use, and some of each class that are not.
fn many_statuses() -> Vec<u16> {
    let usual = usual_statuses();
    let unusual = (300..600).step_by(5).filter(|status| !usual.contains(status));
    usual.iter().copied().chain(unusual).collect()
}

/// Those that are in use anywhere.
fn usual_statuses() -> Vec<u16> {
    let redirects = [300, 301, 302, 304, 307];
    let client = (400..=418).chain(421..=426).chain([428, 429, 431, 451, 499]);
    redirects.into_iter().chain(client).chain(500..=511).chain(520..=530).chain([599]).collect()
}

/// One of each sort, where every case needs a process of its own.
fn few_statuses() -> Vec<u16> {
    vec![302, 400, 401, 404, 429, 499, 502, 503]
}

/// All cases, in batches of posts that one pass can work on at once.
async fn foreign_answers() -> Vec<(Wire, Vec<ForeignAnswer>)> {
    let mut batches = Vec::new();
    let mut add = |wire: Wire, case: &ForeignAnswer, statuses: Vec<u16>, sides: &[bool]| {
        let of =
            |status| sides.iter().map(move |is_after| ForeignAnswer { status, is_after: *is_after, ..case.clone() });
        let cases: Vec<ForeignAnswer> = statuses.into_iter().flat_map(of).collect();
        let size = if SHARED.contains(&case.endpoint.as_str()) { 1 } else { BATCH };
        batches.extend(cases.chunks(size).map(|batch| (wire, batch.to_vec())));
    };
    let case = |kind, endpoint, nth, lost| ForeignAnswer { kind, endpoint, nth, status: 0, is_after: false, lost };
    for kind in KINDS {
        let asked = requests_of(kind).await;
        for (number, endpoint) in asked.iter().enumerate() {
            let nth = asked[..number].iter().filter(|before| *before == endpoint).count();
            let case = case(kind, endpoint.clone(), u32::try_from(nth).unwrap(), None);
            // A request meets every other status, and the next one the rest: all pages are read by the same code.
            let every_other: Vec<u16> = usual_statuses().into_iter().skip(number % 2).step_by(2).collect();
            if IRREVERSIBLE.contains(&endpoint.as_str()) {
                add(Wire::Plain, &case, many_statuses(), &[false, true]);
                add(Wire::Multiplexed, &case, every_other, &[false, true]);
            } else if SHARED.contains(&endpoint.as_str()) {
                add(Wire::Plain, &case, few_statuses(), &[false, true]);
            } else {
                add(Wire::Plain, &case, every_other, &[false, true]);
            }
        }
    }
    // The question after a lost answer; it has no effect.
    for (kind, lost, endpoint, nth, statuses) in [
        ("youtube", "youtube.chunk", "youtube.query", 0, many_statuses()),
        ("tiktok", "tiktok.chunk", "tiktok.status", 0, usual_statuses()),
        ("instagram", "instagram.publish", "instagram.container", 2, usual_statuses()),
        ("instagram image", "instagram.publish", "instagram.container", 2, usual_statuses()),
    ] {
        add(Wire::Plain, &case(kind, endpoint.to_owned(), nth, Some(lost)), statuses, &[false]);
    }
    batches
}

/// What became of the posts of some cases.
#[derive(Debug, Default)]
struct Tally {
    posted: usize,
    parked: usize,
    problems: Vec<String>,
}

/// Has Instagram's token exchanged for a fresh one when that is needed.
fn give_app_secret(env: &mut TestEnv) {
    env.set("INSTAGRAM_APP_ID", "sandbox-app");
    env.set("INSTAGRAM_APP_SECRET", "sandbox-instagram-secret");
}

/// Lays the page of every case for a post of its own, and lets passes run until all are settled.
async fn meet_pages(wire: Wire, cases: Vec<ForeignAnswer>) -> Tally {
    let mut tally = Tally::default();
    let mut env = TestEnv::reused().await;
    wire.lay(&mut env).await;
    env.set("HTTP_TIMEOUT", "5s");
    env.set("POST_RETRY_CONCURRENCY", "32");
    // With the app's secret a refused token can be renewed, so that a refused request could be sent again.
    if cases.iter().any(|case| case.kind.starts_with("instagram")) {
        give_app_secret(&mut env);
    }
    let mut posts = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let words = format!("case-{number}.");
        let (platform, mut fields) = post_of(case.kind);
        fields.extend(doc! { "title": &words, "caption": &words, "failedAt": hours_ago(500) });
        posts.push((env.post(platform, fields).await, words.clone()));
        let lay = |fault: Fault| {
            let is_shared = SHARED.contains(&case.endpoint.as_str());
            env.sandbox.fault(if is_shared { fault } else { fault.about(&words) });
        };
        if let Some(lost) = case.lost {
            lay(Fault::once(lost, Act::LoseAnswer));
        }
        let page = if case.is_after { Act::html_after(case.status) } else { Act::html(case.status) };
        lay(Fault::once(&case.endpoint, page).after(case.nth));
    }
    for _ in 0..20 {
        // Nobody waits here until a platform takes requests again.
        env.posts.update_many(doc! {}, doc! { "$unset": { "retryNotBefore": "" } }).await.unwrap();
        let run = env.run(&["run", "--max-duration", "20s", "--format", "json"]);
        let ran = tokio::time::timeout(Duration::from_secs(120), run).await;
        if !ran.as_ref().is_ok_and(|ran| matches!(ran.code, 0 | 3)) {
            tally.problems.push(format!("{wire:?} {cases:?}: {ran:?}"));
            return tally;
        }
        if cases.iter().any(|case| case.endpoint == "tiktok.token") {
            renew_credentials_if_stranded(&env).await;
        }
        let open = doc! { "status": "failed", "permanentlyFailed": { "$ne": true } };
        if env.posts.count_documents(open).await.unwrap() == 0 {
            break;
        }
    }
    let published = env.sandbox.published();
    for ((id, words), case) in posts.iter().zip(&cases) {
        let post = env.get(id).await;
        let public = published.iter().filter(|public| public.text.contains(words)).count();
        let is_posted = post.get_str("status").ok() == Some("posted");
        let is_parked = post.get_bool("permanentlyFailed").unwrap_or(false)
            && post.get_str("failureCategory").ok() == Some("ambiguous");
        // Only where TikTok gives no ticket before the publish starts, there is nothing to be asked.
        let may_be_parked = case.endpoint == "tiktok.photo_init";
        match (is_posted, is_parked, public) {
            (true, _, 1) => tally.posted += 1,
            (false, true, 0 | 1) if may_be_parked => tally.parked += 1,
            _ => tally.problems.push(format!("{wire:?} {case:?}: {public} public: {post}")),
        }
    }
    let violations = env.sandbox.world().violations.clone();
    tally.problems.extend(violations.into_iter().map(|violation| format!("{wire:?} {cases:?}: {violation}")));
    tally
}

/// Every request of every kind of publish, and the HTTP statuses from 300 on with the page of a gateway, before and after
/// the request had its effect: a page decides nothing. The requests that make a post public meet all of them.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_gateway_responds_the_post_is_published_once_or_ambiguous() {
    let batches = foreign_answers().await;
    let count = batches.iter().map(|(_, cases)| cases.len()).sum::<usize>();
    let met = stream::iter(batches).map(|(wire, cases)| meet_pages(wire, cases)).buffer_unordered(3);
    let tallies: Vec<Tally> = met.collect().await;
    let posted = tallies.iter().map(|tally| tally.posted).sum::<usize>();
    let parked = tallies.iter().map(|tally| tally.parked).sum::<usize>();
    println!("{count} foreign answers: {posted} posts published once, {parked} parked");
    let problems: Vec<String> = tallies.into_iter().flat_map(|tally| tally.problems).collect();
    assert!(problems.is_empty(), "{} of {count}:\n{}", problems.len(), problems.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_error_on_a_post_that_is_live_is_seen_through() {
    let env = TestEnv::new().await;
    let lie = r#"{"error":{"message":"blocked","code":4,"error_subcode":2207051}}"#;
    env.sandbox
        .fault(Fault::once("instagram.publish", Act::Lie { status: 400, body: lie.into(), headers: BTreeMap::new() }));
    env.sandbox.world().knobs.instagram_lag = 2;
    let id = env.post("instagram", Document::new()).await;
    env.pass(0).await;
    assert_eq!(env.get(&id).await.get_str("status").ok(), Some("posted"));
    assert_eq!(env.sandbox.published().len(), 1);
    assert_eq!(env.sandbox.calls("instagram.publish"), 1);
}

/// The endpoints that were asked after the first publish call.
fn asked_after_publish(env: &TestEnv) -> Vec<String> {
    let world = env.sandbox.world();
    let asked = world.requests.iter().map(|request| request.endpoint.clone());
    asked.skip_while(|endpoint| endpoint != "instagram.publish").skip(1).collect()
}

/// With the app's secret, so that the token can be renewed, and without: a publish call whose token is refused is
/// followed by a look at the container, and by a second call only if the first has published nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_publish_call_whose_token_is_refused_is_repeated_only_after_a_look() {
    let expired = serde_json::json!({ "error": {
        "message": "expired", "type": "OAuthException", "code": 190, "error_subcode": 463,
    } });
    let after = Act::Lie { status: 400, body: expired.to_string(), headers: BTreeMap::new() };
    for has_secret in [true, false] {
        for (act, is_after) in [
            (Act::html(401), false),
            (Act::html_after(401), true),
            (Act::json(400, &expired), false),
            (after.clone(), true),
        ] {
            let place = format!("{act:?}, app secret: {has_secret}");
            let mut env = TestEnv::new().await;
            if has_secret {
                give_app_secret(&mut env);
            }
            // The container says for a while that it is not published.
            env.sandbox.world().knobs.instagram_lag = 2;
            env.sandbox.fault(Fault::once("instagram.publish", act));
            let id = env.post("instagram", Document::new()).await;
            let output = env.pass(0).await;
            assert_eq!(output["totals"]["posted"], 1, "{place}: {output}");
            assert_eq!(env.get(&id).await.get_str("status").ok(), Some("posted"), "{place}");
            assert_eq!(env.sandbox.published().len(), 1, "{place}");
            assert_eq!(env.sandbox.calls("instagram.create"), 1, "{place}");
            let mut asked = asked_after_publish(&env);
            asked.retain(|endpoint| endpoint != "instagram.exchange");
            let looks = asked.iter().take_while(|endpoint| *endpoint == "instagram.container").count();
            assert_eq!(looks, 3, "{place}: {asked:?}");
            let calls = asked.iter().filter(|endpoint| *endpoint == "instagram.publish").count();
            assert_eq!(calls, usize::from(!is_after), "{place}: {asked:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_expires_at_the_publish_call_is_renewed_before_the_look() {
    let mut env = TestEnv::new().await;
    give_app_secret(&mut env);
    let expired = Act::graph(400, 190, Some(463));
    env.sandbox.fault(Fault::once("instagram.publish", expired));
    env.post("instagram", Document::new()).await;
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
    assert_eq!(env.sandbox.calls("instagram.exchange"), 2, "once because nobody knows how long the token lives");
    assert_eq!(asked_after_publish(&env)[..2], ["instagram.exchange", "instagram.container"]);
    assert_eq!(env.sandbox.calls("instagram.publish"), 2);
    assert_eq!(env.sandbox.published().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_session_is_replaced_before_its_last_byte_and_parked_after_it() {
    let env = TestEnv::new().await;
    let id = env.post("youtube", Document::new()).await;
    env.sandbox.fault(Fault::once("youtube.chunk", Act::youtube(404, "notFound", "")));
    {
        // The video is not to be found either.
        let mut world = env.sandbox.world();
        world.knobs.youtube_sessions_gone = true;
    }
    let output = env.pass(3).await;
    assert_eq!(output["posts"][0]["category"], "ambiguous", "{output}");
    assert_eq!(env.sandbox.calls("youtube.session"), 1);

    // A session that dies early has made no video: a larger file, cut in its first piece.
    let env = TestEnv::new().await;
    env.file("large.mp4", &video(40_000_000, 3));
    env.sandbox.fault(Fault::once("youtube.chunk", Act::youtube(410, "gone", "")));
    env.post("youtube", doc! { "videoPath": "large.mp4" }).await;
    let output = env.pass(0).await;
    assert_eq!(output["totals"]["posted"], 1, "{output}");
    assert_eq!(env.sandbox.calls("youtube.session"), 2);
    drop(id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_lapses_in_the_middle_is_renewed_without_a_new_ticket() {
    for (platform, endpoint, code) in [
        ("tiktok", "tiktok.status", Act::tiktok(401, "access_token_invalid")),
        ("youtube", "youtube.chunk", Act::youtube(401, "authError", "")),
        ("youtube", "youtube.videos", Act::youtube(401, "authError", "")),
    ] {
        let env = TestEnv::new().await;
        env.sandbox.fault(Fault::once(endpoint, code));
        env.post(platform, Document::new()).await;
        env.pass(0).await;
        assert_eq!(env.sandbox.published().len(), 1, "{endpoint}");
        let (token, ticket) = if platform == "tiktok" {
            ("tiktok.token", "tiktok.video_init")
        } else {
            ("google.token", "youtube.session")
        };
        assert_eq!(env.sandbox.calls(token), 2, "{endpoint}");
        assert_eq!(env.sandbox.calls(ticket), 1, "{endpoint}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_token_is_stored_and_used_by_the_next_pass() {
    let env = TestEnv::new().await;
    for _ in 0..3 {
        env.post("tiktok", Document::new()).await;
        env.pass(0).await;
        // The settings still hold the first refresh token, which is void since the first pass.
        env.sandbox.world().revoke_access("tiktok");
    }
    assert_eq!(env.sandbox.published().len(), 3);
    let tokens = env.database.collection::<Document>("postretry_tokens");
    assert_eq!(tokens.count_documents(doc! {}).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_that_start_at_once_share_the_posts_and_refresh_the_token_once() {
    let env = TestEnv::new().await;
    for _ in 0..30 {
        env.post("tiktok", Document::new()).await;
    }
    let passes = (0..5).map(|_| env.run(&["run", "--format", "json"]));
    let outputs = futures_util::future::join_all(passes).await;
    let posted: i64 = outputs.iter().map(|ran| ran.json()["totals"]["posted"].as_i64().unwrap()).sum();
    assert_eq!(posted, 30);
    assert_eq!(env.sandbox.published().len(), 30);
    assert_eq!(env.sandbox.calls("tiktok.token"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn instagrams_token_is_exchanged_before_it_expires_and_a_changed_setting_takes_precedence() {
    let mut env = TestEnv::new().await;
    give_app_secret(&mut env);
    for _ in 0..2 {
        env.post("instagram", Document::new()).await;
        env.pass(0).await;
    }
    // Nobody knows when a token from the settings lapses, so it is exchanged once; the fresh one is good for weeks.
    assert_eq!(env.sandbox.calls("instagram.exchange"), 1);
    let stats = env.run(&["stats", "--format", "json"]).await.expect(0).json();
    assert_eq!(stats["tokens"][0]["platform"], "instagram");

    // Near its end it is exchanged again.
    let tokens = env.database.collection::<Document>("postretry_tokens");
    let soon = hours_ago(-24);
    tokens.update_one(doc! {}, doc! { "$set": { "accessExpiresAt": soon } }).await.unwrap();
    env.post("instagram", Document::new()).await;
    env.pass(0).await;
    assert_eq!(env.sandbox.calls("instagram.exchange"), 2);

    // A person signs in anew: the stored token is dead, and the new setting wins.
    env.sandbox.world().revoke_access("instagram");
    env.sandbox.world().sign_in("instagram", "sandbox-instagram-renewed");
    env.post("instagram", Document::new()).await;
    let refused = env.pass(3).await;
    assert_eq!(refused["posts"][0]["category"], "auth");
    env.set("INSTAGRAM_ACCESS_TOKEN", "sandbox-instagram-renewed");
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_lives_shortly_is_not_refreshed_for_every_request() {
    let env = TestEnv::new().await;
    env.sandbox.world().knobs.access_token_lives = 60;
    for _ in 0..5 {
        env.post("tiktok", Document::new()).await;
        env.post("youtube", Document::new()).await;
    }
    assert_eq!(env.pass(0).await["totals"]["posted"], 10);
    assert_eq!(env.sandbox.calls("tiktok.token"), 1);
    assert_eq!(env.sandbox.calls("google.token"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_post_has_become_is_not_taken_for_this_one() {
    let env = TestEnv::new().await;
    env.sandbox.fault(Fault::always("instagram.publish", Act::LoseRequest));
    let lost = env.post("instagram", doc! { "failedAt": hours_ago(500) }).await;
    assert_eq!(env.pass(0).await["posts"][0]["category"], "network");
    // A post with the very same words goes out, and then the container of the first one can tell no more.
    env.sandbox.world().faults.clear();
    let twin = env.post("instagram", Document::new()).await;
    env.run(&["retry", &twin]).await.expect(0);
    env.sandbox.world().knobs.instagram_expired = true;
    let output = env.pass(3).await;
    assert_eq!(output["posts"][0]["category"], "ambiguous", "{output}");
    assert_eq!(env.get(&lost).await.get_str("status").ok(), Some("failed"));
    assert_eq!(env.sandbox.published().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_gone_before_it_was_published_is_replaced_at_once() {
    let expired = Act::json(200, &serde_json::json!({ "id": "1", "status_code": "EXPIRED", "status": "Expired" }));
    for gone in [Act::graph(400, 24, Some(2_207_006)), Act::graph(400, -2, Some(2_207_020)), expired] {
        let mut env = TestEnv::new().await;
        env.set("POST_RETRY_WAIT", "50ms");
        env.sandbox.world().knobs.instagram_looks = u32::MAX;
        let id = env.post("instagram", Document::new()).await;
        assert_eq!(env.pass(0).await["posts"][0]["category"], "processing");
        env.sandbox.world().knobs.instagram_looks = 0;
        env.sandbox.fault(Fault::once("instagram.container", gone.clone()));
        assert_eq!(env.pass(0).await["totals"]["posted"], 1, "{gone:?}");
        assert_eq!(env.get(&id).await.get_i32("retryCount").ok(), Some(0));
        assert_eq!(env.sandbox.calls("instagram.create"), 2, "{gone:?}");
        assert_eq!(env.sandbox.published().len(), 1, "{gone:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_not_found_for_a_moment_is_asked_again() {
    for subcode in [Some(33), Some(2_207_008)] {
        let env = TestEnv::new().await;
        let code = if subcode == Some(33) { 100 } else { 24 };
        let absent = Fault { times: 2, ..Fault::once("instagram.container", Act::graph(400, code, subcode)) };
        env.sandbox.fault(absent);
        env.post("instagram", Document::new()).await;
        assert_eq!(env.pass(0).await["totals"]["posted"], 1);
        assert_eq!(env.sandbox.calls("instagram.create"), 1);
    }
}

/// Within an attempt, three transient failures in a row while a post is sent or polled use no retry; then it is a failure,
/// and the next retry goes on by the same ticket.
#[tokio::test(flavor = "multi_thread")]
async fn three_transient_failures_in_a_row_are_retried_within_one_attempt() {
    for (kind, endpoint, opening) in [
        ("tiktok", "tiktok.chunk", "tiktok.video_init"),
        ("tiktok", "tiktok.status", "tiktok.video_init"),
        ("tiktok photo", "tiktok.status", "tiktok.photo_init"),
        ("instagram", "instagram.upload", "instagram.create"),
        ("instagram", "instagram.container", "instagram.create"),
        ("youtube", "youtube.chunk", "youtube.session"),
    ] {
        for (times, posted) in [(3, 1), (4, 0)] {
            let env = TestEnv::new().await;
            env.sandbox.fault(Fault { times, ..Fault::once(endpoint, Act::LoseRequest) });
            let (platform, fields) = post_of(kind);
            let id = env.post(platform, fields).await;
            let output = env.pass(0).await;
            assert_eq!(output["totals"]["posted"], posted, "{kind}, {endpoint}, {times} times: {output}");
            let retries = env.get(&id).await.get_i32("retryCount").ok();
            assert_eq!(retries, Some(1 - posted), "{kind}, {endpoint}, {times} times");
            if posted == 0 {
                assert_eq!(output["posts"][0]["category"], "network", "{kind}, {endpoint}: {output}");
                let aged = doc! { "$set": { "failedAt": hours_ago(500) } };
                env.posts.update_one(doc! {}, aged).await.unwrap();
                assert_eq!(env.pass(0).await["totals"]["posted"], 1, "{kind}, {endpoint}");
            }
            assert_eq!(env.sandbox.calls(opening), 1, "{kind}, {endpoint}, {times} times");
            assert_eq!(env.sandbox.published().len(), 1, "{kind}, {endpoint}, {times} times");
        }
    }
}

/// The wait for a platform's processing begins when it has the file, however long that took.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upload_takes_nothing_from_the_wait_for_the_processing() {
    for (platform, endpoint) in
        [("tiktok", "tiktok.chunk"), ("instagram", "instagram.upload"), ("youtube", "youtube.chunk")]
    {
        let mut env = TestEnv::new().await;
        env.set("POST_RETRY_WAIT", "1500ms");
        env.sandbox.fault(Fault::once(endpoint, Act::Slow { ms: 2000 }));
        env.post(platform, Document::new()).await;
        let output = env.pass(0).await;
        assert_eq!(output["totals"]["posted"], 1, "{platform}: {output}");
    }
}

/// Nor does it use up the retries of the upload: every chunk that arrives gives them back.
#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_is_lost_late_in_a_slow_upload_is_sent_again() {
    for (platform, endpoint) in [("tiktok", "tiktok.chunk"), ("youtube", "youtube.chunk")] {
        let mut env = TestEnv::new().await;
        env.set("POST_RETRY_WAIT", "1500ms");
        env.file("large.mp4", &video(70_000_000, 4));
        env.sandbox.fault(Fault::once(endpoint, Act::Slow { ms: 2000 }));
        env.sandbox.fault(Fault::once(endpoint, Act::LoseAnswer).after(1));
        env.post(platform, doc! { "videoPath": "large.mp4" }).await;
        let output = env.pass(0).await;
        assert_eq!(output["totals"]["posted"], 1, "{platform}: {output}");
        assert_eq!(env.sandbox.published().len(), 1, "{platform}");
    }
}
