//! Settings from a map, and everything that can be wrong with them.

use super::*;

const STORE_URI: &str = "mongodb://user:hush@db1.internal/app";

fn resolve(pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let mut all = vec![("MONGODB_URI".to_owned(), STORE_URI.to_owned())];
    all.extend(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    Settings::resolve(&Environment::from_pairs(all), &Overrides::default())
}

fn problems(pairs: &[(&str, &str)]) -> String {
    resolve(pairs).unwrap_err().to_string()
}

#[test]
fn the_defaults_are_those_of_the_table() {
    let settings = resolve(&[]).unwrap();
    assert_eq!(settings.policy, RetryPolicy::default());
    assert_eq!(settings.pass.concurrency, 4);
    assert_eq!(settings.pass.gap, Duration::from_secs(11));
    assert_eq!(settings.pass.claim, Duration::from_secs(120));
    assert_eq!(settings.pass.wait, Duration::from_secs(300));
    assert_eq!(settings.http.timeout, Duration::from_secs(60));
    assert!(settings.platforms.is_empty());
}

#[test]
fn every_value_out_of_range_is_refused_with_name_value_and_what_is_allowed() {
    for (name, value, allowed) in [
        ("MAX_POST_RETRIES", "five", "a whole number from 0 to 20"),
        ("MAX_POST_RETRIES", "21", "a whole number from 0 to 20"),
        ("MAX_POST_RETRIES", "-1", "a whole number from 0 to 20"),
        ("POST_RETRY_INTERVAL_MINUTES", "0", "from 1 to 10080"),
        ("POST_RETRY_BACKOFF_FROM", "now", "`first-failure`, `last-attempt`"),
        ("POST_RETRY_CONCURRENCY", "257", "from 1 to 256"),
        ("POST_RETRY_GAP", "2h", "from 0s to 1h"),
        ("POST_RETRY_EXPIRE", "59s", "from 1m"),
        ("POST_RETRY_CLAIM", "999ms", "from 1s to 1h"),
        ("POST_RETRY_POLL", "9ms", "from 10ms to 1m"),
        ("POST_RETRY_WAIT", "61m", "from 0s to 1h"),
        ("HTTP_TIMEOUT", "11m", "from 1s to 10m"),
        ("INSTAGRAM_SETTLE", "soon", "from 0s to 10m"),
        ("ASSET_PUBLIC_URL", "http://example.com/a", "https"),
        ("TIKTOK_API_URL", "http://example.com", "https"),
        ("TIKTOK_API_URL", "https://example.com/v2", "without a path"),
        ("TIKTOK_PRIVACY_LEVEL", "EVERYONE", "`SELF_ONLY`"),
        ("YOUTUBE_PRIVACY_STATUS", "open", "`unlisted`"),
        ("YOUTUBE_MADE_FOR_KIDS", "maybe", "`true`, `false`"),
        ("YOUTUBE_CATEGORY_ID", "people", "number"),
        ("INSTAGRAM_GRAPH_VERSION", "25", "`v25.0`"),
        ("POST_COLLECTION", "bad$name", "no `$`"),
        ("POST_COLLECTION", ".posts", "no dot at the start"),
        ("STORY_COLLECTION", "stories.", "no dot at the start or the end"),
        ("STORY_COLLECTION", "system.stories", "no `system.` at the start"),
    ] {
        let text = problems(&[(name, value)]);
        assert!(text.contains(name) && text.contains(allowed) && text.contains(&format!("`{value}`")), "{text}");
    }
}

#[test]
fn a_collection_has_a_name_that_mongodb_takes() {
    for name in ["posts\0", "x".repeat(201).as_str()] {
        let text = problems(&[("POST_COLLECTION", name)]);
        assert!(
            text.contains("`POST_COLLECTION` is not the name of a MongoDB collection: at most 200 bytes"),
            "{text}"
        );
    }
    for name in ["marketing.posts", "Blog-Posts", "beiträge", "systems", "x".repeat(200).as_str()] {
        assert!(resolve(&[("POST_COLLECTION", name)]).is_ok(), "{name}");
    }
    // A SQLite file has no collections.
    assert!(resolve(&[("POSTRETRY_STORE", "sqlite:posts.db"), ("POST_COLLECTION", "bad$name")]).is_ok());
}

#[test]
fn all_problems_are_reported_at_once() {
    let text = problems(&[("MAX_POST_RETRIES", "x"), ("POST_RETRY_CLAIM", "x"), ("INSTAGRAM_USER_ID", "17")]);
    assert_eq!(text.lines().count(), 3, "{text}");
}

#[test]
fn half_a_platform_is_refused_and_says_what_is_missing() {
    let text = problems(&[("INSTAGRAM_ACCESS_TOKEN", "hush")]);
    assert!(text.contains("`INSTAGRAM_ACCESS_TOKEN` is set but `INSTAGRAM_USER_ID` is not"), "{text}");
    let text = problems(&[("TIKTOK_REFRESH_TOKEN", "hush"), ("TIKTOK_CLIENT_KEY", "key")]);
    assert!(text.contains("`TIKTOK_CLIENT_SECRET` is not") && !text.contains("hush"), "{text}");
    let text = problems(&[("YOUTUBE_REFRESH_TOKEN", "hush"), ("GOOGLE_CLIENT_ID", "id")]);
    assert!(text.contains("`YOUTUBE_CLIENT_SECRET` is not"), "{text}");
}

#[test]
fn googles_client_serves_youtube_but_does_not_configure_it() {
    let client = [("GOOGLE_CLIENT_ID", "id"), ("GOOGLE_CLIENT_SECRET", "hush")];
    assert!(resolve(&client).unwrap().platforms.is_empty());
    let with_token = [client[0], client[1], ("YOUTUBE_REFRESH_TOKEN", "hush")];
    let configured = format!("{:?}", resolve(&with_token).unwrap().platforms);
    assert!(configured.contains("YouTubeSettings") && configured.contains("client_id: \"id\""), "{configured}");
}

#[test]
fn no_secret_is_printed_by_settings_or_their_errors() {
    let settings = resolve(&[
        ("TIKTOK_ACCESS_TOKEN", "hush"),
        ("INSTAGRAM_USER_ID", "1"),
        ("INSTAGRAM_ACCESS_TOKEN", "hush"),
        ("ALERT_WEBHOOK_URL", "https://hooks.example.com/hush"),
    ])
    .unwrap();
    assert!(!format!("{settings:?}").contains("hush"));
    let text = problems(&[("ALERT_WEBHOOK_URL", "http://example.com/hush")]);
    assert!(text.contains("ALERT_WEBHOOK_URL") && !text.contains("hush"), "{text}");
}

#[test]
fn a_secret_with_a_control_character_is_refused_without_showing_it() {
    for name in [
        "TIKTOK_CLIENT_SECRET",
        "TIKTOK_REFRESH_TOKEN",
        "TIKTOK_ACCESS_TOKEN",
        "INSTAGRAM_ACCESS_TOKEN",
        "INSTAGRAM_APP_SECRET",
        "YOUTUBE_CLIENT_SECRET",
        "YOUTUBE_REFRESH_TOKEN",
    ] {
        for value in ["hush\nhush", "hush\thush", "hush\u{1b}hush", "hush\u{9b}hush", "hush\0hush"] {
            let text = problems(&[(name, value)]);
            assert!(text.contains(&format!("setting `{name}` contains a line break or another control character")));
            assert!(!text.contains("hush"), "{text}");
        }
    }
    assert!(resolve(&[("TIKTOK_ACCESS_TOKEN", " hush!é \n")]).is_ok());
}

#[test]
fn the_store_must_be_named_and_have_a_database() {
    let none = Settings::resolve(&Environment::default(), &Overrides::default()).unwrap_err().to_string();
    assert!(none.contains("MONGODB_URI"), "{none}");
    let text = problems(&[("MONGODB_URI", "mongodb://user:hush@db1.internal")]);
    assert!(text.contains("database") && !text.contains("hush"), "{text}");
    let text = problems(&[("POSTRETRY_STORE", "postgres://user:hush@db")]);
    assert!(text.contains("sqlite:PATH") && !text.contains("hush"), "{text}");
    for wrong in ["sqlite://user:hush@db/posts.db", "sqlite:///hush/posts.db", "sqlite://hush.db", "sqlite:hush\0.db"] {
        let text = problems(&[("POSTRETRY_STORE", wrong)]);
        assert!(text.contains("`POSTRETRY_STORE`") && text.contains("`sqlite:PATH`"), "{text}");
        assert!(!text.contains("hush") && text.lines().count() == 1, "{text}");
    }
}

#[test]
fn a_setting_that_is_not_utf_8_is_refused_with_the_other_problems() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use crate::environment::EnvFiles;
    let process = [
        (OsString::from("MONGODB_URI"), OsString::from(STORE_URI)),
        (OsString::from("POST_ASSET_ROOT"), OsString::from_vec(b"/srv/caf\xE9".to_vec())),
        (OsString::from("APP_ROOT"), OsString::from_vec(b"/srv/caf\xE9".to_vec())),
        (OsString::from("MAX_POST_RETRIES"), OsString::from("five")),
    ];
    let folder = tempfile::tempdir().unwrap();
    let files = EnvFiles { named: None, local: &folder.path().join(".env"), system: None };
    let environment = Environment::load(process, &files, variables()).unwrap();
    let text = Settings::resolve(&environment, &Overrides::default()).unwrap_err().to_string();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("setting `POST_ASSET_ROOT` is not valid UTF-8"), "{text}");

    // Without another store there is one problem, not also that none is set.
    let process = [(OsString::from("POSTRETRY_STORE"), OsString::from_vec(b"sqlite:caf\xE9.db".to_vec()))];
    let environment = Environment::load(process, &files, variables()).unwrap();
    let text = Settings::resolve(&environment, &Overrides::default()).unwrap_err().to_string();
    assert_eq!(text, "setting `POSTRETRY_STORE` is not valid UTF-8");
}

#[test]
fn names_that_are_nearly_ours_are_told_from_the_applications() {
    let pairs = [
        ("MONGODB_URI", STORE_URI),
        ("POST_RETRY_INTERVALL_MINUTES", "30"),
        ("TIKTOK_REFRESH_TOKN", "hush"),
        ("TIKTOK_CLIENT_ID", "the application's"),
        ("MONGODB_URL", "the application's"),
        ("HTTP_PORT", "8080"),
        ("NODE_ENV", "production"),
    ];
    let environment = Environment::from_pairs(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let expected = [
        ("POST_RETRY_INTERVALL_MINUTES", "POST_RETRY_INTERVAL_MINUTES"),
        ("TIKTOK_REFRESH_TOKN", "TIKTOK_REFRESH_TOKEN"),
    ];
    assert_eq!(environment.misspelt(variables()), expected);
}

#[test]
fn no_name_of_ours_is_a_slip_of_another() {
    let all: Vec<(String, String)> = variables().map(|known| (known.name.to_owned(), "x".to_owned())).collect();
    for (name, value) in all {
        let environment = Environment::from_pairs([(name, value)]);
        assert_eq!(environment.misspelt(variables()), []);
    }
}

#[test]
fn a_copy_of_the_example_means_what_the_defaults_mean() {
    let credentials = [
        ("TIKTOK_ACCESS_TOKEN", "hush"),
        ("INSTAGRAM_USER_ID", "1"),
        ("INSTAGRAM_ACCESS_TOKEN", "hush"),
        ("YOUTUBE_CLIENT_ID", "id"),
        ("YOUTUBE_CLIENT_SECRET", "hush"),
        ("YOUTUBE_REFRESH_TOKEN", "hush"),
    ];
    let example = env_example();
    let copied = dotenvy::from_read_iter(example.as_bytes()).map(Result::unwrap).collect::<Vec<_>>();
    let mut all: Vec<(&str, &str)> = copied.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    all.retain(|(name, _)| *name != "MONGODB_URI" && credentials.iter().all(|(known, _)| known != name));
    all.extend(credentials);
    // The platforms' upload hosts differ from their API hosts, so a changed origin is more than another API address.
    assert_eq!(format!("{:?}", resolve(&all).unwrap()), format!("{:?}", resolve(&credentials).unwrap()));
}
