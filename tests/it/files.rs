//! The files to publish, as whoever can write to the asset root may make them: things that are no files, files that
//! change under way, files that take another's place. And a process that can open no more of them.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::LazyLock;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use mongodb::bson::{Document, doc};
use postretry_sandbox::{Act, Fault};
use serde_json::Value;

use crate::machine::{has_namespaces, started_by};
use crate::store::insert_row;
use crate::support::env::{Ran, TestEnv, hours_ago, sha256, until, video};
use crate::support::kinds::post_of;

/// The requests with which a publish begins.
const OPENINGS: [&str; 4] = ["tiktok.video_init", "tiktok.photo_init", "instagram.create", "youtube.session"];

/// More than one part on TikTok and YouTube.
const LARGE: usize = 66_000_000;

fn asset(env: &TestEnv, name: &str) -> PathBuf {
    env.folder().join("assets").join(name)
}

fn make_pipe(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// One pass, which must not hang.
async fn pass(env: &TestEnv, code: i32) -> Value {
    tokio::time::timeout(Duration::from_secs(120), env.pass(code)).await.unwrap_or_else(|_| panic!("it hangs"))
}

fn assert_nothing_was_begun(env: &TestEnv) {
    for opening in OPENINGS {
        assert_eq!(env.sandbox.calls(opening), 0, "{opening}");
    }
    assert_eq!(env.sandbox.published().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_video_below_the_root_is_never_uploaded_and_never_waited_for() {
    let env = TestEnv::new().await;
    let outside = env.folder().join("outside.mp4");
    std::fs::write(&outside, video(1000, 5)).unwrap();
    std::fs::create_dir(asset(&env, "folder.mp4")).unwrap();
    env.file("empty.mp4", b"");
    env.file("text.mp4", b"The free lunch is over, says this text.");
    let _socket = UnixListener::bind(asset(&env, "socket.mp4")).unwrap();
    make_pipe(&asset(&env, "pipe.mp4"));
    let links = [
        ("pipe.mp4", "to-pipe.mp4"),
        ("/dev/zero", "to-device.mp4"),
        ("/proc/self/environ", "to-environment.mp4"),
        ("../outside.mp4", "to-outside.mp4"),
        ("loop.mp4", "loop.mp4"),
        ("..", "up"),
    ];
    for (target, name) in links {
        symlink(target, asset(&env, name)).unwrap();
    }
    let mut paths = vec![
        "folder.mp4",
        "empty.mp4",
        "text.mp4",
        "socket.mp4",
        "pipe.mp4",
        "../outside.mp4",
        "up/outside.mp4",
        outside.to_str().unwrap(),
        "/dev/zero",
        "/proc/self/environ",
        "../../../../../../../../proc/self/environ",
        "",
        ".",
    ];
    paths.extend(links.map(|(_, name)| name));
    let platforms = ["tiktok", "instagram", "youtube"];
    for platform in platforms {
        for path in &paths {
            env.post(platform, doc! { "videoPath": *path, "title": *path }).await;
        }
    }
    let output = pass(&env, 0).await;
    let posts = output["posts"].as_array().unwrap();
    assert_eq!(posts.len(), paths.len() * platforms.len(), "no circuit opens: {output}");
    for post in posts {
        assert_eq!(post["category"], "missing_asset", "{post}");
        assert_eq!(post["outcome"], "failed", "{post}");
    }
    assert_nothing_was_begun(&env);
}

/// The device takes the place of a file: a link to it would lead out of the asset root.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_below_the_root_is_not_read() {
    const WITH_DEVICE: &str = r#"mount --bind /dev/zero "$0" && exec "$@""#;
    if !has_namespaces() {
        println!("not tested: this system refuses mounts of one's own (`unshare -rm`)");
        return;
    }
    let env = TestEnv::new().await;
    env.file("device.mp4", &video(1000, 1));
    let platforms = ["tiktok", "instagram", "youtube"];
    for platform in platforms {
        env.post(platform, doc! { "videoPath": "device.mp4" }).await;
    }
    let device = asset(&env, "device.mp4");
    let program = env!("CARGO_BIN_EXE_postretry");
    let starter = ["unshare", "-rm", "sh", "-c", WITH_DEVICE, device.to_str().unwrap(), program];
    let output = tokio::time::timeout(Duration::from_secs(60), started_by(&env, &starter, &["run", "--json"]).output());
    let output = output.await.unwrap_or_else(|_| panic!("it hangs")).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let posts = result["posts"].as_array().unwrap();
    assert_eq!(posts.len(), platforms.len(), "{result}");
    for post in posts {
        assert_eq!(post["category"], "missing_asset", "{post}");
        assert!(post["error"].as_str().unwrap().contains("not a regular file"), "{post}");
    }
    assert_nothing_was_begun(&env);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_larger_than_the_platform_takes_is_refused_before_anything_is_sent() {
    for (platform, largest) in [("tiktok", 4u64 << 30), ("instagram", 300 << 20), ("youtube", 256 << 30)] {
        for size in [largest + 1, 5 << 40] {
            let env = TestEnv::new().await;
            env.file("sparse.mp4", &video(100, 1));
            File::options().write(true).open(asset(&env, "sparse.mp4")).unwrap().set_len(size).unwrap();
            env.post(platform, doc! { "videoPath": "sparse.mp4" }).await;
            let output = pass(&env, 3).await;
            let post = &output["posts"][0];
            assert_eq!(post["outcome"], "permanentlyFailed", "{platform}: {output}");
            assert_eq!(post["category"], "media_processing", "{platform}: {output}");
            let error = post["error"].as_str().unwrap();
            assert!(error.contains(&format!("at most {largest}")), "{platform}: {error}");
            assert_nothing_was_begun(&env);
        }
    }
}

/// Though it is fetched from its public address: what is there is the file below the asset root.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_larger_than_the_platform_takes_is_refused_before_anything_is_sent() {
    for (kind, largest) in [("tiktok photo", 20u64 << 20), ("instagram image", 8 << 20)] {
        let (platform, fields) = post_of(kind);
        for (size, is_taken) in [(largest, true), (largest + 1, false)] {
            let env = TestEnv::new().await;
            File::options().write(true).open(asset(&env, "a.jpg")).unwrap().set_len(size).unwrap();
            env.post(platform, fields.clone()).await;
            if is_taken {
                assert_eq!(pass(&env, 0).await["totals"]["posted"], 1, "{platform}");
                continue;
            }
            let planned = env.run(&["run", "--dry-run", "--format", "json"]).await.expect(0).stdout;
            assert!(planned.contains(&format!("at most {largest}")), "{platform}: {planned}");
            let output = pass(&env, 3).await;
            let post = &output["posts"][0];
            assert_eq!(post["outcome"], "permanentlyFailed", "{platform}: {output}");
            assert_eq!(post["category"], "media_processing", "{platform}: {output}");
            let error = post["error"].as_str().unwrap();
            let expected = format!("the image has {size} bytes, but ");
            assert!(error.contains(&expected) && error.contains(&format!("at most {largest}")), "{platform}: {error}");
            assert_nothing_was_begun(&env);
        }
    }
}

/// A video in several parts, and another of the same size.
static ORIGINAL: LazyLock<Vec<u8>> = LazyLock::new(|| video(LARGE, 4));
static OTHER: LazyLock<Vec<u8>> = LazyLock::new(|| video(LARGE, 9));

/// What happens to a file while it is being uploaded.
#[derive(Debug, Clone, Copy)]
enum Change {
    /// Another version of the same size is written into it.
    Rewritten,
    Appended,
    CutShort,
    /// A file takes its place.
    ReplacedByFile,
    ReplacedByLinkToOutside,
    ReplacedByPipe,
    ReplacedByFolder,
    Removed,
}

impl Change {
    const ALL: [Self; 8] = [
        Self::Rewritten,
        Self::Appended,
        Self::CutShort,
        Self::ReplacedByFile,
        Self::ReplacedByLinkToOutside,
        Self::ReplacedByPipe,
        Self::ReplacedByFolder,
        Self::Removed,
    ];

    /// Whether the file that is open stays as it was.
    fn leaves_the_open_file(self) -> bool {
        !matches!(self, Self::Rewritten | Self::Appended | Self::CutShort)
    }

    fn make(self, path: &Path) {
        let other = path.with_file_name("other");
        match self {
            Self::Rewritten => std::fs::write(path, OTHER.as_slice()).unwrap(),
            Self::Appended => File::options().append(true).open(path).unwrap().write_all(b"more").unwrap(),
            Self::CutShort => File::options().write(true).open(path).unwrap().set_len(20_000_000).unwrap(),
            Self::ReplacedByFile => std::fs::write(&other, OTHER.as_slice()).unwrap(),
            Self::ReplacedByLinkToOutside => {
                let outside = path.parent().unwrap().with_file_name("outside.mp4");
                std::fs::write(&outside, OTHER.as_slice()).unwrap();
                symlink(outside, &other).unwrap();
            }
            Self::ReplacedByPipe => make_pipe(&other),
            Self::ReplacedByFolder => {
                std::fs::remove_file(path).unwrap();
                std::fs::create_dir(path).unwrap();
            }
            Self::Removed => std::fs::remove_file(path).unwrap(),
        }
        if matches!(self, Self::ReplacedByFile | Self::ReplacedByLinkToOutside | Self::ReplacedByPipe) {
            std::fs::rename(other, path).unwrap();
        }
    }
}

/// Changes the file when the platform has got a first part of it and waits for the next.
async fn change_between_parts(platform: &'static str, change: Change) {
    let place = format!("{platform}, {change:?}");
    let mut env = TestEnv::new().await;
    // Time enough to change the file, also on a busy machine.
    env.set("POST_RETRY_POLL", "4s");
    env.set("POST_RETRY_WAIT", "2m");
    {
        let mut world = env.sandbox.world();
        world.knobs.tiktok_looks = 0;
        world.knobs.instagram_looks = 0;
        world.knobs.youtube_looks = 0;
    }
    let (endpoint, act) = match platform {
        "tiktok" => ("tiktok.chunk", Act::Slow { ms: 6000 }),
        "youtube" => ("youtube.chunk", Act::Slow { ms: 6000 }),
        // It gets a reel in one part, so its connection breaks off, and it is tried again after a while.
        _ => ("instagram.upload", Act::Cut { after: 1_000_000 }),
    };
    env.sandbox.fault(Fault::once(endpoint, act));
    let original = {
        // Making it takes too long while an upload goes on.
        LazyLock::force(&OTHER);
        env.file("large.mp4", &ORIGINAL);
        sha256(&ORIGINAL)
    };
    let id = env.post(platform, doc! { "videoPath": "large.mp4", "failedAt": hours_ago(500) }).await;
    let process = env.command(&["run", "--format", "json"]).spawn().unwrap();
    until(async || env.sandbox.calls(endpoint) > 0).await;
    change.make(&asset(&env, "large.mp4"));
    let ended = tokio::time::timeout(Duration::from_secs(120), process.wait_with_output()).await;
    let ended = ended.unwrap_or_else(|_| panic!("{place}: it hangs")).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{place}: {}", String::from_utf8_lossy(&ended.stderr));

    let (post, published) = (env.get(&id).await, env.sandbox.published());
    if change.leaves_the_open_file() {
        assert_eq!(post.get_str("status").ok(), Some("posted"), "{place}: {post}");
        let published: Vec<_> = published.iter().map(|post| post.sha256.as_str()).collect();
        assert_eq!(published, [original.as_str()], "{place}");
        return;
    }
    assert_eq!(published.len(), 0, "{place}: {post}");
    assert_eq!(post.get_str("failureCategory").ok(), Some("missing_asset"), "{place}: {post}");
    let error = post.get_str("error").unwrap();
    assert!(error.contains("`large.mp4`") && error.contains("changed while it was being uploaded"), "{place}: {error}");
    assert_eq!(post.get_i32("retryCount").ok(), Some(1), "{place}: {post}");

    let now = sha256(&std::fs::read(asset(&env, "large.mp4")).unwrap());
    assert_eq!(pass(&env, 0).await["totals"]["posted"], 1, "{place}");
    let published: Vec<_> = env.sandbox.published().into_iter().map(|post| post.sha256).collect();
    assert_eq!(published, [now], "{place}: the new version, and nothing else");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_between_two_parts_is_never_mixed_with_another() {
    let places = ["tiktok", "instagram", "youtube"]
        .into_iter()
        .flat_map(|platform| Change::ALL.map(|change| change_between_parts(platform, change)));
    stream::iter(places.collect::<Vec<_>>()).buffer_unordered(6).collect::<Vec<()>>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_cut_short_say_nothing_of_the_platform() {
    let mut env = TestEnv::new().await;
    env.set("POST_RETRY_CONCURRENCY", "3");
    env.file("large.mp4", &ORIGINAL);
    let slow = Fault::once("youtube.chunk", Act::Slow { ms: 5000 });
    env.sandbox.fault(Fault { times: 3, ..slow });
    for _ in 0..3 {
        env.post("youtube", doc! { "videoPath": "large.mp4", "failedAt": hours_ago(9) }).await;
    }
    env.post("youtube", Document::new()).await;
    let process = env.command(&["run", "--format", "json"]).spawn().unwrap();
    until(async || env.sandbox.calls("youtube.chunk") >= 3).await;
    Change::CutShort.make(&asset(&env, "large.mp4"));
    let output: Value = serde_json::from_slice(&process.wait_with_output().await.unwrap().stdout).unwrap();
    let mut ended: Vec<_> = output["posts"].as_array().unwrap().iter().map(|post| post["category"].as_str()).collect();
    ended.sort_unstable();
    let missing = Some("missing_asset");
    assert_eq!(ended, [None, missing, missing, missing], "{output}");
    assert_eq!(output["totals"]["posted"], 1, "the circuit stays closed: {output}");
}

/// Runs a pass that can have only so many open files.
async fn run_with_files(env: &TestEnv, files: usize) -> Ran {
    let script = format!("ulimit -n {files}; exec \"$0\" \"$@\"");
    let mut command = tokio::process::Command::new("/bin/sh");
    command
        .args(["-c", &script, env!("CARGO_BIN_EXE_postretry"), "run"])
        .env_clear()
        .envs(&env.settings)
        .current_dir(env.folder())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(60), command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("it hangs with {files} files")).unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs passes with every small number of open files.
async fn run_out_of_files(kind: &'static str) {
    let mut env = TestEnv::new().await;
    let store = env.on_sqlite().await;
    let (platform, fields) = post_of(kind);
    let platform = if platform == "youtube" { "youtube_shorts" } else { platform };
    let (mut posted, mut told) = (0, 0);
    for files in 8..40 {
        let mut row = doc! {
            "id": "p1", "title": "A title", "caption": "A caption", "platform": platform, "status": "failed",
            "contentType": "video", "videoPath": "a.mp4", "failedAt": hours_ago(2),
        };
        row.extend(fields.clone());
        insert_row(&store, &row);
        let ran = run_with_files(&env, files).await;
        let connection = rusqlite::Connection::open(&store).unwrap();
        let columns = "status, coalesce(retry_count, 0), claim_by, failure_category, coalesce(permanently_failed, 0)";
        let (status, retries, claim, category, is_permanent) = connection
            .query_row(&format!("SELECT {columns} FROM posts"), [], |row| {
                let (claim, category): (Option<String>, Option<String>) = (row.get(2)?, row.get(3)?);
                Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, claim, category, row.get::<_, i64>(4)?))
            })
            .unwrap();
        connection.execute("DELETE FROM posts", []).unwrap();
        let place = format!("{kind}, {files} files, {status}, {retries} retries, {claim:?}, {category:?}: {ran:?}");
        if ran.stderr.contains("no more files and connections can be opened") {
            told += 1;
            assert!(ran.code == 1 && ran.stderr.matches("error:").count() == 1, "{place}");
            assert!(ran.stderr.contains("hint: ") && ran.stderr.contains("ulimit -n"), "{place}");
            assert_eq!((status.as_str(), &claim), ("failed", &None), "{place}");
        }
        if status == "posted" {
            posted += 1;
            continue;
        }
        assert_eq!((category, is_permanent), (None, 0), "{place}");
        // A claim that the store could not take back any more is taken up again at no cost.
        assert!(retries == 0 || claim.is_some(), "{place}");
    }
    assert!(posted > 0 && told > 0, "{kind}: {posted} posted, {told} told");
    assert_eq!(env.sandbox.published().len(), posted, "{kind}");
    assert_eq!(env.sandbox.world().violations, Vec::<String>::new(), "{kind}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_can_open_no_more_files_costs_no_post_a_retry() {
    let kinds = ["tiktok", "tiktok photo", "instagram", "youtube"];
    stream::iter(kinds).map(run_out_of_files).buffer_unordered(4).collect::<Vec<()>>().await;
}
