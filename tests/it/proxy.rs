//! A proxy before MongoDB that counts the writes that pass through it, and holds one of them, before or after it has
//! taken effect.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// On which side of its effect a step is broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Before,
    After,
}

#[derive(Debug, Default)]
struct State {
    writes: Vec<String>,
    hold: Option<(usize, Side)>,
    held: usize,
}

pub(crate) struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

/// The commands of the wire protocol that write.
const WRITES: [&str; 5] = ["insert", "update", "delete", "findAndModify", "createIndexes"];

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
        lock(&self.state).hold = Some((number, side));
    }

    /// Holds nothing any more.
    pub(crate) fn release(&self) {
        lock(&self.state).hold = None;
    }

    pub(crate) fn held(&self) -> usize {
        lock(&self.state).held
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
        let mut side = None;
        if let Some(write) = write_of(&request) {
            let mut state = lock(state);
            let number = state.writes.len();
            state.writes.push(write);
            side = state.hold.filter(|(held, _)| *held == number).map(|(_, side)| side);
        }
        if side == Some(Side::Before) {
            hold(state).await;
        }
        server.write_all(&request).await?;
        let answer = message(&mut server).await?;
        if side == Some(Side::After) {
            hold(state).await;
        }
        client.write_all(&answer).await?;
    }
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

/// The command and collection of a message, if it writes: the first element of the body's document.
fn write_of(message: &[u8]) -> Option<String> {
    const BODY: usize = 16 + 4 + 1;
    let element = message.get(BODY + 4..)?;
    let name_end = element.iter().skip(1).position(|byte| *byte == 0)? + 1;
    let name = std::str::from_utf8(element.get(1..name_end)?).ok()?;
    if !WRITES.contains(&name) {
        return None;
    }
    let value = element.get(name_end + 1 + 4..)?;
    let value_end = value.iter().position(|byte| *byte == 0)?;
    Some(format!("{name} {}", std::str::from_utf8(&value[..value_end]).ok()?))
}
