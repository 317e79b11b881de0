//! A env for one test: a database of its own on a real server, simulated platforms, a folder of files, and the real
//! binary with nothing in its environment but what the test says.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{self, Bson, Document, doc};
use mongodb::{Collection, Database};
use postretry_mongod::Mongod;
use postretry_sandbox::Sandbox;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

/// One server for all tests of the process.
pub(crate) async fn mongod() -> &'static Mongod {
    static SERVER: OnceCell<Mongod> = OnceCell::const_new();
    SERVER.get_or_init(Mongod::start).await
}

pub(crate) struct TestEnv {
    pub(crate) sandbox: Sandbox,
    pub(crate) database: Database,
    pub(crate) posts: Collection<Document>,
    pub(crate) uri: String,
    pub(crate) settings: BTreeMap<String, String>,
    shape: Shape,
    /// The server of a database that is kept for another case.
    kept_on: Option<SocketAddr>,
    folder: tempfile::TempDir,
}

/// The shape of the documents that a test puts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A post for one platform.
    One,
    /// A post for several platforms, of which all but one are done.
    Several,
}

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}) in {self:?}"))
    }

    /// The command ended like this.
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }
}

#[expect(clippy::disallowed_methods, reason = "the tests' clock")]
pub(crate) fn now() -> DateTime<Utc> {
    let now = Utc::now();
    DateTime::from_timestamp_millis(now.timestamp_millis()).unwrap()
}

pub(crate) fn hours_ago(hours: i64) -> Bson {
    date(now() - TimeDelta::hours(hours))
}

pub(crate) fn date(at: DateTime<Utc>) -> Bson {
    Bson::DateTime(bson::DateTime::from_millis(at.timestamp_millis()))
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a small video: a real head and a body that differs from file to file.
pub(crate) fn video(size: usize, seed: u8) -> Vec<u8> {
    let mut bytes = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom".to_vec();
    let mut state = u32::from(seed).wrapping_mul(2_654_435_761).wrapping_add(1);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// Sends a signal to a process.
pub(crate) async fn signal(process: &tokio::process::Child, name: &str) {
    let id = process.id().unwrap().to_string();
    tokio::process::Command::new("kill").args([name, &id]).status().await.unwrap();
}

/// Waits until something has come about.
pub(crate) async fn until(mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done().await {
        assert!(Instant::now() < deadline, "it did not come to this");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// How every question ends.
const QUESTION: &[u8] = b"[y/N]";

/// Emptied databases with their indexes, which take a server longer to make than a pass takes. Each with its server.
static EMPTIED: Mutex<Vec<(SocketAddr, String)>> = Mutex::new(Vec::new());

/// Takes everything out of a database but its indexes.
async fn empty(database: &Database) -> Result<(), mongodb::error::Error> {
    for name in ["marketing_posts", "stories", "postretry_runs", "postretry_tokens"] {
        database.collection::<Document>(name).delete_many(doc! {}).await?;
    }
    Ok(())
}

/// A server slows down with every collection and index that it has, and the tests make thousands.
impl Drop for TestEnv {
    fn drop(&mut self) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (database, kept_on) = (self.database.clone(), self.kept_on);
            // The test has its result; that something is left behind does not change it.
            runtime.spawn(async move {
                match kept_on {
                    Some(server) if empty(&database).await.is_ok() => {
                        let mut emptied = EMPTIED.lock().unwrap_or_else(PoisonError::into_inner);
                        emptied.push((server, database.name().to_owned()));
                    }
                    _ => database.drop().await.unwrap_or_default(),
                }
            });
        }
    }
}

fn new_name() -> String {
    format!("test_{}", ObjectId::new().to_hex())
}

impl TestEnv {
    /// All three platforms configured, one small video `a.mp4` and one image `a.jpg`, no gap, short waits.
    pub(crate) async fn new() -> Self {
        Self::on(mongod().await).await
    }

    /// The same, in a database that another case may have used before: for tests with hundreds of cases.
    pub(crate) async fn reused() -> Self {
        Self::reused_on(mongod().await).await
    }

    /// The same, on this server.
    pub(crate) async fn reused_on(server: &Mongod) -> Self {
        let name = {
            let mut emptied = EMPTIED.lock().unwrap_or_else(PoisonError::into_inner);
            let on_it = emptied.iter().position(|(address, _)| *address == server.address());
            on_it.map(|position| emptied.swap_remove(position).1)
        };
        let mut env = Self::named(server, &name.unwrap_or_else(new_name)).await;
        env.kept_on = Some(server.address());
        env
    }

    /// The same, on this server.
    pub(crate) async fn on(server: &Mongod) -> Self {
        Self::named(server, &new_name()).await
    }

    async fn named(server: &Mongod, name: &str) -> Self {
        let database = server.database(name).await.unwrap();
        let sandbox = Sandbox::start().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let assets = folder.path().join("assets");
        std::fs::create_dir(&assets).unwrap();
        std::fs::write(assets.join("a.mp4"), video(100_000, 1)).unwrap();
        std::fs::write(assets.join("a.jpg"), b"\xFF\xD8\xFF\xE0\0\x10JFIF\0\x01 picture").unwrap();
        let uri = server.uri(name);
        let mut settings: BTreeMap<String, String> =
            sandbox.settings().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        for (name, value) in [
            ("MONGODB_URI", uri.as_str()),
            ("POST_ASSET_ROOT", assets.to_str().unwrap()),
            ("ASSET_PUBLIC_URL", "https://cdn.example/media"),
            ("POST_RETRY_GAP", "0s"),
            ("POST_RETRY_POLL", "10ms"),
            ("POST_RETRY_WAIT", "2s"),
            ("INSTAGRAM_SETTLE", "20ms"),
        ] {
            settings.insert(name.to_owned(), value.to_owned());
        }
        let posts = database.collection("marketing_posts");
        Self { sandbox, database, posts, uri, settings, shape: Shape::One, folder, kept_on: None }
    }

    /// The same, with documents of this shape.
    pub(crate) fn shaped(mut self, shape: Shape) -> Self {
        self.shape = shape;
        self
    }

    /// Another value for a setting; an empty one unsets it.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.settings.insert(name.to_owned(), value.to_owned());
    }

    /// Puts the posts into a SQLite file instead; they are inserted with [`crate::store::insert_row`].
    pub(crate) async fn on_sqlite(&mut self) -> std::path::PathBuf {
        let path = self.folder.path().join("posts.db");
        self.set("POSTRETRY_STORE", &format!("sqlite:{}", path.display()));
        self.run(&["stats"]).await.expect(0);
        path
    }

    /// No credentials for a platform, by the prefix of its settings.
    pub(crate) fn unset(&mut self, prefix: &str) {
        self.settings.retain(|name, _| !name.starts_with(prefix));
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.folder.path().join("assets").join(name), bytes).unwrap();
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A failed video post that is due since an hour, with these fields over the usual ones. Its id, as people write it.
    pub(crate) async fn post(&self, platform: &str, fields: Document) -> String {
        let document = match self.shape {
            Shape::One => failed_post(platform, fields),
            Shape::Several => failed_delivery(platform, fields),
        };
        let id = document.get_object_id("_id").map(ObjectId::to_hex).unwrap_or_default();
        self.posts.insert_one(document).await.unwrap();
        id
    }

    /// The post as the store has it now. Of one for several platforms: its only delivery, as a post for one platform.
    pub(crate) async fn get(&self, id: &str) -> Document {
        let document = self.document(id).await;
        if self.shape == Shape::One { document } else { delivery_in(&document) }
    }

    /// The document as the store has it now.
    pub(crate) async fn document(&self, id: &str) -> Document {
        self.posts.find_one(doc! { "_id": ObjectId::parse_str(id).unwrap() }).await.unwrap().unwrap()
    }

    /// Where a field of the retry state of a platform is.
    pub(crate) fn path(&self, platform: &str, field: &str) -> String {
        match self.shape {
            Shape::One => field.to_owned(),
            Shape::Several => format!("postretry.{platform}.{field}"),
        }
    }

    /// How many posts are posted, on all their platforms.
    pub(crate) async fn posted(&self) -> u64 {
        self.posts.count_documents(doc! { "status": "posted" }).await.unwrap()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_postretry"));
        command
            .args(arguments)
            .env_clear()
            .envs(&self.settings)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs the binary to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().await.unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs the binary on a terminal of so many columns, with something typed on it when it asks. Its exit code, and every
    /// byte that it has sent to the terminal.
    pub(crate) async fn on_terminal(&self, columns: u16, arguments: &[&str], typed: &str) -> (i32, Vec<u8>) {
        let (mut pty, pts) = pty_process::blocking::open().unwrap();
        pty.resize(pty_process::Size::new(60, columns)).unwrap();
        let command = pty_process::blocking::Command::new(env!("CARGO_BIN_EXE_postretry"))
            .args(arguments)
            .env_clear()
            .env("TERM", "xterm-256color")
            .envs(&self.settings)
            .current_dir(self.folder.path());
        let mut process = command.spawn(pts).unwrap();
        let mut typed = Some(typed.to_owned());
        let ended = tokio::task::spawn_blocking(move || {
            let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
            // A terminal whose other side is gone ends with an error, on Linux.
            while let Ok(count @ 1..) = pty.read(&mut piece) {
                bytes.extend_from_slice(&piece[..count]);
                // The terminal would show it before the question otherwise.
                if bytes.windows(QUESTION.len()).any(|part| part == QUESTION)
                    && let Some(typed) = typed.take()
                {
                    pty.write_all(typed.as_bytes()).unwrap();
                }
            }
            (process.wait().unwrap().code().unwrap_or(-1), bytes)
        });
        ended.await.unwrap()
    }

    /// One pass with JSON output, which must end like this.
    pub(crate) async fn pass(&self, code: i32) -> Value {
        let ran = self.run(&["run", "--format", "json"]).await.expect(code);
        assert_eq!(self.sandbox.world().violations, Vec::<String>::new());
        ran.json()
    }
}

/// Asserts that the figures of `stats --json` add up: each failed post is permanently failed, retryable or malformed.
pub(crate) fn assert_adds_up(stats: &Value) {
    let count = |name: &str| stats[name].as_u64().unwrap();
    let sum = |list: &str, name: &str| {
        let rows = stats[list].as_array().unwrap();
        rows.iter().map(|row| row[name].as_u64().unwrap()).sum::<u64>()
    };
    let readable = count("totalFailed") - count("malformed");
    assert_eq!(count("permanentlyFailed") + count("retryable"), readable, "{stats}");
    assert_eq!(sum("byPlatform", "failed"), readable, "{stats}");
    assert_eq!(sum("byPlatform", "permanentlyFailed"), count("permanentlyFailed"), "{stats}");
    assert_eq!(sum("retryDistribution", "count"), readable, "{stats}");
    assert!(sum("byCategory", "count") <= readable, "{stats}");
}

/// The document of a failed video post that is due since an hour, with these fields over the usual ones; one of
/// `Undefined` is left out.
pub(crate) fn failed_post(platform: &str, fields: Document) -> Document {
    let mut document = doc! {
        "_id": ObjectId::new(),
        "title": "A title",
        "caption": "A caption",
        "hashtags": { "tiktok": ["one"], "instagram": ["one"], "youtube_shorts": ["one"] },
        "platform": platform,
        "status": "failed",
        "contentType": "video",
        "videoPath": "a.mp4",
        "failedAt": hours_ago(2),
        "retryCount": 0,
        "error": "the first failure",
        "__v": 4,
    };
    for (name, value) in fields {
        if value == Bson::Undefined {
            document.remove(name);
        } else {
            document.insert(name, value);
        }
    }
    document
}

/// The same as a post for several platforms: it has been posted on one, was skipped on another, and has failed on this
/// one.
pub(crate) fn failed_delivery(platform: &str, fields: Document) -> Document {
    let mut document = failed_post(platform, fields);
    let mut failed = doc! { "status": "failed", "retryCount": 1 };
    for (root, name) in [("error", "error"), ("failedAt", "lastFailedAt")] {
        failed.extend(document.remove(root).map(|value| (name.to_owned(), value)));
    }
    document.remove("retryCount");
    let others = ["tiktok", "instagram", "youtube"].into_iter().filter(|other| *other != platform);
    let mut statuses = doc! { platform: failed };
    for (other, status) in others.clone().zip(["posted", "skipped"]) {
        statuses.insert(other, doc! { "status": status, "mediaId": "other" });
    }
    let mut platforms = vec![platform];
    platforms.extend(others);
    document.extend(doc! { "platforms": platforms, "platformStatus": statuses });
    document
}

/// The first delivery of a document, as a post for one platform would be.
fn delivery_in(document: &Document) -> Document {
    let platform = document.get_array("platforms").unwrap()[0].as_str().unwrap();
    let status = document.get_document("platformStatus").unwrap().get_document(platform).unwrap();
    let mut view = document.clone();
    let retry = document.get_document("postretry").and_then(|all| all.get_document(platform));
    view.extend(retry.cloned().unwrap_or_default());
    for name in ["status", "error", "postedAt"] {
        view.extend(status.get(name).map(|value| (name.to_owned(), value.clone())));
    }
    let is_posted = status.get_str("status").ok() == Some("posted");
    assert_eq!(document.get_str("status").unwrap(), if is_posted { "posted" } else { "failed" }, "{document}");
    view
}

/// A field of a document that must be a date.
pub(crate) fn date_of(document: &Document, name: &str) -> DateTime<Utc> {
    let date = document.get_datetime(name).unwrap_or_else(|error| panic!("{name}: {error} in {document}"));
    DateTime::from_timestamp_millis(date.timestamp_millis()).unwrap()
}

/// Whether a field is null or not there.
pub(crate) fn is_cleared(document: &Document, name: &str) -> bool {
    matches!(document.get(name), None | Some(Bson::Null))
}
