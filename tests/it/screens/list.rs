//! What `list-failed` and `stats` show of every kind of post.

use chrono::TimeDelta;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, doc};
use postretry_sandbox::{Act, Fault};
use vt100::Color;

use super::{ROWS, SCREENS, ago, check_on, read, rows, terminal};
use crate::support::env::{TestEnv, date, now};

/// A day, in minutes.
const DAY: i64 = 24 * 60;

/// The title of the post that another process works on.
const RUNNING: &str = "An attempt is running";

/// The id of another application's post: a hash with its name.
fn long_id() -> String {
    format!("sha256:{}", "0a".repeat(32))
}

/// The kinds of posts, each with its platform. Every time is far from where its words change, so that they stay the same
/// while a test runs: an hour would be shown with its minutes, and three and a half hours are not.
fn kinds() -> Vec<(&'static str, Document)> {
    [taken(), with_peculiarities(), waiting(), permanently_failed(), malformed()].concat()
}

/// Posts that have been tried before: the next pass takes them, or another process works on them.
fn taken() -> Vec<(&'static str, Document)> {
    let interrupted =
        "the process died 4 times during this attempt; the next attempt checks the ticket, if there is one";
    vec![
        ("tiktok", doc! { "title": "Due", "failedAt": ago(211) }),
        (
            "instagram",
            doc! {
                "title": RUNNING, "failedAt": ago(391), "retryCount": 1, "lastRetriedAt": ago(150),
                "failureCategory": "network", "error": "Instagram did not respond: connection reset by peer",
                "retryClaim": { "by": "web1:4711:0123456789ab", "until": ago(-50) },
            },
        ),
        (
            "tiktok",
            doc! {
                "title": "Its process died", "failedAt": ago(392), "retryCount": 2, "lastRetriedAt": ago(205),
                "failureCategory": "network", "error": "TikTok did not respond: connection reset by peer",
                "retryClaim": { "by": "web2:815:fedcba987654", "until": ago(190) },
            },
        ),
        (
            "instagram",
            doc! {
                "title": "Its process died again and again", "failedAt": ago(750), "retryCount": 3,
                "lastRetriedAt": ago(391), "failureCategory": "interrupted", "error": interrupted,
                "retryHistory": [{
                    "attempt": 3, "startedAt": ago(391), "finishedAt": ago(330), "outcome": "failed",
                    "category": "interrupted", "error": interrupted, "host": "web2", "interruptions": 4,
                }],
            },
        ),
        (
            "tiktok",
            doc! {
                "title": "TikTok is processing it", "failedAt": ago(393), "lastRetriedAt": ago(150),
                "failureCategory": "processing", "error": "TikTok is still processing the video",
                "publishTicket": {
                    "platform": "tiktok", "madeAt": ago(151), "committedAt": ago(150),
                    "payload": { "publishId": "v_pub_file~v2-1.123" },
                },
            },
        ),
        (
            "tiktok",
            doc! {
                "title": "The account is restricted", "failedAt": ago(394), "lastRetriedAt": ago(205),
                "failureCategory": "account_restricted",
                "error": "TikTok has restricted the account: `spam_risk_user_banned_from_posting`, HTTP 403",
            },
        ),
        (
            "instagram",
            doc! {
                "title": "The credentials were refused", "failedAt": ago(395), "lastRetriedAt": ago(205),
                "failureCategory": "auth",
                "error": "Instagram refused the access token: code 190; renew INSTAGRAM_ACCESS_TOKEN",
            },
        ),
        (
            "instagram",
            doc! {
                "title": "Every outcome there is", "failedAt": ago(6 * DAY + 600), "retryCount": 1,
                "lastRetriedAt": ago(2 * DAY + 390), "failureCategory": "media_processing",
                "error": "Instagram could not process the video: `2207026`", "retryHistory": every_outcome(),
            },
        ),
    ]
}

/// A history with every outcome, an attempt that was interrupted and resumed, a reset, and what a person has found.
fn every_outcome() -> Vec<Document> {
    let entry = |attempt: i32, hours: i64, outcome: &str, more: Document| {
        let mut entry = doc! {
            "attempt": attempt, "startedAt": ago(hours * 60 + 30), "finishedAt": ago(hours * 60 + 29),
            "outcome": outcome, "host": "web1",
        };
        entry.extend(more);
        entry
    };
    let by = "anna@web1";
    vec![
        entry(1, 150, "failed", doc! { "category": "platform_outage", "error": "Instagram is unavailable: HTTP 503" }),
        entry(2, 126, "deferred", doc! { "category": "rate_limited", "error": "the account sends too many requests" }),
        entry(
            2,
            102,
            "interrupted",
            doc! { "category": "interrupted", "interruptions": 1, "resetAt": ago(4 * DAY + 300), "resetBy": by },
        ),
        entry(0, 78, "posted", doc! { "startedAt": Bson::Null, "settledBy": by }),
        entry(
            1,
            54,
            "failed",
            doc! {
                "category": "media_processing", "error": "Instagram could not process the video: `2207026`",
                "interruptions": 2,
            },
        ),
    ]
}

/// Posts that are due, and something about them is not as usual.
fn with_peculiarities() -> Vec<(&'static str, Document)> {
    vec![
        ("instagram", doc! { "title": "Without any date", "failedAt": Bson::Undefined }),
        (
            "instagram",
            doc! {
                "title": "An image", "failedAt": ago(396), "contentType": "image", "imagePath": "a.jpg",
                "videoPath": Bson::Undefined,
            },
        ),
        ("tiktok", doc! { "title": Bson::Undefined, "failedAt": ago(397), "storyId": "spring" }),
        (
            "tiktok",
            doc! {
                "title": "Left by the application", "failedAt": ago(398),
                "uploadProgress": { "publishId": "v_pub_file~v2-1.456" },
            },
        ),
        (
            "tiktok",
            doc! {
                "title": "Recorded by the application", "failedAt": ago(399), "tiktokVideoId": "7498765432109876543",
            },
        ),
        ("youtube", doc! { "title": "Its platform is not configured", "failedAt": ago(400) }),
        (
            "instagram",
            doc! {
                "title": "For two platforms, and posted on one", "platforms": ["instagram", "tiktok"],
                "platformStatus": {
                    "instagram": { "status": "failed", "lastFailedAt": ago(401), "error": "the failure of one" },
                    "tiktok": { "status": "posted", "mediaId": "7498765432109876544" },
                },
            },
        ),
        ("instagram", doc! { "title": "Older than POST_RETRY_EXPIRE", "failedAt": ago(30 * DAY + 330) }),
    ]
}

/// Posts that are not due yet.
fn waiting() -> Vec<(&'static str, Document)> {
    vec![
        (
            "tiktok",
            doc! {
                "title": "Waits for its backoff", "failedAt": ago(151), "retryCount": 3,
                "failureCategory": "platform_outage", "error": "TikTok is unavailable: HTTP 503",
            },
        ),
        (
            "instagram",
            doc! {
                "title": "Its file is missing", "failedAt": ago(152), "retryCount": 3,
                "failureCategory": "missing_asset", "error": "no such file: `videos/spring.mp4` of `videoPath`",
            },
        ),
        (
            "instagram",
            doc! {
                "title": "Instagram said when", "failedAt": ago(402), "retryCount": 1, "retryNotBefore": ago(-150),
                "failureCategory": "rate_limited", "error": "the account sends too many requests",
            },
        ),
        (
            "tiktok",
            doc! {
                "title": "The quota is used up", "failedAt": ago(403), "retryNotBefore": ago(-750),
                "failureCategory": "quota_exhausted", "error": "the account has used up its posts for 24 hours",
            },
        ),
    ]
}

/// Posts that are not retried any more, marked as such or not.
fn permanently_failed() -> Vec<(&'static str, Document)> {
    let since = |days: i64| doc! { "permanentlyFailed": true, "permanentlyFailedAt": ago(days * DAY + 330) };
    let posts = [
        (
            "tiktok",
            doc! {
                "title": "Too old", "failedAt": ago(29 * DAY + 330), "retryCount": 1, "failureCategory": "expired",
                "error": "it failed more than 21d ago and is not published any more (`POST_RETRY_EXPIRE`)",
            },
        ),
        (
            "instagram",
            doc! {
                "title": "Recorded, and marked", "failedAt": ago(3 * DAY + 330), "failureCategory": "ambiguous",
                "instagramMediaId": "18010000000099999",
                "error": "Instagram ID `18010000000099999` is recorded for this post, so it may be public already; \
                          check Instagram before it is sent again",
            },
        ),
        (
            "tiktok",
            doc! {
                "title": "Its address is known", "failedAt": ago(4 * DAY + 330), "retryCount": 1,
                "failureCategory": "ambiguous",
                "error": "it may be public already: \
                          https://www.tiktok.com/@a_creator_with_a_long_name/video/7498765432109876545",
            },
        ),
        (
            "instagram",
            doc! {
                "title": "Marked when fewer retries were allowed", "failedAt": ago(5 * DAY + 330), "retryCount": 3,
                "failureCategory": "network", "error": "Instagram did not respond: connection reset by peer",
            },
        ),
        (
            "tiktok",
            doc! {
                "_id": long_id(), "title": "A long id", "failedAt": ago(7 * DAY + 330), "retryCount": 1,
                "failureCategory": "media_processing",
                "error": "TikTok could not process the video: `frame_rate_check_failed`; change its frame rate",
            },
        ),
    ];
    let mut all: Vec<_> = posts.into_iter().map(|(platform, post)| (platform, merged(post, since(2)))).collect();
    all.push((
        "youtube",
        doc! {
            "title": "No retries left, and not marked", "failedAt": ago(153), "retryCount": 5,
            "failureCategory": "platform_outage", "error": "YouTube is unavailable: HTTP 503",
        },
    ));
    all
}

fn merged(mut post: Document, more: Document) -> Document {
    post.extend(more);
    post
}

/// Posts that cannot be read.
fn malformed() -> Vec<(&'static str, Document)> {
    vec![
        ("myspace", doc! { "title": "For an unknown platform", "failedAt": ago(404) }),
        (
            "instagram",
            doc! {
                "title": "Malformed for one of two platforms", "failedAt": ago(405),
                "platforms": ["instagram", "tiktok"],
                "platformStatus": {
                    "instagram": { "status": "failed", "lastFailedAt": "yesterday", "error": "the failure of one" },
                    "tiktok": { "status": "posted", "mediaId": "7498765432109876546" },
                },
            },
        ),
        (
            "tiktok",
            doc! { "title": "Without a status for each", "failedAt": ago(406), "platforms": ["tiktok", "youtube"] },
        ),
    ]
}

/// A store with all kinds of posts, and their ids. One platform is not configured.
async fn kinds_env() -> (TestEnv, Vec<String>) {
    let mut env = TestEnv::new().await;
    env.set("POST_RETRY_EXPIRE", "21d");
    env.unset("YOUTUBE_");
    let stories = env.database.collection::<Document>("stories");
    stories.insert_one(doc! { "_id": "spring", "name": "Spring in the garden" }).await.unwrap();
    let mut ids = Vec::new();
    for (number, (platform, fields)) in (0_u8..).zip(kinds()) {
        let id = ObjectId::parse_str(format!("65f0a1b2c3d4e5f6a7b8c9{number:02x}")).unwrap();
        // One has an id of its own.
        let fields = merged(doc! { "_id": id }, fields);
        ids.push(fields.get_str("_id").map_or_else(|_| id.to_hex(), str::to_owned));
        env.post(platform, fields).await;
    }
    (env, ids)
}

/// Replaces the recorded runs: some of the last days, and one of now that has skipped two platforms.
async fn record_runs(env: &TestEnv) {
    let totals = |posted: i64, failed: i64, deferred: i64| {
        doc! {
            "due": posted + failed + deferred, "posted": posted, "failed": failed, "permanentlyFailed": 0_i64,
            "deferred": deferred, "skipped": 0_i64, "flagged": 0_i64,
        }
    };
    let attempts = |platform: &str, attempt: i32, after: Bson, attempts: i64, posted: i64| {
        doc! { "platform": platform, "attempt": attempt, "after": after, "attempts": attempts, "posted": posted }
    };
    let given_up = |category: &str, reason: &str, waiting: i64| {
        let given_up = doc! { "category": category, "reason": reason, "waiting": waiting, "since": ago(210) };
        merged(totals(0, 0, 1), doc! { "givenUp": given_up })
    };
    let run = |days: i64, outcome: &str, totals: Document, attempts: Vec<Document>| {
        let started_at = now() - TimeDelta::days(days);
        doc! {
            "_id": format!("{days} days ago"), "command": "run", "startedAt": date(started_at),
            "finishedAt": date(started_at + TimeDelta::milliseconds(9_500)), "durationMs": 9_500_i64, "host": "web1",
            "version": "0.1.0", "outcome": outcome, "totals": totals, "byPlatform": {}, "attempts": attempts,
        }
    };
    let first = vec![attempts("tiktok", 1, Bson::Null, 3, 3), attempts("instagram", 2, "network".into(), 2, 1)];
    let latest = vec![attempts("tiktok", 1, Bson::Null, 2, 1), attempts("youtube_shorts", 1, "auth".into(), 1, 1)];
    let skipped = doc! {
        "tiktok": given_up("account_restricted", "`spam_risk_user_banned_from_posting`, HTTP 403", 1),
        "instagram": given_up("auth", "code 190; renew INSTAGRAM_ACCESS_TOKEN", 2),
    };
    let documents = vec![
        run(9, "ok", totals(4, 1, 0), first),
        run(5, "interrupted", totals(1, 0, 0), vec![attempts("tiktok", 2, "platform_outage".into(), 1, 1)]),
        run(1, "error", totals(0, 2, 0), vec![attempts("instagram", 3, "network".into(), 2, 0)]),
        merged(run(0, "attention", totals(2, 1, 2), latest), doc! { "byPlatform": skipped }),
    ];
    let runs = env.database.collection::<Document>("postretry_runs");
    runs.delete_many(doc! {}).await.unwrap();
    runs.insert_many(documents).await.unwrap();
}

/// Tokens of which one expires soon, one has expired, and one does not say when it does.
async fn store_tokens(env: &TestEnv) {
    let token = |platform: &str, more: Document| {
        let key = format!("{platform}:0123456789abcdef");
        merged(doc! { "_id": key, "platform": platform, "source": "settings", "accessToken": "hush-hush" }, more)
    };
    let tokens = vec![
        token("tiktok", doc! { "refreshToken": "hush-hush", "refreshExpiresAt": ago(-(3 * DAY + 750)) }),
        token("instagram", doc! { "accessExpiresAt": ago(2 * DAY + 330) }),
        token("youtube_shorts", doc! { "accessExpiresAt": ago(-30), "refreshToken": "hush-hush" }),
    ];
    env.database.collection::<Document>("postretry_tokens").insert_many(tokens).await.unwrap();
}

/// The rows of a terminal as they stand. It has broken none of the lines but those with an address or a very long id.
fn unbroken_rows(screen: &vt100::Screen) -> String {
    let text = rows(screen);
    for (number, row) in (0..).zip(text.lines()) {
        let may_be_broken = row.contains("://") || row.starts_with("id  ") || !row.trim_start().contains(' ');
        assert!(may_be_broken || !screen.row_wrapped(number), "the terminal has broken a line: {row}\n{text}");
    }
    text
}

async fn shown(env: &TestEnv, screen: Option<u16>, arguments: &[&str]) -> String {
    let text = read(env, screen, arguments, "", unbroken_rows).await;
    assert!(!text.contains("hush-hush"), "{text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_post_in_lists() {
    let (env, _) = kinds_env().await;
    record_runs(&env).await;
    // All of them, in two parts: the second one has the id that leaves no room for a table.
    let lists: [&[&str]; 10] = [
        &["list-failed", "--limit", "20"],
        &["list-failed", "--skip", "20"],
        &["list-failed", "--due", "--limit", "5"],
        &["list-failed", "--permanent"],
        &["list-failed", "--since", "3h"],
        &["list-failed", "--platform", "youtube_shorts"],
        &["list-failed", "--category", "quota_exhausted", "--category", "account_restricted"],
        &["list-failed", "--category", "unknown"],
        &["list-failed", "--platform", "youtube_shorts", "--due", "--since", "1h"],
        &["list-failed", "--skip", "40"],
    ];
    for screen in SCREENS {
        let mut texts = Vec::new();
        for arguments in lists {
            texts.push(shown(&env, screen, arguments).await);
        }
        check_on(screen, "kinds_list", &texts);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_post_in_full() {
    let (env, ids) = kinds_env().await;
    for screen in SCREENS {
        record_runs(&env).await;
        let mut texts = Vec::new();
        for id in &ids {
            // No claim lasts for hours, and of minutes all are shown.
            let until = date(now() + TimeDelta::seconds(30 * 60 + 30));
            let renewal = doc! { "$set": { "retryClaim.until": until } };
            env.posts.update_one(doc! { "title": RUNNING }, renewal).await.unwrap();
            texts.push(shown(&env, screen, &["list-failed", id]).await);
        }
        check_on(screen, "kinds_in_full", &texts);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_post_in_statistics() {
    let (env, _) = kinds_env().await;
    store_tokens(&env).await;
    for screen in SCREENS {
        record_runs(&env).await;
        let texts = [
            shown(&env, screen, &["stats"]).await,
            shown(&env, screen, &["stats", "--since", "2d"]).await,
            shown(&env, screen, &["stats", "--since", "2d", "--color", "never"]).await,
        ];
        check_on(screen, "kinds_stats", &texts);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_posts() {
    let env = TestEnv::new().await;
    env.database.create_collection("marketing_posts").await.unwrap();
    let commands: [&[&str]; 5] = [
        &["list-failed"],
        &["list-failed", "--due"],
        &["list-failed", "65f0a1b2c3d4e5f6a7b8c9d0"],
        &["stats"],
        &["stats", "--since", "2d"],
    ];
    for screen in SCREENS {
        let mut texts = Vec::new();
        for arguments in commands {
            texts.push(shown(&env, screen, arguments).await);
        }
        check_on(screen, "kinds_empty", &texts);
    }
}

/// The words for what has become of a post, and the colour that each has wherever it has one.
const STATES: [(&str, Color); 6] = [
    ("posted", Color::Idx(2)),
    ("failed", Color::Idx(3)),
    ("deferred", Color::Idx(3)),
    ("interrupted", Color::Idx(3)),
    ("permanently failed", Color::Idx(1)),
    ("skipped", Color::Default),
];

/// A row of a terminal: a character and its colour for each column.
type ColoredRow = Vec<(char, Color)>;

/// What a command has left on a wide terminal.
async fn colored_rows(env: &TestEnv, arguments: &[&str]) -> Vec<ColoredRow> {
    const COLUMNS: u16 = 140;
    let (_, bytes) = env.on_terminal(COLUMNS, arguments, "").await;
    let terminal = terminal(COLUMNS, &bytes);
    let row = |row: u16| -> ColoredRow {
        let cells = (0..COLUMNS).filter_map(|column| terminal.screen().cell(row, column));
        cells.map(|cell| (cell.contents().chars().next().unwrap_or(' '), cell.fgcolor())).collect()
    };
    (0..ROWS).map(row).collect()
}

fn text_of(row: &[(char, Color)]) -> String {
    row.iter().map(|(c, _)| c).collect()
}

/// The colours of these words wherever they stand alone. `failed` does not in `permanently failed`.
fn colours_of(words: &str, rows: &[ColoredRow]) -> Vec<Color> {
    let wanted: Vec<char> = words.chars().collect();
    let longer: Vec<char> = "permanently ".chars().collect();
    let mut colours = Vec::new();
    for row in rows {
        let chars: Vec<char> = row.iter().map(|(c, _)| *c).collect();
        for start in 0..chars.len().saturating_sub(wanted.len()) {
            let (before, rest) = chars.split_at(start);
            let is_alone = rest.starts_with(&wanted)
                && before.last().is_none_or(|c| !c.is_alphanumeric())
                && rest.get(wanted.len()).is_none_or(|c| !c.is_alphanumeric())
                && !before.ends_with(&longer);
            if is_alone {
                colours.extend(row.iter().skip(start).take(wanted.len()).map(|(_, color)| *color));
            }
        }
    }
    colours
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_has_one_colour_wherever_it_is_told() {
    let mut env = TestEnv::new().await;
    env.set("POST_RETRY_CONCURRENCY", "1");
    env.unset("YOUTUBE_");
    env.sandbox.fault(Fault::always("instagram.create", Act::graph(400, 80002, None)));
    env.post("tiktok", doc! { "failedAt": ago(300) }).await;
    let permanently_failed = env.post("tiktok", doc! { "contentType": "carousel" }).await;
    env.post("tiktok", doc! { "retryCount": 5 }).await;
    let failed = env.post("instagram", doc! { "videoPath": "none.mp4", "failedAt": ago(300) }).await;
    let deferred = env.post("instagram", doc! {}).await;
    env.post("youtube", doc! {}).await;
    let with_history = env.post("tiktok", doc! { "failedAt": ago(0), "retryHistory": every_outcome() }).await;

    let run = colored_rows(&env, &["run"]).await;
    let history = colored_rows(&env, &["list-failed", &with_history]).await;
    let results = colored_rows(&env, &["retry", &permanently_failed]).await;
    let stats = colored_rows(&env, &["stats"]).await;
    let list = colored_rows(&env, &["list-failed"]).await;
    let expected: [(&str, &[ColoredRow], &[&str]); 4] = [
        ("run", &run, &["posted", "failed", "deferred", "permanently failed"]),
        ("list-failed ID", &history, &["posted", "failed", "deferred", "interrupted"]),
        ("retry", &results, &["permanently failed"]),
        ("stats", &stats, &["permanently failed"]),
    ];
    for (name, rows, expected) in expected {
        for (words, color) in STATES.into_iter().filter(|(words, _)| expected.contains(words)) {
            let found = colours_of(words, rows);
            assert!(found.contains(&color), "{words} in {name}: {found:?}");
        }
    }
    assert!(!colours_of("skipped", &run).is_empty(), "no post was skipped");
    let never = colours_of("never", &list);
    assert!(!never.is_empty() && never.iter().all(|color| *color == Color::Idx(1)), "{never:?}");

    let mut all = vec![run, history, results, stats.clone(), list];
    for id in [&permanently_failed, &failed, &deferred] {
        all.push(colored_rows(&env, &["list-failed", id]).await);
    }
    for rows in &all {
        let text: String = rows.iter().map(|row| format!("{}\n", text_of(row).trim_end())).collect();
        for (words, color) in STATES {
            let found = colours_of(words, rows);
            let is_one_colour = found.iter().all(|found| [Color::Default, color].contains(found));
            assert!(is_one_colour, "{words}, not {color:?}: {found:?}\n{}", text.trim_end());
        }
    }
    // The curves of the days have the colours of what they count.
    for (words, color) in &STATES[..2] {
        let curve = stats.iter().find(|row| text_of(row).starts_with(&format!("{words}  "))).unwrap();
        let points: Vec<Color> =
            curve.iter().filter(|(c, _)| ('▁'..='█').contains(c)).map(|(_, color)| *color).collect();
        assert!(!points.is_empty() && points.iter().all(|point| point == color), "{words}: {points:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outcomes_of_single_posts_have_their_colours() {
    let env = TestEnv::new().await;
    let busy = env.post("tiktok", doc! { "retryClaim": { "by": "web1:1:abc", "until": ago(-60) } }).await;
    let posted = env.post("tiktok", doc! { "status": "posted" }).await;
    let failed = env.post("tiktok", doc! { "retryCount": 2 }).await;
    env.post("tiktok", doc! { "retryCount": "three" }).await;
    let reset = colored_rows(&env, &["reset", &busy, &posted, &failed, "nobody"]).await;
    let list = colored_rows(&env, &["list-failed"]).await;
    for (words, color, rows) in [
        ("busy", 3, &reset),
        ("not failed", 1, &reset),
        ("not found", 1, &reset),
        ("reset", 2, &reset),
        ("malformed", 1, &list),
    ] {
        let found = colours_of(words, rows);
        assert!(found.contains(&Color::Idx(color)), "{words}: {found:?}");
    }
}
