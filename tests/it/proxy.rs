//! A proxy before MongoDB that counts the writes that pass through it, and holds one of them, before or after it has
//! taken effect; or that delays what passes and cuts connections at random.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::chance::Chance;

/// On which side of its effect a step is broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Before,
    After,
}

#[derive(Debug, Default)]
struct State {
    writes: Vec<String>,
    hold: Option<(RangeInclusive<usize>, Side)>,
    held: usize,
    strays: Vec<String>,
    weather: Option<Weather>,
}

/// How bad the connection is.
#[derive(Debug)]
struct Weather {
    chance: Chance,
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
const WRITES: [&str; 5] = ["insert", "update", "delete", "findAndModify", "createIndexes"];
const READS: [&str; 9] =
    ["hello", "isMaster", "ping", "find", "aggregate", "getMore", "count", "listCollections", "endSessions"];

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

    /// Holds the write of this number, counted from 0.
    pub(crate) fn hold(&self, number: usize, side: Side) {
        lock(&self.state).hold = Some((number..=number, side));
    }

    /// Holds the write of this number and every later one before they take effect.
    pub(crate) fn hold_from(&self, number: usize) {
        lock(&self.state).hold = Some((number..=usize::MAX, Side::Before));
    }

    /// Holds nothing any more.
    pub(crate) fn release(&self) {
        lock(&self.state).hold = None;
    }

    pub(crate) fn held(&self) -> usize {
        lock(&self.state).held
    }

    /// Makes the connection bad from now on.
    pub(crate) fn worsen(&self, seed: u32, cut: u32, delay_ms: u32) {
        lock(&self.state).weather = Some(Weather { chance: Chance::new(seed), cut, delay_ms, cuts: 0 });
    }

    /// Makes it good again; how often a connection was cut.
    pub(crate) fn clear_up(&self) -> u32 {
        lock(&self.state).weather.take().map_or(0, |weather| weather.cuts)
    }

    /// Commands that nobody has thought about.
    pub(crate) fn strays(&self) -> Vec<String> {
        lock(&self.state).strays.clone()
    }

    /// The writes that came by, each as its command and collection.
    pub(crate) fn writes(&self) -> Vec<String> {
        lock(&self.state).writes.clone()
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
        let (delay, cut) = weather(state);
        tokio::time::sleep(delay).await;
        if side == Some(Side::Before) {
            hold(state).await;
        }
        if cut == Some(Side::Before) {
            return Ok(());
        }
        server.write_all(&request).await?;
        let answer = message(&mut server).await?;
        if side == Some(Side::After) {
            hold(state).await;
        }
        if cut == Some(Side::After) {
            return Ok(());
        }
        client.write_all(&answer).await?;
    }
}

/// Writes a command down; on which side of its effect it is to be held, if at all.
fn register(request: &[u8], state: &Mutex<State>) -> Option<Side> {
    let (name, of) = command_of(request)?;
    let mut state = lock(state);
    if WRITES.contains(&name.as_str()) {
        let number = state.writes.len();
        state.writes.push(format!("{name} {of}"));
        return state.hold.as_ref().filter(|(held, _)| held.contains(&number)).map(|(_, side)| *side);
    }
    if !READS.contains(&name.as_str()) {
        state.strays.push(name);
    }
    None
}

/// How long a message takes more, and on which side of its effect its connection is cut, if at all.
fn weather(state: &Mutex<State>) -> (Duration, Option<Side>) {
    let mut state = lock(state);
    let Some(weather) = &mut state.weather else { return (Duration::ZERO, None) };
    let delay = weather.chance.below(weather.delay_ms + 1);
    let side = if weather.chance.below(2) == 0 { Side::Before } else { Side::After };
    let is_cut = weather.chance.below(100) < weather.cut;
    weather.cuts += u32::from(is_cut);
    (Duration::from_millis(delay.into()), is_cut.then_some(side))
}

async fn hold(state: &Mutex<State>) {
    lock(state).held += 1;
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
