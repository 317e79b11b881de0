//! A process that is stopped in the middle, and comes back when another has long published its post, sends nothing more
//! and writes nothing more: at every request of every kind of publish.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use postretry_sandbox::{Act, Fault};

use crate::genuine::Wire;
use crate::support::env::{TestEnv, signal, until};
use crate::support::kinds::{KINDS, is_settled, post_of, renew_credentials_if_stranded, requests_of};

async fn stop_at(kind: &'static str, number: usize, endpoint: String, wire: Wire) {
    let place = format!("{kind}, request {number} ({endpoint}), {wire:?}");
    let mut env = TestEnv::new().await;
    wire.lay(&mut env).await;
    env.set("POST_RETRY_CLAIM", "1s");
    env.set("HTTP_TIMEOUT", "1s");
    let slow = Fault::once("*", Act::Slow { ms: 500 }).after(u32::try_from(number).unwrap());
    env.sandbox.fault(slow);
    let (platform, fields) = post_of(kind);
    let id = env.post(platform, fields).await;
    let stopped = env.command(&["run"]).spawn().unwrap();
    until(async || env.sandbox.world().requests.len() > number).await;
    signal(&stopped, "-STOP").await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    // Later passes get longer limits, in case the machine is busy.
    env.set("POST_RETRY_CLAIM", "1m");
    env.set("HTTP_TIMEOUT", "30s");

    until(async || {
        let ran = env.run(&["run"]).await;
        assert!(matches!(ran.code, 0 | 3), "{place}: {ran:?}");
        renew_credentials_if_stranded(&env).await;
        is_settled(&env.get(&id).await)
    })
    .await;
    let (post, requests) = (env.get(&id).await, env.sandbox.world().requests.len());

    signal(&stopped, "-CONT").await;
    let ended = tokio::time::timeout(Duration::from_secs(30), stopped.wait_with_output()).await;
    let ended = ended.unwrap_or_else(|_| panic!("{place}: it does not end")).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{place}: {}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(env.get(&id).await, post, "{place}: it wrote");
    let more: Vec<String> =
        env.sandbox.world().requests.iter().skip(requests).map(|request| request.endpoint.clone()).collect();
    assert_eq!(more, Vec::<String>::new(), "{place}: it sent");
    // Where TikTok gives no ticket before the publish starts, the other process could only park the post.
    let is_parked = post.get_bool("permanentlyFailed").unwrap_or(false);
    assert!(!is_parked || kind == "tiktok photo", "{place}: {post}");
    let published = env.sandbox.published().len();
    assert!(published == 1 || is_parked && published == 0, "{place}: {published} published: {post}");
    assert_eq!(env.sandbox.world().violations, Vec::<String>::new(), "{place}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_stopped_and_comes_back_too_late_sends_and_writes_nothing() {
    let mut places = Vec::new();
    for kind in KINDS {
        for (number, endpoint) in requests_of(kind).await.into_iter().enumerate() {
            places.extend([Wire::Plain, Wire::Multiplexed].map(|wire| stop_at(kind, number, endpoint.clone(), wire)));
        }
    }
    let count = places.len();
    stream::iter(places).buffer_unordered(12).collect::<Vec<()>>().await;
    println!("stopped and continued at {count} requests");
}
