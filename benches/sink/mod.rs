//! A server that speaks just enough of YouTube's upload protocol and throws the bytes away, so that it is never what an
//! upload waits for.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use postretry_bench_support::BenchResult;

/// How much is read at a time.
const BUFFER: usize = 1024 * 1024;

const VIDEO: &str =
    r#"{"kind":"youtube#video","id":"dQw4w9WgXcQ","status":{"uploadStatus":"processed","privacyStatus":"public"}}"#;

const TOKEN: &str = r#"{"access_token":"token","expires_in":3599,"token_type":"Bearer"}"#;

/// Starts it on a free port. It ends with the process.
pub(crate) fn start() -> BenchResult<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A connection that breaks off is the client's business.
            thread::spawn(move || serve(&stream, address).unwrap_or_default());
        }
    });
    Ok(address)
}

/// A request, as far as it matters.
#[derive(Debug, Default)]
struct Head {
    line: String,
    length: u64,
    /// The last byte of a part, and the size of the whole.
    range: Option<(u64, u64)>,
}

impl Head {
    /// Reads a request up to its body; none at the end of the connection.
    fn read(from: &mut impl BufRead) -> std::io::Result<Option<Self>> {
        let mut head = Self::default();
        if from.read_line(&mut head.line)? == 0 {
            return Ok(None);
        }
        loop {
            let mut line = String::new();
            from.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { return Ok(Some(head)) };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => head.length = value.trim().parse().unwrap_or(0),
                "content-range" => head.range = read_range(value.trim()),
                _ => {}
            }
        }
    }
}

/// `bytes FIRST-LAST/SIZE`.
fn read_range(text: &str) -> Option<(u64, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (_, last) = range.split_once('-')?;
    Some((last.parse().ok()?, size.parse().ok()?))
}

fn serve(stream: &TcpStream, address: SocketAddr) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(BUFFER, stream);
    while let Some(head) = Head::read(&mut reader)? {
        let mut left = head.length;
        while left > 0 {
            let read = reader.fill_buf()?.len();
            if read == 0 {
                return Ok(());
            }
            let taken = usize::try_from(left).map_or(read, |left| left.min(read));
            reader.consume(taken);
            left -= u64::try_from(taken).unwrap_or(left);
        }
        let mut writer = stream;
        writer.write_all(answer(&head, address).as_bytes())?;
    }
    Ok(())
}

fn answer(head: &Head, address: SocketAddr) -> String {
    let with_body = |status: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    match (head.line.split(' ').next(), head.range) {
        (Some("POST"), _) if head.line.contains(" /token") => with_body("200 OK", TOKEN),
        (Some("POST"), _) => {
            let session = format!("http://{address}/upload/youtube/v3/videos?upload_id=1");
            format!("HTTP/1.1 200 OK\r\nLocation: {session}\r\nContent-Length: 0\r\n\r\n")
        }
        (Some("PUT"), Some((last, size))) if last + 1 < size => {
            format!("HTTP/1.1 308 Resume Incomplete\r\nRange: bytes=0-{last}\r\nContent-Length: 0\r\n\r\n")
        }
        (Some("PUT"), _) => with_body("200 OK", VIDEO),
        _ => with_body("200 OK", &format!(r#"{{"items":[{VIDEO}]}}"#)),
    }
}
