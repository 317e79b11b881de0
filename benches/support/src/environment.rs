//! What postretry runs against: a real server, files, and the simulated platforms.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mongodb::bson::doc;
use postretry_mongod::Mongod;
use postretry_sandbox::Sandbox;
use serde_json::Value;
use tempfile::TempDir;

use crate::{BenchResult, Kind, Program, Store};

/// The first bytes of an MP4.
const HEAD: &[u8] = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom";

/// The surroundings of one benchmark. They are removed when it ends.
#[derive(Debug)]
pub struct Environment {
    /// The simulated platforms. TikTok has processed a video as soon as it has it.
    pub sandbox: Sandbox,
    /// postretry with all platforms configured, no gap, 32 posts in flight, and no command yet.
    pub program: Program,
    /// The access token of the account at TikTok.
    pub token: String,
    server: Mongod,
    folder: TempDir,
}

impl Environment {
    /// Starts everything. `binary` is the postretry to be measured.
    ///
    /// # Errors
    /// Where something does not start.
    pub async fn start(binary: &str) -> BenchResult<Self> {
        let server = Mongod::start().await;
        let sandbox = Sandbox::start().await?;
        sandbox.world().knobs.tiktok_looks = 0;
        let token = access_token(&sandbox).await?;
        let folder = tempfile::tempdir()?;
        let root = folder.path().display().to_string();
        let mut program = Program::new(binary)
            .inside(folder.path())
            .set("POST_ASSET_ROOT", root)
            .set("POST_RETRY_GAP", "0s")
            .set("POST_RETRY_POLL", "10ms")
            .set("POST_RETRY_CONCURRENCY", "32")
            .set("TIKTOK_ACCESS_TOKEN", token.as_str());
        // A refresh token works once, but every store of a benchmark would begin with the same.
        let of_tiktok = ["TIKTOK_CLIENT_KEY", "TIKTOK_CLIENT_SECRET", "TIKTOK_REFRESH_TOKEN"];
        for (name, value) in sandbox.settings().into_iter().filter(|(name, _)| !of_tiktok.contains(name)) {
            program = program.set(name, value);
        }
        Ok(Self { sandbox, program, token, server, folder })
    }

    /// An empty store.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub async fn store(&self, kind: Kind, name: &str) -> BenchResult<Store> {
        match kind {
            Kind::MongoDb => {
                let posts = self.server.database(name).await?.collection("marketing_posts");
                Ok(Store::mongo(self.server.uri(name), posts))
            }
            Kind::Sqlite => {
                let store = Store::sqlite(self.folder.path().join(format!("{name}.db")));
                // It makes the file and its tables.
                self.program.on(&store).args(&["stats"]).run()?;
                Ok(store)
            }
        }
    }

    /// A folder for what else a benchmark needs. Assets are looked for in it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Makes `a.mp4`, the video of every post. All of it but its head is a hole, so that no disk is measured.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn make_video(&self, bytes: u64) -> BenchResult<PathBuf> {
        let path = self.folder.path().join("a.mp4");
        let mut file = File::create(&path)?;
        file.write_all(HEAD)?;
        file.set_len(bytes)?;
        Ok(path)
    }

    /// How many posts have become public since this was asked for last. The requests are forgotten too.
    pub fn take_published(&self) -> usize {
        let mut world = self.sandbox.world();
        world.requests.clear();
        std::mem::take(&mut world.published).len()
    }

    /// The CPU time that the server has taken so far.
    ///
    /// # Errors
    /// Where it does not tell.
    pub async fn server_cpu(&self) -> BenchResult<Duration> {
        let status = self.server.database("admin").await?.run_command(doc! { "serverStatus": 1 }).await?;
        let info = status.get_document("extra_info")?;
        let micros = info.get_i64("user_time_us")? + info.get_i64("system_time_us")?;
        Ok(Duration::from_micros(u64::try_from(micros)?))
    }
}

/// Signs in to TikTok.
async fn access_token(sandbox: &Sandbox) -> BenchResult<String> {
    let settings = sandbox.settings();
    let of = |wanted: &str| {
        let found = settings.iter().find(|(name, _)| *name == wanted);
        found.map_or_else(String::new, |(_, value)| value.clone())
    };
    let form = [
        ("client_key", of("TIKTOK_CLIENT_KEY")),
        ("client_secret", of("TIKTOK_CLIENT_SECRET")),
        ("refresh_token", of("TIKTOK_REFRESH_TOKEN")),
        ("grant_type", "refresh_token".to_owned()),
    ];
    let client = http_client()?;
    let response = client.post(format!("{}/v2/oauth/token/", sandbox.url())).form(&form).send().await?;
    let answer: Value = response.json().await?;
    let token = answer["access_token"].as_str().ok_or("TikTok gives no access token")?;
    Ok(token.to_owned())
}

/// A client for the simulated platforms, with the crypto library of the program.
///
/// # Errors
/// If the machine has no usable certificates.
pub fn http_client() -> BenchResult<reqwest::Client> {
    let _already = rustls::crypto::ring::default_provider().install_default();
    Ok(reqwest::Client::builder().build()?)
}
