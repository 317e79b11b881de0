//! A proxy before MongoDB that counts the writes that pass through it, and pauses one of them, before or after it has
//! taken effect; or that delays what passes and cuts connections at random. It counts the builds of indexes apart: a
//! database that was used before has its indexes, and everything else that is written is the same.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::rng::Rng;

/// On which side of its effect a step is broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Before,
    After,
}

#[derive(Debug, Default)]
struct State {
    writes: Vec<String>,
    index_builds: Vec<String>,
    pause: Option<(RangeInclusive<usize>, Side)>,
    index_build_pause: Option<(usize, Side)>,
    paused: usize,
    strays: Vec<String>,
    conditions: Option<NetworkConditions>,
}

/// Delays and cuts of a bad connection.
#[derive(Debug)]
struct NetworkConditions {
    rng: Rng,
    /// Of a hundred messages, so many are cut off: half of them before they take effect, half of them after.
    cut: u32,
    /// Each takes up to so many milliseconds more.
    delay_ms: u32,
    cuts: u32,
}

pub(crate) struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

/// The commands of the wire protocol that write, and those that do not. Any other is a stray: nobody has thought about
/// what it means for the post that the process dies in it.
const WRITES: [&str; 4] = ["insert", "update", "delete", "findAndModify"];
const INDEX_BUILD: &str = "createIndexes";
const READS: [&str; 10] = [
    "hello",
    "isMaster",
    "ping",
    "find",
    "aggregate",
    "getMore",
    "count",
    "listCollections",
    "listIndexes",
    "endSessions",
];

impl Proxy {
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                // A connection that breaks off is what the test is about.
                tokio::spawn(async move { drop(relay(client, server, &shared).await) });
            }
        });
        Self { address, state }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Pauses the write of this number, counted from 0.
    pub(crate) fn pause(&self, number: usize, side: Side) {
        lock(&self.state).pause = Some((number..=number, side));
    }

    /// Pauses the write of this number and every later one before they take effect.
    pub(crate) fn pause_from(&self, number: usize) {
        lock(&self.state).pause = Some((number..=usize::MAX, Side::Before));
    }

    /// Pauses the build of indexes of this number, counted from 0.
    pub(crate) fn pause_index_build(&self, number: usize, side: Side) {
        lock(&self.state).index_build_pause = Some((number, side));
    }

    /// Pauses nothing any more.
    pub(crate) fn release(&self) {
        let mut state = lock(&self.state);
        state.pause = None;
        state.index_build_pause = None;
    }

    pub(crate) fn paused(&self) -> usize {
        lock(&self.state).paused
    }

    /// Delays and cuts the connection from now on.
    pub(crate) fn degrade(&self, seed: u32, cut: u32, delay_ms: u32) {
        lock(&self.state).conditions = Some(NetworkConditions { rng: Rng::new(seed), cut, delay_ms, cuts: 0 });
    }

    /// Ends delays and cuts; how often a connection was cut.
    pub(crate) fn restore(&self) -> u32 {
        lock(&self.state).conditions.take().map_or(0, |conditions| conditions.cuts)
    }

    /// Commands that nobody has thought about.
    pub(crate) fn strays(&self) -> Vec<String> {
        lock(&self.state).strays.clone()
    }

    /// The writes that came by, each as its command and collection, without the builds of indexes.
    pub(crate) fn writes(&self) -> Vec<String> {
        lock(&self.state).writes.clone()
    }

    /// The builds of indexes that came by, each as its command and collection.
    pub(crate) fn index_builds(&self) -> Vec<String> {
        lock(&self.state).index_builds.clone()
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Passes message for message: the driver asks and waits, so the two directions take turns.
async fn relay(mut client: TcpStream, server: SocketAddr, state: &Mutex<State>) -> std::io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    loop {
        let request = message(&mut client).await?;
        let side = register(&request, state);
        let (delay, cut) = conditions(state);
        tokio::time::sleep(delay).await;
        if side == Some(Side::Before) {
            wait_for_release(state).await;
        }
        if cut == Some(Side::Before) {
            return Ok(());
        }
        server.write_all(&request).await?;
        let answer = message(&mut server).await?;
        if side == Some(Side::After) {
            wait_for_release(state).await;
        }
        if cut == Some(Side::After) {
            return Ok(());
        }
        client.write_all(&answer).await?;
    }
}

/// Writes a command down; on which side of its effect it is to be paused, if at all.
fn register(request: &[u8], state: &Mutex<State>) -> Option<Side> {
    let (name, of) = command_of(request)?;
    let mut state = lock(state);
    if name == INDEX_BUILD {
        let number = state.index_builds.len();
        state.index_builds.push(format!("{name} {of}"));
        return state.index_build_pause.filter(|(paused, _)| *paused == number).map(|(_, side)| side);
    }
    if WRITES.contains(&name.as_str()) {
        let number = state.writes.len();
        state.writes.push(format!("{name} {of}"));
        return state.pause.as_ref().filter(|(paused, _)| paused.contains(&number)).map(|(_, side)| *side);
    }
    if !READS.contains(&name.as_str()) {
        state.strays.push(name);
    }
    None
}

/// How long a message takes more, and on which side of its effect its connection is cut, if at all.
fn conditions(state: &Mutex<State>) -> (Duration, Option<Side>) {
    let mut state = lock(state);
    let Some(conditions) = &mut state.conditions else { return (Duration::ZERO, None) };
    let delay = conditions.rng.below(conditions.delay_ms + 1);
    let side = if conditions.rng.below(2) == 0 { Side::Before } else { Side::After };
    let is_cut = conditions.rng.below(100) < conditions.cut;
    conditions.cuts += u32::from(is_cut);
    (Duration::from_millis(delay.into()), is_cut.then_some(side))
}

async fn wait_for_release(state: &Mutex<State>) {
    lock(state).paused += 1;
    std::future::pending::<()>().await;
}

async fn message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let size = usize::try_from(u32::from_le_bytes(length)).unwrap();
    let mut message = length.to_vec();
    message.resize(size, 0);
    stream.read_exact(&mut message[4..]).await?;
    Ok(message)
}

/// The command of a message and what it is about: the first element of the body's document, with its value where that
/// is a text.
fn command_of(message: &[u8]) -> Option<(String, String)> {
    const BODY: usize = 16 + 4 + 1;
    let element = message.get(BODY + 4..)?;
    let name_end = element.iter().skip(1).position(|byte| *byte == 0)? + 1;
    let name = std::str::from_utf8(element.get(1..name_end)?).ok()?.to_owned();
    if element.first() != Some(&TEXT) {
        return Some((name, String::new()));
    }
    let value = element.get(name_end + 1 + 4..)?;
    let value_end = value.iter().position(|byte| *byte == 0)?;
    Some((name, std::str::from_utf8(&value[..value_end]).ok()?.to_owned()))
}

/// The BSON type of a text.
const TEXT: u8 = 2;
