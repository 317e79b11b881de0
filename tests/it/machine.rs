//! Faults of the machine: a full disk, limits of the system, too little memory, dead mounts, closed streams, a wrong
//! clock, an odd environment, missing certificates. Each is told in a line, and the store stays whole: later passes
//! publish every post exactly once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use chrono::TimeDelta;
use mongodb::bson::{Document, doc};
use postretry_sandbox::{Act, Fault};
use rusqlite::Connection;
use serde_json::Value;

use crate::store::insert_row;
use crate::support::env::{TestEnv, date, date_of, hours_ago, now, until, video};

const BINARY: &str = env!("CARGO_BIN_EXE_postretry");
const DAY: i64 = 24 * 60 * 60;

/// A user that owns nothing.
const NOBODY: &str = "65531";

/// An environment with a SQLite store, in which claims are short.
async fn on_sqlite() -> (TestEnv, PathBuf) {
    let mut env = TestEnv::new().await;
    env.set("POST_RETRY_CLAIM", "1s");
    let path = env.on_sqlite().await;
    (env, path)
}

/// Inserts a post that failed so many hours ago: with some hundred hours it stays due whatever becomes of it.
fn insert(path: &Path, id: &str, hours: i64) {
    let row = doc! {
        "id": id, "title": "A title", "caption": id, "platform": "youtube_shorts", "status": "failed", "videoPath": "a.mp4",
        "failedAt": hours_ago(hours),
    };
    insert_row(path, &row);
}

/// The binary, started by another program that changes something about its process first.
pub(crate) fn started_by(env: &TestEnv, starter: &[&str], arguments: &[&str]) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(starter[0]);
    command
        .args(&starter[1..])
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .envs(&env.settings)
        .current_dir(env.folder())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

fn stderr_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What went wrong is told in the form of all errors. Of a process that the system has killed nothing is expected.
fn assert_told(output: &Output, place: &str) {
    let said = stderr_of(output);
    let Some(code) = output.status.code() else { return };
    assert!(matches!(code, 0 | 1 | 3 | 5), "{place}: exit {code}: {said}");
    assert!(!said.contains("panicked") && !said.contains("BACKTRACE"), "{place}: {said}");
    assert!(matches!(code, 0 | 3) || said.lines().any(|line| line.starts_with("error: ")), "{place}: {said}");
}

fn count(path: &Path, condition: &str) -> usize {
    let sql = format!("SELECT count(*) FROM posts WHERE {condition}");
    Connection::open(path).unwrap().query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap().try_into().unwrap()
}

fn assert_whole(path: &Path) {
    let check: String =
        Connection::open(path).unwrap().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok", "{}", path.display());
}

/// Without the fault, passes publish all that is left, and nothing a second time.
async fn all_are_published_once(env: &TestEnv, path: &Path) {
    assert_whole(path);
    until(async || {
        env.run(&["run"]).await.expect(0);
        count(path, "status = 'failed'") == 0
    })
    .await;
    assert_eq!(env.sandbox.published().len(), count(path, "status = 'posted'"));
    assert_eq!(env.sandbox.world().violations, Vec::<String>::new());
    assert_whole(path);
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    std::process::Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

/// Whether a test may have file systems of its own.
pub(crate) fn has_namespaces() -> bool {
    succeeds("unshare", &["-rm", "true"])
}

fn is_root() -> bool {
    let id = std::process::Command::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_everything_is_published_once_when_there_is_space_again() {
    // A small file system for the store, with this much space left. Afterwards the store is copied back.
    const ON_SMALL_DISK: &str = r#"
        mkdir -p disk && mount -t tmpfs -o size=2m tmpfs disk || exit 99
        cp posts.db disk/ && cat /dev/zero > disk/fill 2> /dev/null
        truncate -s "-$0" disk/fill
        POSTRETRY_STORE=sqlite:disk/posts.db "$@"; code=$?
        rm disk/fill && rm -f posts.db-wal posts.db-shm && cp disk/posts.db posts.db || exit 98
        [ ! -e disk/posts.db-wal ] || cp disk/posts.db-wal posts.db-wal || exit 97
        exit $code
    "#;
    // No file can become larger than this.
    const WITH_FILE_LIMIT: &str = r#"trap "" XFSZ; exec prlimit --fsize="$0" "$@""#;
    let (env, path) = on_sqlite().await;
    let mut full = 0;
    if has_namespaces() {
        for space in ["0", "16k", "40k", "64k", "80k", "96k", "112k", "128k", "160k", "200k"] {
            insert(&path, &format!("space {space} a"), 2400);
            insert(&path, &format!("space {space} b"), 2400);
            let starter = ["unshare", "-rm", "sh", "-c", ON_SMALL_DISK, space, BINARY];
            let output = started_by(&env, &starter, &["run"]).output().await.unwrap();
            assert_told(&output, space);
            full += usize::from(stderr_of(&output).contains("the disk is full"));
            all_are_published_once(&env, &path).await;
        }
        assert!(full >= 3, "the disk was full {full} times");
    } else {
        println!("this system refuses file systems of one's own, so only file sizes are limited");
    }
    let size = path.metadata().unwrap().len();
    let mut limited = 0;
    for limit in [0, 10_000, 40_000, 60_000, size, size + 20_000, size + 40_000] {
        insert(&path, &format!("limit {limit}"), 2400);
        let limit = limit.to_string();
        let starter = ["sh", "-c", WITH_FILE_LIMIT, &limit, BINARY];
        let output = started_by(&env, &starter, &["run"]).output().await.unwrap();
        assert_told(&output, &limit);
        limited += usize::from(output.status.code() == Some(5));
        all_are_published_once(&env, &path).await;
    }
    assert!(limited > 0, "no limit was reached");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_on_open_files_is_told_and_everything_is_published_once_without_it() {
    let (env, path) = on_sqlite().await;
    let mut codes = Vec::new();
    for limit in 4..30 {
        insert(&path, &format!("limit {limit}"), 2400);
        let limit = format!("--nofile={limit}");
        let output = started_by(&env, &["prlimit", &limit, BINARY], &["run"]).output().await.unwrap();
        assert_told(&output, &limit);
        let said = stderr_of(&output);
        if said.contains("Too many open files") {
            assert!(output.status.code() != Some(1) || said.contains("`ulimit -n`"), "{limit}: {said}");
        }
        codes.push(output.status.code());
        all_are_published_once(&env, &path).await;
    }
    assert!(codes.contains(&Some(1)) && codes.contains(&Some(0)), "{codes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_refuses_threads_is_told_and_nothing_hangs() {
    let (env, path) = on_sqlite().await;
    // The limit does not hold for root. Another user needs the files, and a binary where it can be reached.
    let binary = env.folder().join("postretry");
    std::fs::copy(BINARY, &binary).unwrap();
    let binary = binary.to_str().unwrap();
    let folder = env.folder().to_str().unwrap();
    assert!(succeeds("chmod", &["-R", "a+rwX", folder]) && succeeds("chmod", &["a+rx", binary]));
    let identity = ["setpriv", "--reuid", NOBODY, "--clear-groups"];
    let starter = if is_root() { &identity[..] } else { &["env"][..] };
    let mut refused = 0;
    for limit in 1..10 {
        insert(&path, &format!("limit {limit}"), 2400);
        let limit = format!("--nproc={limit}");
        let starter = [starter, &["prlimit", &limit, binary][..]].concat();
        let running = started_by(&env, &starter, &["run"]).output();
        let output = tokio::time::timeout(Duration::from_secs(60), running).await;
        let output = output.unwrap_or_else(|_| panic!("{limit}: it hangs")).unwrap();
        assert_told(&output, &limit);
        // The thread of the store is refused with the code of the store.
        if matches!(output.status.code(), Some(1 | 5)) {
            let said = stderr_of(&output);
            assert!(said.contains("hint: ") && said.contains("`ulimit -u`"), "{limit}: {said}");
            refused += 1;
        }
        all_are_published_once(&env, &path).await;
    }
    // Other users' limits count all their processes, so that there every limit is too low.
    assert!(refused > 0 && (refused < 9 || !is_root()), "{refused} of 9 were refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_little_memory_does_no_harm() {
    let (env, path) = on_sqlite().await;
    let mut codes = Vec::new();
    for megabytes in [20, 40, 60, 80, 100, 120, 150, 180, 220, 260, 300, 400, 600, 4000] {
        insert(&path, &format!("{megabytes} MB"), 2400);
        let limit = format!("--as={megabytes}000000");
        let output = started_by(&env, &["prlimit", &limit, BINARY], &["run"]).output().await.unwrap();
        // The loader has its own exit code for a program that does not fit.
        if output.status.code() != Some(127) {
            assert_told(&output, &limit);
        }
        codes.push(output.status.code());
        all_are_published_once(&env, &path).await;
    }
    assert_eq!(codes.last(), Some(&Some(0)), "{codes:?}");
    assert!(codes.iter().any(|code| *code != Some(0)), "{codes:?}");
}

/// A control group of its own, whose processes have so much memory together.
struct MemoryGroup(PathBuf);

impl MemoryGroup {
    /// None if this system refuses it.
    fn new(bytes: u64) -> Option<Self> {
        // Control groups of the first version, and of the second. The last setting is about swapping, if there is any.
        let versions = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", ("memory.memsw.limit_in_bytes", bytes)),
            ("/sys/fs/cgroup", "memory.max", ("memory.swap.max", 0)),
        ];
        versions.into_iter().find_map(|(folder, limit, (swap, swapped))| {
            let group = Path::new(folder).join(format!("postretry-{}", std::process::id()));
            std::fs::create_dir(&group).ok()?;
            let group = Self(group);
            group.set(limit, bytes).ok()?;
            group.set(swap, swapped).unwrap_or_default();
            Some(group)
        })
    }

    fn set(&self, name: &str, value: u64) -> io::Result<()> {
        // Elsewhere than in a control group there is no such file, and none is made.
        File::options().write(true).open(self.0.join(name))?.write_all(value.to_string().as_bytes())
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // One that is left behind does not change the result of the test.
        std::fs::remove_dir(&self.0).unwrap_or_default();
    }
}

/// As in a container or a service with a limit. Another process of the group takes the memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_the_kernel_kills_for_want_of_memory_in_an_upload_publishes_once() {
    const IN_GROUP: &str = r#"echo $$ > "$0/cgroup.procs" && exec "$@""#;
    // Of a group, the kernel kills the process with the largest number.
    const FIRST_TO_BE_KILLED: &str = r#"echo 1000 > /proc/self/oom_score_adj && exec "$0" "$@""#;
    let Some(group) = MemoryGroup::new(150_000_000) else {
        println!("not tested: this system refuses a control group of one's own for memory");
        return;
    };
    let group = group.0.to_str().unwrap();
    let (env, path) = on_sqlite().await;
    for endpoint in ["youtube.session", "youtube.chunk"] {
        insert(&path, endpoint, 2400);
        let held = env.sandbox.world().held;
        env.sandbox.fault(Fault::once(endpoint, Act::HoldAnswer));
        let starter = ["sh", "-c", IN_GROUP, group, "sh", "-c", FIRST_TO_BE_KILLED, BINARY];
        let process = started_by(&env, &starter, &["run"]).spawn().unwrap();
        until(async || env.sandbox.world().held > held).await;
        // It reads an endless line into its memory.
        let greedy = ["sh", "-c", IN_GROUP, group, "tail"];
        let mut greedy = started_by(&env, &greedy, &["/dev/zero"]).spawn().unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(60), process.wait_with_output()).await;
        let ended = ended.unwrap_or_else(|_| panic!("{endpoint}: it was not killed")).unwrap();
        assert_eq!(ended.status.signal(), Some(9), "{endpoint}: {ended:?}");
        // It meets the same end now.
        greedy.wait().await.unwrap();
        all_are_published_once(&env, &path).await;
    }
}

/// What a network mount becomes without its server: one does not answer, one stops in the middle of a file, and one
/// refuses everything.
#[tokio::test(flavor = "multi_thread")]
async fn mounts_that_have_lost_their_server_hold_up_their_own_posts_only_and_for_half_a_minute() {
    const MOUNTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/mounts.py");
    const REFUSED: i32 = 77;
    if !has_namespaces() {
        println!("not tested: this system refuses mounts of one's own (`unshare -rm`)");
        return;
    }
    let (mut env, path) = on_sqlite().await;
    env.set("POST_RETRY_CLAIM", "10s");
    // The oldest is first, and shows that the credentials are good.
    insert(&path, "here", 2500);
    for mount in ["silent", "stalled", "gone"] {
        let row = doc! {
            "id": mount, "title": "A title", "caption": mount, "platform": "youtube_shorts", "status": "failed",
            "videoPath": format!("{mount}/a.mp4"), "failedAt": hours_ago(2400),
        };
        insert_row(&path, &row);
    }
    #[expect(clippy::disallowed_methods, reason = "where Python is, not a setting")]
    let programs = std::env::var_os("PATH").unwrap_or_default();
    let beside = |folder: &Path| {
        let starter = ["unshare", "-rm", "python3", MOUNTS, folder.to_str().unwrap(), "1000000", BINARY];
        let mut command = started_by(&env, &starter, &["run", "--json"]);
        command.env("PATH", &programs);
        command
    };
    let (assets, other) = (env.folder().join("assets"), env.folder().join("mounts"));
    std::fs::create_dir(&other).unwrap();
    let mut without_root = beside(&other);
    without_root.env("POST_ASSET_ROOT", other.join("silent"));
    let mut with_root = beside(&assets);
    let both = async { tokio::join!(with_root.output(), without_root.output()) };
    let ended = tokio::time::timeout(Duration::from_secs(120), both).await;
    let (pass, refused) = ended.unwrap_or_else(|_| panic!("it hangs"));
    let (pass, refused) = (pass.unwrap(), refused.unwrap());
    if pass.status.code() == Some(REFUSED) {
        println!("not tested: {}", stderr_of(&pass));
        return;
    }
    assert_eq!(pass.status.code(), Some(0), "{}", stderr_of(&pass));
    let result: Value = serde_json::from_slice(&pass.stdout).unwrap();
    for (mount, problem) in [("silent", "longer than 30s"), ("stalled", "longer than 30s"), ("gone", "not connected")] {
        let post = result["posts"].as_array().unwrap().iter().find(|post| post["id"] == mount).unwrap();
        assert_eq!((&post["outcome"], &post["category"]), (&"failed".into(), &"missing_asset".into()), "{post}");
        let error = post["error"].as_str().unwrap();
        assert!(error.contains(problem) && error.contains(&format!("`{mount}/a.mp4`")), "{error}");
    }
    assert_eq!(env.sandbox.published().len(), 1, "{result}");
    assert_eq!(refused.status.code(), Some(4), "{}", stderr_of(&refused));
    let said = stderr_of(&refused);
    assert!(said.contains("`POST_ASSET_ROOT`") && said.contains("no response within 30s"), "{said}");

    // The mounts come back.
    for (mount, seed) in [("silent", 2), ("stalled", 3), ("gone", 4)] {
        std::fs::write(assets.join(mount).join("a.mp4"), video(1_000_000, seed)).unwrap();
    }
    all_are_published_once(&env, &path).await;
    assert_eq!(env.sandbox.published().len(), 4);
}

/// In a namespace of its own a process has no network, not even the loopback address.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_network_the_posts_wait_for_the_next_pass() {
    if !succeeds("unshare", &["-rn", "true"]) {
        println!("not tested: this system refuses a network of one's own (`unshare -rn`)");
        return;
    }
    let (env, path) = on_sqlite().await;
    insert(&path, "due", 2400);
    let output = started_by(&env, &["unshare", "-rn", BINARY], &["run", "--json"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr_of(&output));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["posts"][0]["category"], "network", "{result}");
    assert_eq!(env.sandbox.world().requests.len(), 0);
    all_are_published_once(&env, &path).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_streams_are_no_obstacle_and_nothing_is_written_into_the_store_instead() {
    let (env, path) = on_sqlite().await;
    for closed in ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"] {
        insert(&path, closed, 2400);
        insert_row(
            &path,
            &doc! { "id": format!("bad {closed}"), "platform": "tiktok", "status": "failed", "retryCount": "x" },
        );
        let script = format!(r#"exec "$0" "$@" {closed}"#);
        let output = started_by(&env, &["sh", "-c", &script, BINARY], &["run", "-vv"]).output().await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{closed}: {}", stderr_of(&output));
        assert_whole(&path);
    }
    assert_eq!(count(&path, "status = 'posted'"), 5);
    assert_eq!(env.sandbox.published().len(), 5);
}

/// A library that shifts the clock of a process that loads it.
fn clock() -> &'static str {
    static LIBRARY: LazyLock<String> = LazyLock::new(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (made, library) = (folder.join(format!("clock-{}.so", std::process::id())), folder.join("clock.so"));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/clock.c");
        let made = made.to_str().unwrap();
        let is_made = succeeds("cc", &["-shared", "-fPIC", "-o", made, source, "-ldl"]);
        assert!(is_made, "this test needs a C compiler (`cc`), as the build of SQLite does");
        std::fs::rename(made, &library).unwrap();
        library.to_str().unwrap().to_owned()
    });
    &LIBRARY
}

/// A command whose clock is wrong by so many days.
fn shifted(env: &TestEnv, days: i64, arguments: &[&str]) -> tokio::process::Command {
    let mut command = env.command(arguments);
    command.env("LD_PRELOAD", clock()).env("CLOCK_SHIFT", (days * DAY).to_string());
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_by_days_publishes_nothing_twice_and_loses_nothing() {
    for days in [-400, -1, 1, 400] {
        let (env, path) = on_sqlite().await;
        insert(&path, "old", 24 * 1000);
        insert(&path, "recent", 24 * 100);
        for arguments in [&["run", "--dry-run"][..], &["list-failed"], &["list-failed", "recent"], &["run"], &["stats"]]
        {
            let output = shifted(&env, days, arguments).output().await.unwrap();
            assert_eq!(output.status.code(), Some(0), "{days} d, {arguments:?}: {}", stderr_of(&output));
        }
        // By a clock before the failure the post has yet to fail.
        let is_due = days > -100;
        assert_eq!(env.sandbox.published().len(), 1 + usize::from(is_due), "{days} d");
        all_are_published_once(&env, &path).await;

        // A process that dies with such a clock leaves a claim of that time.
        insert(&path, "claimed", 24 * 1000);
        let uploads = env.sandbox.calls("youtube.session");
        env.sandbox.fault(Fault::once("youtube.session", Act::Slow { ms: 600_000 }));
        let mut killed = shifted(&env, days, &["run"]).spawn().unwrap();
        until(async || env.sandbox.calls("youtube.session") > uploads).await;
        killed.kill().await.unwrap();
        if days > 0 {
            // By the right clock no claim can last that long, so it is dead.
            until(async || {
                assert_eq!(shifted(&env, days, &["run"]).status().await.unwrap().code(), Some(0), "{days} d");
                count(&path, "status = 'failed'") == 0
            })
            .await;
        }
        all_are_published_once(&env, &path).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_in_the_middle_of_an_attempt_publishes_nothing_twice_and_loses_nothing() {
    // The first one is before 1970.
    for days in [-80 * 366, -400, -1, 1, 400] {
        let (env, path) = on_sqlite().await;
        let jump = env.folder().join("jump");
        for (n, endpoint) in ["youtube.session", "youtube.chunk"].into_iter().enumerate() {
            insert(&path, endpoint, 24 * 1000);
            let calls = env.sandbox.calls(endpoint);
            env.sandbox.fault(Fault::once(endpoint, Act::Slow { ms: 700 }));
            let mut command = shifted(&env, days, &["run"]);
            let process = command.env("CLOCK_SHIFT_AFTER", &jump).spawn().unwrap();
            until(async || env.sandbox.calls(endpoint) > calls).await;
            std::fs::write(&jump, "").unwrap();
            let output = process.wait_with_output().await.unwrap();
            assert_told(&output, &format!("{days} d, {endpoint}"));
            assert!(!stderr_of(&output).contains("failed unexpectedly"), "{days} d: {}", stderr_of(&output));
            std::fs::remove_file(&jump).unwrap();
            all_are_published_once(&env, &path).await;
            assert_eq!(env.sandbox.published().len(), n + 1, "{days} d, {endpoint}");
        }
    }
}

/// TikTok's count of the bytes may be late. It must not be the clock that turns it into a second video.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_a_day_ahead_makes_no_second_upload_of_a_video_that_was_sent_whole() {
    let (mut env, path) = on_sqlite().await;
    env.set("POST_RETRY_WAIT", "50ms");
    env.sandbox.world().knobs.tiktok_looks = u32::MAX;
    let row = doc! {
        "id": "p1", "title": "A title", "platform": "tiktok", "status": "failed", "videoPath": "a.mp4",
        "failedAt": hours_ago(24 * 100),
    };
    insert_row(&path, &row);
    env.run(&["run"]).await.expect(0);
    assert_eq!(count(&path, "failure_category = 'processing'"), 1);

    env.set("POST_RETRY_WAIT", "2s");
    env.sandbox.world().knobs.tiktok_looks = 0;
    env.sandbox.world().release();
    let late = serde_json::json!({
        "data": { "status": "PROCESSING_UPLOAD", "uploaded_bytes": 40_000 }, "error": { "code": "ok" },
    });
    env.sandbox.fault(Fault::once("tiktok.status", Act::json(200, &late)));
    let output = shifted(&env, 1, &["run"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr_of(&output));
    assert_eq!(count(&path, "status = 'posted'"), 1, "{}", stderr_of(&output));
    assert_eq!(env.sandbox.calls("tiktok.video_init"), 1);
    all_are_published_once(&env, &path).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_clock_before_1970_every_command_names_the_clock_and_does_nothing() {
    let (sqlite, path) = on_sqlite().await;
    insert(&path, "due", 2400);
    let mongo = TestEnv::new().await;
    let id = mongo.post("tiktok", Document::new()).await;
    let before = mongo.get(&id).await;
    for (env, id) in [(&sqlite, "due"), (&mongo, &*id)] {
        for arguments in [
            &["run"][..],
            &["run", "--dry-run"],
            &["list-failed"],
            &["list-failed", id],
            &["retry", id],
            &["reset", id],
            &["stats"],
        ] {
            let output = shifted(env, -80 * 366, arguments).output().await.unwrap();
            let expected = "error: the clock of this machine is before 1970\n\
                            hint: set it, for example with `timedatectl`\n";
            assert_eq!((output.status.code(), &*stderr_of(&output)), (Some(1), expected), "{arguments:?}");
            assert_eq!(output.stdout, b"", "{arguments:?}");
        }
        assert_eq!(env.sandbox.published().len(), 0);
    }
    assert_eq!(mongo.get(&id).await, before);
    all_are_published_once(&sqlite, &path).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_mongodb_the_clock_of_the_machine_does_not_matter() {
    for days in [-400, -1, 1, 400] {
        let env = TestEnv::new().await;
        let due = env.post("tiktok", Document::new()).await;
        let not_due = env.post("tiktok", doc! { "failedAt": date(now()) }).await;
        let output = shifted(&env, days, &["run"]).output().await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{days} d: {}", stderr_of(&output));
        let posted_at = date_of(&env.get(&due).await, "postedAt");
        assert!((posted_at - now()).abs() < TimeDelta::minutes(2), "{days} d: {posted_at}");
        assert_eq!(env.get(&not_due).await.get_str("status").ok(), Some("failed"), "{days} d");
        assert_eq!(env.sandbox.published().len(), 1, "{days} d");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn time_zone_and_language_change_nothing() {
    let mut env = TestEnv::new().await;
    env.post("instagram", doc! { "title": "İstanbul ılık", "failedAt": date(now()) }).await;
    let expected = env.run(&["list-failed", "--json"]).await.expect(0).stdout;
    for zone in [":/nonexistent", "Pacific/Kiritimati", "x", "", "<+25>-25"] {
        for language in ["tr_TR.UTF-8", "C", "xx_YY"] {
            env.set("TZ", zone);
            env.set("LC_ALL", language);
            env.set("LANG", language);
            let ran = env.run(&["list-failed", "--json"]).await.expect(0);
            assert_eq!((ran.stdout, ran.stderr), (expected.clone(), String::new()), "{zone}, {language}");
            let post = env.post("tiktok", Document::new()).await;
            env.pass(0).await;
            let posted_at = date_of(&env.get(&post).await, "postedAt");
            assert!((posted_at - now()).abs() < TimeDelta::minutes(2), "{zone}, {language}: {posted_at}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_certificates_the_package_to_install_is_named_and_no_post_is_touched() {
    let mut env = TestEnv::new().await;
    // A platform that is reached with HTTPS.
    env.unset("TIKTOK_API_URL");
    let id = env.post("tiktok", Document::new()).await;
    let before = env.get(&id).await;
    let empty = env.folder().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    for (name, value) in [("SSL_CERT_FILE", empty.to_str().unwrap()), ("SSL_CERT_DIR", "/nonexistent")] {
        for arguments in [&["run"][..], &["retry", &id]] {
            let output = env.command(arguments).env(name, value).output().await.unwrap();
            let said = stderr_of(&output);
            assert_eq!(output.status.code(), Some(1), "{name}: {said}");
            assert!(said.contains("error: failed to set up HTTPS: "), "{name}: {said}");
            assert!(said.contains("hint: ") && said.contains("`ca-certificates`"), "{name}: {said}");
            assert_eq!(env.get(&id).await, before, "{name}");
        }
    }
}

/// The settings of an environment as the text of a file.
fn settings_of(env: &TestEnv) -> String {
    env.settings.iter().map(|(name, value)| format!("{name}='{value}'\n")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_of_the_crontab_runs_a_pass_with_what_cron_gives_it() {
    for (text, start) in [
        (include_str!("../../packaging/postretry.cron"), "7 * * * *  root  "),
        (include_str!("../../README.md"), "7 * * * *  "),
        (include_str!("../../docs/operations.md"), "7 * * * *  "),
    ] {
        let command = text.lines().find_map(|line| line.strip_prefix(start)).unwrap();
        // cron takes what follows a `%` for input, and its shell may know nothing of the user.
        assert!(!command.contains(['%', '$', '~']), "{command}");
        let mut env = TestEnv::new().await;
        let id = env.post("tiktok", Document::new()).await;
        let folder = env.folder().join("application");
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join(".env");
        std::fs::write(&file, settings_of(&env)).unwrap();
        env.settings.clear();
        let command = command
            .replace("/home/marketing/.cargo/bin/postretry", BINARY)
            .replace("/usr/bin/postretry", BINARY)
            .replace("/etc/postretry/postretry.env", file.to_str().unwrap())
            .replace("/srv/marketing", folder.to_str().unwrap());
        assert!(command.contains(BINARY) && command.contains(folder.to_str().unwrap()), "{command}");
        let cron = async || {
            let starter = ["env", "-i", "PATH=/usr/bin:/bin", "sh", "-c", &command];
            let output = started_by(&env, &starter, &[]).output().await.unwrap();
            (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned(), stderr_of(&output))
        };
        assert_eq!(cron().await, (Some(0), String::new(), String::new()), "{command}: no mail if all is well");
        assert_eq!(env.get(&id).await.get_str("status").ok(), Some("posted"), "{command}");
        env.post("youtube", doc! { "contentType": "carousel" }).await;
        let (code, result, _) = cron().await;
        assert_eq!(code, Some(3), "{command}");
        assert!(result.contains("rejected_content"), "{result}");
    }
}

/// The values of a YAML file, each under the path of its keys. Enough for a file without anchors and without texts of
/// several lines. Of a list the last entry counts.
fn values_in(yaml: &'static str) -> BTreeMap<String, &'static str> {
    let mut values = BTreeMap::new();
    let mut path: Vec<(usize, &str)> = Vec::new();
    for line in yaml.lines() {
        // The dash of an entry indents its keys.
        let text = line.trim_start_matches([' ', '-']);
        let Some((key, value)) = text.split_once(':').filter(|_| !text.starts_with('#')) else { continue };
        let column = line.len() - text.len();
        path.retain(|(other, _)| *other < column);
        path.push((column, key));
        if !value.is_empty() {
            let keys: Vec<&str> = path.iter().map(|(_, key)| *key).collect();
            values.insert(keys.join("."), value.trim());
        }
    }
    values
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cronjob_runs_a_pass_and_only_the_next_one_repeats_it() {
    const JOB: &str = "spec.jobTemplate.spec";
    const POD: &str = "spec.jobTemplate.spec.template.spec";
    let values = values_in(include_str!("../../packaging/cronjob.yaml"));
    let value = |path: String| *values.get(&path).unwrap_or_else(|| panic!("no {path} in {values:?}"));
    assert_eq!(value("spec.concurrencyPolicy".to_owned()), "Forbid");
    assert_eq!(value(format!("{JOB}.backoffLimit")), "0");
    assert_eq!(value(format!("{POD}.restartPolicy")), "Never");
    // A whole pass of 50 minutes ends before the deadline, and the deadline comes before the next pass.
    let deadline: u64 = value(format!("{JOB}.activeDeadlineSeconds")).parse().unwrap();
    assert!((3030..3600).contains(&deadline), "{deadline}");
    // A stop takes 20 s and 10 s.
    let grace_period: u64 = value(format!("{POD}.terminationGracePeriodSeconds")).parse().unwrap();
    assert!(grace_period > 30, "{grace_period}");

    let mut env = TestEnv::new().await;
    let id = env.post("tiktok", Document::new()).await;
    assert_eq!(value(format!("{POD}.containers.env.name")), "POST_ASSET_ROOT");
    let assets = format!("POST_ASSET_ROOT={}", env.settings.remove("POST_ASSET_ROOT").unwrap());
    let file = env.folder().join("postretry.env");
    std::fs::write(&file, settings_of(&env)).unwrap();
    env.settings.clear();
    let here = |word: &'static str| match word {
        "/usr/bin/postretry" => BINARY,
        "/etc/postretry/postretry.env" => file.to_str().unwrap(),
        word => word,
    };
    let lists = ["command", "args"].map(|name| value(format!("{POD}.containers.{name}")));
    let words = lists.into_iter().flat_map(|list| list.trim_matches(['[', ']']).split(", "));
    let words: Vec<&str> = words.map(here).collect();
    assert!(words[0] == BINARY && words.contains(&"run") && words.contains(&"--max-duration"), "{words:?}");
    let output = started_by(&env, &["env", &assets], &words).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr_of(&output));
    assert_eq!(env.get(&id).await.get_str("status").ok(), Some("posted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_of_the_package_are_found_and_whoever_may_not_read_them_is_told_how() {
    // An /etc of its own with the file that stands in the first argument.
    const WITH_ETC: &str = r#"
        settings=$(cat "$0") && mount -t tmpfs tmpfs /etc && mkdir /etc/postretry || exit 99
        printf '%s\n' "$settings" > /etc/postretry/postretry.env && chmod "$1" /etc/postretry/postretry.env || exit 98
        shift
        exec "$@"
    "#;
    if !has_namespaces() {
        println!("not tested: this system refuses an /etc of one's own (`unshare -rm`)");
        return;
    }
    let mut env = TestEnv::new().await;
    let id = env.post("tiktok", Document::new()).await;
    let other = TestEnv::new().await;
    let file = env.folder().join("settings");
    std::fs::write(&file, settings_of(&env)).unwrap();
    env.settings.clear();
    let starter = ["unshare", "-rm", "sh", "-c", WITH_ETC, file.to_str().unwrap()];
    let run = async |mode: &str, words: &[&str]| {
        let output = started_by(&env, &[&starter[..], &[mode][..]].concat(), words).output().await.unwrap();
        (output.status.code(), String::from_utf8(output.stdout.clone()).unwrap(), stderr_of(&output))
    };
    let listed = ["list-failed", "--json"];
    let (code, result, said) = run("600", &[&[BINARY][..], &listed].concat()).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(serde_json::from_str::<Value>(&result).unwrap()["posts"][0]["id"], id.as_str());

    // With a store of its own, a command does not look there.
    let elsewhere = [&[BINARY, "--store", &other.uri][..], &listed].concat();
    let (code, result, said) = run("600", &elsewhere).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(serde_json::from_str::<Value>(&result).unwrap()["total"], 0);

    // Root without its powers is like any other user.
    let (code, _, said) = run("000", &[&["unshare", "-U", BINARY][..], &listed].concat()).await;
    assert_eq!(code, Some(4), "{said}");
    let expected = "error: failed to read settings from `/etc/postretry/postretry.env`: only root can read it\n\
                    hint: run the command as root: `sudo postretry …`\n";
    assert_eq!(said, expected);
    // docs/operations.md opens it to a group.
    let (code, _, said) = run("040", &[&["unshare", "-U", BINARY][..], &listed].concat()).await;
    assert_eq!(code, Some(4), "{said}");
    assert_eq!(said, expected.replace("only root can", "only root and its group can"));

    // A local file comes before it, even if it says nothing.
    std::fs::write(env.folder().join(".env"), "APP=1\n").unwrap();
    let (code, _, said) = run("600", &[&[BINARY][..], &listed].concat()).await;
    assert_eq!(code, Some(4), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_textfile_is_replaced_only_by_a_complete_one() {
    const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/textfile.sh");
    const WITH_FILE_LIMIT: &str = r#"trap "" XFSZ; exec prlimit --fsize="$0" "$@""#;
    let mut env = TestEnv::new().await;
    env.post("tiktok", Document::new()).await;
    let folder = env.folder().join("metrics");
    std::fs::create_dir(&folder).unwrap();
    let path = format!("PATH={}:/usr/bin:/bin", Path::new(BINARY).parent().unwrap().display());
    let write = async |env: &TestEnv, limit: &str| {
        let starter = ["env", &path, "sh", "-c", WITH_FILE_LIMIT, limit, "sh", SCRIPT, folder.to_str().unwrap()];
        let output = started_by(env, &starter, &[]).output().await.unwrap();
        (output.status.code(), stderr_of(&output))
    };
    assert_eq!(write(&env, "unlimited").await, (Some(0), String::new()));
    let read = || std::fs::read_to_string(folder.join("postretry.prom")).unwrap();
    let before = read();
    assert!(before.contains("postretry_failed_posts{platform=\"tiktok\"} 1\n"), "{before}");
    let (code, said) = write(&env, "100").await;
    assert!(code == Some(1) && said.contains("postretry failed with exit code 1"), "{said}");
    env.set("POSTRETRY_STORE", "sqlite:/nowhere/posts.db");
    let (code, said) = write(&env, "unlimited").await;
    assert!(code == Some(1) && said.contains("postretry failed with exit code 5"), "{said}");
    assert_eq!((read(), std::fs::read_dir(&folder).unwrap().count()), (before, 1));
}
