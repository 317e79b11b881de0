//! Text from outside, through the binary: whatever documents and platforms say, what is printed is plain lines of a
//! bounded length, hints can be pasted, and a spreadsheet gets no formula.

use mongodb::bson::{Document, doc};
use postretry::post::{is_hidden, shell_quoted};
use postretry_sandbox::{Act, Fault};
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use crate::support::env::{Ran, TestEnv, hours_ago};

/// Escape sequences of a terminal, a forged record of the log, and characters that turn a line around or are not seen.
const ATTACK: &str =
    "\u{1b}[2J\u{1b}]0;t\u{7}\r\n[ERROR] forged\u{9b}31m\u{202e}\u{2066}\u{2028}\u{200b}\u{feff}\u{e0041}\u{7f}";

/// The same, with a letter under 100,000 marks and a word without an end.
fn nasty() -> String {
    format!("{ATTACK} a{} {}", "\u{301}".repeat(100_000), "w".repeat(5_000))
}

/// The first character that a terminal would act on or not show. Line ends are ours.
fn hidden_in(text: &str) -> Option<char> {
    text.replace("\r\n", "\n").chars().find(|c| *c != '\n' && is_hidden(*c))
}

/// What was printed is harmless.
fn check_harmless(ran: &Ran, place: &str) {
    for text in [&ran.stdout, &ran.stderr] {
        assert_eq!(hidden_in(text), None, "{place}: {text:?}");
        assert!(!text.lines().any(|line| line.starts_with("[ERROR]")), "{place}: {text}");
    }
}

/// A post of which every text is an attack, one of no known platform, one with a wrong field, and the record of a run
/// that somebody has changed. The id of the first.
async fn attacked() -> (TestEnv, String) {
    let env = TestEnv::new().await;
    let id = format!("x{ATTACK}");
    let entry = doc! {
        "attempt": 1, "startedAt": hours_ago(3), "finishedAt": hours_ago(3), "outcome": "failed",
        "category": "network", "error": nasty(), "host": nasty(), "resetAt": hours_ago(2), "resetBy": nasty(),
    };
    let fields = doc! {
        "_id": &id, "title": nasty(), "storyName": nasty(), "error": nasty(), "videoPath": format!("{ATTACK}.mp4"),
        "retryCount": 1, "retryHistory": [entry], "retryClaim": { "by": nasty(), "until": hours_ago(1) },
    };
    env.post("tiktok", fields).await;
    env.post(&nasty(), Document::new()).await;
    env.post("instagram", doc! { "title": nasty(), "retryCount": nasty() }).await;
    (env, id)
}

async fn change_runs(env: &TestEnv) {
    let given_up = doc! { "category": "auth", "reason": nasty(), "waiting": 3_i64, "since": hours_ago(5) };
    let change = doc! { "$set": { "outcome": nasty(), "byPlatform.tiktok.givenUp": given_up } };
    env.database.collection::<Document>("postretry_runs").update_many(doc! {}, change).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_text_of_a_document_acts_on_a_terminal_or_forges_a_line() {
    let (env, id) = attacked().await;
    let absent = format!("{id}{}", "w".repeat(5_000));
    for (arguments, codes) in [
        (&["run", "--dry-run"][..], &[0][..]),
        (&["run", "-vv"], &[0, 3]),
        (&["retry", "-v", &id], &[3]),
        (&["list-failed"], &[0]),
        (&["list-failed", &id], &[0]),
        (&["list-failed", "--format", "csv"], &[0]),
        (&["stats"], &[0]),
        (&["stats", "--format", "prometheus"], &[0]),
        (&["reset", "--dry-run", &id], &[0]),
        (&["reset", "--dry-run", "--platform", "tiktok", "--platform", "instagram"], &[0]),
        (&["retry", &absent], &[6]),
        (&["reset", &absent], &[6]),
        (&["list-failed", &absent], &[6]),
        (&[ATTACK], &[2]),
        (&["run", "--platform", ATTACK], &[2]),
    ] {
        let ran = env.run(arguments).await;
        let place = format!("{:?}", arguments.first());
        assert!(codes.contains(&ran.code), "{place}: {ran:?}");
        check_harmless(&ran, &place);
        assert!(ran.stdout.len() + ran.stderr.len() < 64_000, "{place}: {} bytes", ran.stdout.len());
        if arguments[0] == "retry" && ran.code == 3 {
            change_runs(&env).await;
        }
    }
    let ran = env.run(&["list-failed"]).await.expect(0);
    assert!(ran.stdout.contains(r"\u{1b}[2J\u{1b}]0;t\u{7} [ERROR] forged"), "shown as it is: {}", ran.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_has_the_texts_as_they_are_and_no_raw_character_either() {
    let (env, id) = attacked().await;
    env.run(&["run"]).await;
    change_runs(&env).await;
    for arguments in [
        &["list-failed", "--json"][..],
        &["list-failed", "--json", &id],
        &["run", "--dry-run", "--json"],
        &["reset", "--dry-run", "--json", &id],
        &["stats", "--json"],
    ] {
        let ran = env.run(arguments).await.expect(0);
        check_harmless(&ran, arguments[0]);
        assert!(ran.json().is_object());
    }
    let listed = env.run(&["list-failed", "--json"]).await.expect(0).json();
    let posts = listed["posts"].as_array().unwrap();
    let post = posts.iter().find(|post| post["id"] == id.as_str()).unwrap();
    assert_eq!((post["title"].as_str(), post["story"].as_str()), (Some(nasty().as_str()), Some(nasty().as_str())));
    // What postretry itself writes is safe wherever it is read.
    let error = post["error"].as_str().unwrap();
    assert!(hidden_in(error).is_none() && error.chars().count() <= 1_000 && error.contains(r"\u{1b}"), "{error}");
    let of_malformed = posts.iter().filter(|post| post["platform"] != "tiktok");
    for error in of_malformed.map(|post| post["error"].as_str().unwrap()) {
        assert!(hidden_in(error).is_none() && error.chars().count() <= 1_100, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_line_is_wider_than_the_terminal_whatever_a_document_says() {
    let (env, id) = attacked().await;
    env.run(&["run"]).await;
    change_runs(&env).await;
    for columns in [80, 120] {
        for arguments in [
            &["list-failed"][..],
            &["list-failed", &id],
            &["run", "--dry-run"],
            &["reset", "--dry-run", &id],
            &["reset", "--dry-run", "--platform", "tiktok", "--platform", "instagram"],
            &["stats"],
        ] {
            let (code, bytes) = env.on_terminal(columns, &[arguments, &["--color", "never"]].concat(), "").await;
            let text = String::from_utf8(bytes).unwrap().replace("\r\n", "\n");
            assert_eq!((code, hidden_in(&text)), (0, None), "{arguments:?}: {text:?}");
            // The ID of one post in full stays whole, to be copied.
            let widest = text.lines().filter(|line| !line.starts_with("id  ")).map(UnicodeWidthStr::width).max();
            assert!(widest <= Some(usize::from(columns)), "{arguments:?}, {widest:?}:\n{text}");
            assert!(text.len() < 16_000, "{arguments:?}: {text}");
        }
    }
    // While a pass draws its lines, only its own escape sequences are among them.
    env.post("tiktok", doc! { "title": nasty(), "videoPath": format!("{ATTACK}.mp4") }).await;
    let (_, bytes) = env.on_terminal(100, &["run", "-v"], "").await;
    let text = String::from_utf8(bytes).unwrap();
    for part in ["\u{1b}[2J", "\u{1b}]0;", "\u{9b}", "\u{202e}", "\u{2066}", "\u{200b}", "\u{e0041}", "\n[ERROR]"] {
        assert!(!text.contains(part), "{part:?} in {text:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_megabyte_of_a_platforms_words_is_a_short_error_that_still_says_what_to_do() {
    let words = "no \u{1b}[31m\n[ERROR] forged ".repeat(20_000);
    assert!(words.len() > 450_000);
    let cases: [(&str, &str, Value, [&str; 2]); 3] = [
        (
            "tiktok",
            "tiktok.video_init",
            json!({ "data": {}, "error": { "code": "weird_code", "message": &words, "log_id": "2026" } }),
            ["`weird_code`", "refused for a reason that postretry does not know"],
        ),
        (
            "instagram",
            "instagram.create",
            json!({ "error": { "message": &words, "type": "OAuthException", "code": 100, "fbtrace_id": "A" } }),
            ["code 100", "the post is not accepted as it is"],
        ),
        (
            "youtube",
            "youtube.session",
            json!({ "error": { "code": 400, "message": &words, "errors": [{ "reason": "invalidTitle" }] } }),
            ["`invalidTitle`", "are not accepted; correct them"],
        ),
    ];
    for (platform, endpoint, body, told) in cases {
        let env = TestEnv::new().await;
        env.sandbox.fault(Fault::always(endpoint, Act::json(400, &body)));
        let id = env.post(platform, Document::new()).await;
        let ran = env.run(&["run", "-v"]).await;
        assert!(matches!(ran.code, 0 | 3), "{ran:?}");
        check_harmless(&ran, platform);
        assert!(ran.stdout.len() + ran.stderr.len() < 4_096, "{platform}: {ran:?}");
        let stored = env.get(&id).await;
        let error = stored.get_str("error").unwrap();
        assert!(error.chars().count() <= 1_000 && hidden_in(error).is_none(), "{error}");
        assert!(told.iter().all(|part| error.contains(part)) && error.contains("forged"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_a_hint_can_be_pasted_into_a_shell() {
    let env = TestEnv::new().await;
    for id in ["spring-42", "-x", "--force", "two words", "it's; echo $HOME $(id) \"a\"", "a  b\u{1b}[31m\u{202e}%s\\"]
    {
        let fields = doc! {
            "_id": id, "failureCategory": "ambiguous", "permanentlyFailed": true, "permanentlyFailedAt": hours_ago(1),
            "retryCount": 1,
        };
        env.post("instagram", fields).await;
        let ran = env.run(&["retry", "--", id]).await.expect(3);
        let hint = ran.stderr.lines().find(|line| line.starts_with("hint: ")).unwrap().to_owned();
        let between = |from: &str, to: &str| {
            let rest = hint.split_once(from).unwrap_or_else(|| panic!("{hint}")).1;
            rest.split_once(to).unwrap_or_else(|| panic!("{hint}")).0.to_owned()
        };
        let record = between("is there, `", "` records that");
        let send = between("is not, `", "` sends it again");
        for (command, name) in [(&record, "reset"), (&send, "retry")] {
            let arguments = arguments_of(command);
            assert_eq!((arguments[0].as_str(), arguments.last().unwrap().as_str()), (name, id), "{command}");
        }
        // postretry takes them as a shell passes them on.
        let mut arguments = arguments_of(&record);
        arguments.insert(1, "--dry-run".to_owned());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let planned = env.run(&arguments).await.expect(0);
        assert!(planned.stdout.contains("1 post would be recorded as posted"), "{planned:?}");
        let shown = env.run(&["list-failed", "--json", "--", id]).await.expect(0).json();
        let explanation = shown["post"]["explanation"].as_str().unwrap();
        assert!(explanation.contains(&format!("`postretry reset {}`", shell_quoted(id))), "{explanation}");
    }
}

/// What a shell makes of a command line of postretry.
fn arguments_of(command: &str) -> Vec<String> {
    let script = format!("postretry() {{ printf '%s\\n' \"$@\"; }}; {command}");
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spreadsheet_gets_no_formula_and_one_row_for_each_post() {
    let env = TestEnv::new().await;
    let fields = doc! {
        "_id": "-2+3", "title": "=HYPERLINK(\"http://evil.example\",\"click\")", "storyName": "\t+1", "error": "\r\n@SUM(A1)\nend",
    };
    env.post("tiktok", fields).await;
    let ran = env.run(&["list-failed", "--format", "csv"]).await.expect(0);
    let rows: Vec<&str> = ran.stdout.split("\r\n").collect();
    assert_eq!((rows.len(), rows[2]), (3, ""), "{}", ran.stdout);
    let expected = "'-2+3,\"'=HYPERLINK(\"\"http://evil.example\"\",\"\"click\"\")\",tiktok,'+1,failed,'@SUM(A1) end,,";
    assert!(rows[1].starts_with(expected), "{}", rows[1]);
}

/// If every hashtag were compared with every other one, a pass would take hours, and no signal would end it.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_hashtags_do_not_hold_up_a_pass() {
    let env = TestEnv::new().await;
    let hashtags: Vec<String> = (0..100_000).map(|number| format!("Tag{number}")).collect();
    for platform in ["tiktok", "instagram", "youtube"] {
        env.post(platform, doc! { "hashtags": hashtags.clone() }).await;
    }
    env.run(&["run", "--dry-run"]).await.expect(0);
    env.pass(0).await;
    assert_eq!(env.posted().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_a_document_is_not_printed_not_even_a_part_of_it() {
    let mut env = TestEnv::new().await;
    env.set("TIKTOK_CLIENT_SECRET", "hush-hush-hush-hush-hush-hush");
    let error = "GET https://ann:p@planted@graph.example/me?access_token=planted \"quoted\": \
                 hush-hush-hush-hush-hush-hush, Bearer planted-by-somebody, {\"accessToken\":\"is planted\"}";
    let title = "Spring hush-hush-hush-hush-hush-hush";
    let id = env.post("tiktok", doc! { "title": title, "error": error, "storyName": title }).await;
    for arguments in [
        &["list-failed"][..],
        &["list-failed", &id],
        &["list-failed", "--format", "csv"],
        &["list-failed", "--json"],
        &["list-failed", "--json", &id],
        &["reset", "--dry-run", &id],
        &["reset", "--dry-run", "--json", &id],
        &["run", "--dry-run", "--json"],
    ] {
        let ran = env.run(arguments).await.expect(0);
        let is_leaked = |text: &str| text.contains("hush-h") || text.contains("planted");
        assert!(!is_leaked(&ran.stdout) && !is_leaked(&ran.stderr), "{arguments:?}: {ran:?}");
        assert!(ran.stdout.contains("[redacted]"), "{arguments:?}: {ran:?}");
        assert!(!arguments.contains(&"--json") || ran.json().is_object());
    }
    for columns in [60, 80, 100] {
        for arguments in [&["list-failed"][..], &["reset", "--dry-run", "--platform", "tiktok"]] {
            let (_, bytes) = env.on_terminal(columns, arguments, "").await;
            let text = String::from_utf8(bytes).unwrap();
            assert!(!text.contains("hush-h"), "{text}");
        }
    }
}
