//! A gateway before the simulated platforms that gives one endpoint's answers in whatever form a test wants, HTTP or not.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::env::TestEnv;
use crate::support::proxy::Side;

/// What comes instead of an answer.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// These bytes from the status line on, and the end of the connection.
    Bytes(Vec<u8>),
    /// A body without end.
    Endless,
    /// A body without end of which a byte comes at a time, often enough to look alive.
    Trickle,
}

impl Reply {
    /// A whole response with this body.
    pub(crate) fn body(status: &str, body: &[u8]) -> Self {
        Self::cut(status, body, body.len())
    }

    /// A response that announces a body of this length, whatever it has.
    pub(crate) fn cut(status: &str, body: &[u8], length: usize) -> Self {
        let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        Self::Bytes([head.as_bytes(), body].concat())
    }

    async fn send(&self, client: &mut TcpStream) -> std::io::Result<()> {
        const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{";
        match self {
            Self::Bytes(bytes) => client.write_all(bytes).await,
            Self::Endless => {
                client.write_all(HEAD).await?;
                let piece = vec![b' '; 64 * 1024];
                loop {
                    client.write_all(&piece).await?;
                }
            }
            Self::Trickle => {
                client.write_all(HEAD).await?;
                loop {
                    client.write_all(b" ").await?;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }
}

/// The reply to the requests with this in their first line, before or after they took effect.
#[derive(Debug, Clone)]
struct Fault {
    on: &'static str,
    side: Side,
    reply: Reply,
}

pub(crate) struct Gateway {
    fault: Arc<Mutex<Option<Fault>>>,
}

impl Gateway {
    /// Leads the requests of the env's binary to the platforms, but those with `on` in their first line get this reply.
    pub(crate) async fn before(env: &mut TestEnv, on: &'static str, side: Side, reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = format!("http://{}", listener.local_addr().unwrap());
        let platforms = env.sandbox.url();
        for value in env.settings.values_mut() {
            *value = value.replace(&platforms, &own);
        }
        let fault = Arc::new(Mutex::new(Some(Fault { on, side, reply })));
        let shared = Arc::clone(&fault);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (shared, platforms, own) = (Arc::clone(&shared), platforms.clone(), own.clone());
                // A connection that breaks off is what the test is about.
                tokio::spawn(async move { drop(serve(client, &platforms, &own, &shared).await) });
            }
        });
        Self { fault }
    }

    /// Passes everything on from now on.
    pub(crate) fn heal(&self) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Serves one request; the connection ends with it.
async fn serve(mut client: TcpStream, platforms: &str, own: &str, fault: &Mutex<Option<Fault>>) -> std::io::Result<()> {
    let mut request = Vec::new();
    let body_at = loop {
        if let Some(at) = request.windows(4).position(|part| part == b"\r\n\r\n") {
            break at + 4;
        }
        if client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    };
    let head = String::from_utf8_lossy(&request[..body_at]).into_owned();
    let end = body_at + content_length(&head);
    while request.len() < end {
        if client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let line = head.lines().next().unwrap_or_default();
    let fault = fault.lock().unwrap_or_else(PoisonError::into_inner).clone().filter(|fault| line.contains(fault.on));
    if let Some(fault) = fault.as_ref().filter(|fault| fault.side == Side::Before) {
        return fault.reply.send(&mut client).await;
    }
    let answer = ask(platforms, own, &head, &request[body_at..]).await?;
    match fault {
        Some(fault) => fault.reply.send(&mut client).await,
        None => client.write_all(&answer).await,
    }
}

fn content_length(head: &str) -> usize {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut length =
        lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length")).map(|(_, value)| value.trim());
    length.next_back().and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// The platforms' answer, with their addresses as those of the gateway.
async fn ask(platforms: &str, own: &str, head: &str, body: &[u8]) -> std::io::Result<Vec<u8>> {
    let address: SocketAddr = platforms.trim_start_matches("http://").parse().unwrap();
    let mut server = TcpStream::connect(address).await?;
    let (line, rest) = head.split_once("\r\n").unwrap();
    server.write_all(format!("{line}\r\nconnection: close\r\n{rest}").as_bytes()).await?;
    server.write_all(body).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    let text = String::from_utf8(answer).unwrap();
    // The length of the body must stay what it was.
    assert_eq!(platforms.len(), own.len(), "ports of different lengths");
    Ok(text.replace(platforms, own).into_bytes())
}
