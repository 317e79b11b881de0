//! What `retry`, `reset` and the help show.

use mongodb::bson::{Bson, Document, doc};
use postretry::cli::help::{EXAMPLES, Example, examples_of};
use postretry_sandbox::{Act, Fault};

use super::{ERROR, SCREENS, ago, check, check_on, id, screen_env, seen};
use crate::support::env::TestEnv;

/// Puts a post with this number as its id into the store.
async fn add(env: &TestEnv, number: u8, platform: &str, mut fields: Document) -> String {
    fields.insert("_id", id(number));
    env.post(platform, fields).await
}

/// A post for TikTok and Instagram that has failed on both, with the retry state of each.
fn on_two_platforms(title: &str, tiktok: Document, instagram: Document) -> Document {
    let failed = |minutes: i64, error: &str| doc! { "status": "failed", "lastFailedAt": ago(minutes), "error": error };
    doc! {
        "title": title, "failedAt": ago(1_500), "platforms": ["tiktok", "instagram"],
        "platformStatus": { "tiktok": failed(1_500, "the first failure"), "instagram": failed(1_400, ERROR) },
        "postretry": { "tiktok": tiktok, "instagram": instagram },
    }
}

/// The retry state of a post that no pass retries any more.
fn given_up(retries: i32, category: &str) -> Document {
    doc! {
        "retryCount": retries, "permanentlyFailed": true, "permanentlyFailedAt": ago(60), "failureCategory": category,
    }
}

/// The same with more fields.
fn with(mut fields: Document, more: Document) -> Document {
    fields.extend(more);
    fields
}

/// Posts in every state in which somebody retries one; each is its place in the list.
async fn retry_env() -> (TestEnv, Vec<String>) {
    let mut env = TestEnv::new().await;
    env.set("POST_RETRY_CONCURRENCY", "1");
    env.set("POST_RETRY_EXPIRE", "8d");
    let image = doc! { "contentType": "image", "videoPath": Bson::Undefined, "imagePath": "a.jpg" };
    let posts = [
        ("tiktok", doc! { "title": "Waits", "failedAt": ago(95), "retryCount": 2, "failureCategory": "network" }),
        ("instagram", with(given_up(5, "network"), doc! { "error": ERROR })),
        ("tiktok", with(given_up(1, "ambiguous"), doc! { "title": "日本語", "error": "look at the account" })),
        ("youtube_shorts", doc! { "retryCount": "three" }),
        ("tiktok", on_two_platforms("On two platforms", doc! { "retryCount": 1 }, doc! { "retryCount": 2 })),
        ("instagram", doc! { "videoPath": "renders/spring.mp4" }),
        ("instagram", doc! { "caption": "Slow down, please" }),
        ("tiktok", doc! { "retryClaim": { "by": "web1:1:abc", "until": ago(-60) }, "retryCount": 1 }),
        ("tiktok", doc! { "caption": "Takes long" }),
        ("youtube_shorts", with(given_up(0, "rejected_content"), image.clone())),
        ("tiktok", doc! { "title": "Has been seen", "tiktokVideoId": "7301234567890123456" }),
        ("youtube_shorts", doc! { "failedAt": ago(13_000) }),
        ("tiktok", with(image, doc! { "caption": "A lost answer" })),
        ("youtube_shorts", doc! { "title": "Waits for credentials" }),
        ("tiktok", doc! { "retryClaim": { "by": "web1:1:abc", "until": ago(5) }, "retryCount": 1 }),
    ];
    let mut ids = Vec::new();
    for (number, (platform, fields)) in (0..).zip(posts) {
        ids.push(add(&env, number, platform, fields).await);
    }
    env.sandbox.fault(Fault::always("instagram.create", Act::graph(400, 80002, None)).about("Slow down, please"));
    env.sandbox.fault(Fault::once("tiktok.photo_init", Act::html_after(502)));
    env.sandbox.world().revoke_refresh("youtube");
    (env, ids)
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_of_every_kind_of_post() {
    for screen in SCREENS {
        let (mut env, ids) = retry_env().await;
        let id = |number: usize| ids[number].as_str();
        let commands: [(&[&str], &str); 18] = [
            (&["retry", id(0)], ""),
            (&["retry", "--force", id(1)], ""),
            (&["retry", "--force", "--yes", id(2)], ""),
            (&["retry", id(3)], ""),
            (&["retry", "--platform", "instagram", id(4)], ""),
            (&["retry", "--platform", "instagram", id(4)], ""),
            (&["retry", "--platform", "youtube", id(4)], ""),
            (&["retry", id(4)], ""),
            (&["retry", id(5)], ""),
            (&["retry", id(6)], ""),
            (&["retry", id(7)], ""),
            (&["retry", "--force", id(9)], ""),
            (&["retry", id(10)], ""),
            (&["retry", "--force", id(10)], "n\n"),
            (&["retry", id(11)], ""),
            (&["retry", id(12)], ""),
            (&["retry", id(13)], ""),
            (&["retry", id(14), "nobody", id(7)], ""),
        ];
        let mut texts = Vec::new();
        for (arguments, typed) in commands {
            texts.push(seen(&env, screen, arguments, typed).await);
        }
        // TikTok takes longer than an attempt waits. The next attempt takes the same upload up.
        env.sandbox.world().knobs.tiktok_looks = u32::MAX;
        env.set("POST_RETRY_WAIT", "50ms");
        texts.push(seen(&env, screen, &["retry", id(8)], "").await);
        env.set("POST_RETRY_WAIT", "2s");
        env.sandbox.world().knobs.tiktok_looks = 0;
        env.sandbox.world().release();
        texts.push(seen(&env, screen, &["retry", id(8)], "").await);
        check_on(screen, "retry_kinds", &texts);
        assert_eq!(env.sandbox.world().violations, Vec::<String>::new());
    }
}

/// Posts in every state in which somebody resets one; each is its place in the list.
async fn reset_env() -> (TestEnv, Vec<String>) {
    let mut env = TestEnv::new().await;
    env.set("POST_RETRY_CONCURRENCY", "1");
    let ticket = doc! { "platform": "tiktok", "madeAt": ago(300), "payload": { "publishId": "v_pub_file~v2-1.75" } };
    let posts = [
        (
            "tiktok",
            doc! {
                "title": "Uploaded by another account", "failedAt": ago(200), "retryCount": 3,
                "failureCategory": "auth", "error": "the token belongs to another account than the upload",
                "publishTicket": ticket,
            },
        ),
        (
            "instagram",
            doc! {
                "title": "Waits for credentials", "failedAt": ago(300), "failureCategory": "auth",
                "error": "Instagram refused the credentials",
            },
        ),
        (
            "youtube_shorts",
            doc! {
                "title": "No retries left", "failedAt": ago(400), "retryCount": 5, "failureCategory": "network",
                "error": ERROR,
            },
        ),
        (
            "tiktok",
            with(
                given_up(1, "ambiguous"),
                doc! { "title": "Perhaps public", "failedAt": ago(500), "error": "look at the account" },
            ),
        ),
        ("tiktok", on_two_platforms("On two platforms", given_up(5, "network"), given_up(1, "ambiguous"))),
        (
            "instagram",
            doc! { "title": "Malformed", "failedAt": ago(600), "failureCategory": "unknown", "retryCount": "three" },
        ),
        (
            "tiktok",
            doc! {
                "title": "Is being retried", "failedAt": ago(700), "retryCount": 1,
                "retryClaim": { "by": "web1:1:abc", "until": ago(-60) },
            },
        ),
        (
            "instagram",
            with(
                given_up(0, "rejected_content"),
                doc! {
                    "title": "日本語の長いタイトルは表の中でも揃う: a picture of spring in the garden behind the house",
                    "failedAt": ago(800), "contentType": "image", "videoPath": Bson::Undefined, "imagePath": "a.jpg",
                    "error": "the aspect ratio is not supported; crop the image",
                },
            ),
        ),
        ("youtube_shorts", with(given_up(2, "expired"), doc! { "title": "Too old", "failedAt": ago(3_000) })),
        ("youtube_shorts", with(given_up(1, "ambiguous"), doc! { "title": "Is it there? 🌷", "failedAt": ago(900) })),
    ];
    let mut ids = Vec::new();
    for (number, (platform, fields)) in (0..).zip(posts) {
        ids.push(add(&env, number, platform, fields).await);
    }
    (env, ids)
}

#[tokio::test(flavor = "multi_thread")]
async fn reset_of_every_kind_of_post() {
    for screen in SCREENS {
        let (env, ids) = reset_env().await;
        let id = |number: usize| ids[number].as_str();
        let selection = "reset --category auth --category rejected_content --platform instagram --platform youtube";
        let asked: Vec<&str> = selection.split(' ').collect();
        let (dry_run, confirmed) = ([&asked[..], &["--dry-run"]].concat(), [&asked[..], &["--yes"]].concat());
        let url = "https://www.instagram.com/reel/C1a2b3c4d5e/";
        let commands: [(&[&str], &str); 37] = [
            (&["reset", "--permanent", "--dry-run"], ""),
            (&["reset", "--category", "ambiguous", "--dry-run"], ""),
            (&["reset", "--dry-run", id(4), id(5), "nobody"], ""),
            (&dry_run, ""),
            (&asked, "n\n"),
            (&confirmed, ""),
            (&confirmed, ""),
            // The ticket.
            (&["reset", "--drop-ticket"], ""),
            (&["reset", "--drop-ticket", "--dry-run", id(0)], ""),
            (&["reset", "--drop-ticket", id(0)], "n\n"),
            (&["reset", "--drop-ticket", id(0), id(1)], "n\n"),
            (&["reset", "--drop-ticket", id(0)], "y\n"),
            (&["reset", "--drop-ticket", "--yes", id(1), "nobody", id(6)], ""),
            // Found on its platform.
            (&["reset", "--posted", id(4)], ""),
            (&["reset", "--posted", "--dry-run", "--platform", "instagram", id(4)], ""),
            (&["reset", "--posted", "--platform", "instagram", "--url", url, id(4)], ""),
            (&["reset", "--posted", id(3)], ""),
            (&["reset", "--posted", "--url", "https://youtu.be/dQw4w9WgXcQ", id(9)], ""),
            (&["reset", "--posted", id(3)], ""),
            (&["reset", "--posted", "nobody"], ""),
            (&["reset", "--posted", id(5)], ""),
            (&["reset", "--posted", id(6)], ""),
            (&["reset", "--posted"], ""),
            (&["reset", "--posted", id(0), id(1)], ""),
            (&["reset", "--posted", "--drop-ticket", id(0)], ""),
            (&["reset", "--posted", "--permanent"], ""),
            (&["reset", "--posted", "--url", "youtu.be/dQw4w9WgXcQ", id(0)], ""),
            (&["reset", "--url", "https://youtu.be/dQw4w9WgXcQ", id(0)], ""),
            // By their ids.
            (&["reset", "--platform", "youtube", id(4)], ""),
            (&["reset", "--platform", "tiktok", id(4)], ""),
            (&["reset", id(5), id(6), "nobody", id(3)], ""),
            // Selections.
            (&["reset", "--permanent", "--platform", "instagram"], "n\n"),
            (&["reset", "--permanent"], "n\n"),
            (&["reset", "--permanent", "-q", "--yes"], ""),
            (&["reset", "--permanent"], "n\n"),
            (&["reset", "--platform", "tiktok"], "y\n"),
            (&["reset", "--category", "ambiguous", "--yes"], ""),
        ];
        let mut texts = Vec::new();
        for (arguments, typed) in commands {
            texts.push(seen(&env, screen, arguments, typed).await);
        }
        check_on(screen, "reset_kinds", &texts);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_formats_of_what_is_settled() {
    let (env, ids) = reset_env().await;
    let id = |number: usize| ids[number].as_str();
    let commands: [&[&str]; 8] = [
        &["reset", "--permanent", "--dry-run", "--json"],
        &["reset", "--posted", "--json", "--platform", "instagram", id(4)],
        &["reset", "--drop-ticket", "--yes", "--json", id(0), id(5), id(6), "nobody"],
        &["reset", "--category", "auth", "--category", "expired", "--yes", "--json"],
        &["reset", "--category", "expired", "--yes", "--json"],
        &["reset", "--permanent", "--format", "csv"],
        &["retry", "--json", id(4), id(6), "nobody"],
        &["retry", "--format", "prometheus", id(4)],
    ];
    let mut texts = Vec::new();
    for arguments in commands {
        texts.push(seen(&env, None, arguments, "").await);
    }
    check("settle_formats", &texts.join("\n"));
}

/// The output without the line that was typed.
fn output(text: &str) -> &str {
    text.split_once('\n').unwrap().1
}

#[tokio::test(flavor = "multi_thread")]
async fn help() {
    const VERSION: &str = concat!("postretry ", env!("CARGO_PKG_VERSION"));
    const COMMANDS: [&str; 5] = ["run", "list-failed", "retry", "reset", "stats"];
    let env = TestEnv::new().await;
    for screen in SCREENS {
        let see = async |arguments: &[&str]| seen(&env, screen, arguments, "").await;
        let mut texts = vec![see(&[]).await, see(&["-h"]).await];
        for (command, examples) in [("", EXAMPLES)].into_iter().chain(COMMANDS.map(|name| (name, examples_of(name)))) {
            let arguments: Vec<&str> = [command, "--help"].into_iter().filter(|word| !word.is_empty()).collect();
            let text = see(&arguments).await;
            // What is to be copied is not broken.
            let is_whole = |(line, _): &Example| text.lines().any(|shown| shown.trim() == *line);
            assert!(!examples.is_empty() && examples.iter().all(is_whole), "{text}");
            let asked: Vec<&str> = ["help", command].into_iter().filter(|word| !word.is_empty()).collect();
            assert_eq!(output(&see(&asked).await), output(&text), "{asked:?}");
            texts.push(text);
        }
        for arguments in [
            &["reset", "-h"][..],
            &["help", "help"],
            &["-V"],
            &["list-failed", "--version"],
            &["help", "nonsense"],
            &["help", "retry", "nonsense"],
            &["nonsense", "--help"],
            &["retry", "--dry-run", "nonsense"],
            &["retry", "-nonsense"],
            &["reset", "--permanent", "--limit", "3"],
        ] {
            texts.push(see(arguments).await.replace(VERSION, "postretry 1.2.3"));
        }
        check_on(screen, "help", &texts);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_names_what_is_lost_and_only_yes_is_an_answer() {
    let env = screen_env().await;
    let (due, waiting) = (id(0).to_hex(), id(1).to_hex());
    let flat = |bytes: &[u8]| String::from_utf8_lossy(bytes).split_whitespace().collect::<Vec<_>>().join(" ");
    let drop_ticket: [&[&str]; 2] =
        [&["reset", "--drop-ticket", &waiting], &["reset", "--drop-ticket", &waiting, &due]];
    for (arguments, question) in drop_ticket.into_iter().zip([
        "Remove the upload ticket of 1 post? It is then uploaded again, even if it is already on its platform; check \
         the account first. [y/N]",
        "Remove the upload tickets of 2 posts? Each of them is then uploaded again, even if it is already on its \
         platform; check the accounts first. [y/N]",
    ]) {
        for answer in ["\n", "n\n", "yes please\n", "\u{4}"] {
            let (code, bytes) = env.on_terminal(100, arguments, answer).await;
            let text = flat(&bytes);
            assert!(code == 1 && text.contains(question), "{answer:?}: {text}");
            assert!(text.contains("cancelled; nothing was changed"), "{answer:?}: {text}");
        }
    }
    for answer in ["y\n", "YES\n"] {
        let (code, bytes) = env.on_terminal(100, drop_ticket[0], answer).await;
        assert_eq!(code, 0, "{}", flat(&bytes));
    }
}
