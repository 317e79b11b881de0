//! HTTP as the publishers use it: no redirects, bounded responses, no secret in an error, and for every failed request
//! the one thing that matters: whether it can have been received.

mod body;
mod response;

use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::TryStreamExt;
use reqwest::header::CONTENT_LENGTH;
use reqwest::{Client, ClientBuilder, Request, RequestBuilder, Response};
use tokio::time::Instant;
use url::Url;

use super::explanation::plain;
use super::media::MediaFile;
use super::resource_limit::prevents_connections;
use super::{AttemptAborted, PublishContext};

pub(super) use response::{ApiResponse, SendError, lenient, lenient_items, number_or_text, text_or_number};

/// Longer responses are not read.
const MAX_RESPONSE: usize = 1024 * 1024;

/// The content type that TikTok and Google write in their documentation.
pub(super) const JSON_UTF8: &str = "application/json; charset=UTF-8";

/// How often an upload is checked for progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// How requests are sent.
#[derive(Debug, Clone, Copy)]
pub struct HttpSettings {
    /// Per request; for an upload, without progress rather than in total.
    pub timeout: Duration,
}

/// What every client of this program has in common, for addresses of this scheme: no redirects are followed, and plain
/// HTTP, which goes to loopback addresses only, never goes through a proxy, which would see the tokens.
pub fn client_builder(scheme: &str) -> ClientBuilder {
    // An error says that it has been done before.
    let _already = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder().redirect(reqwest::redirect::Policy::none());
    if scheme == "http" { builder.no_proxy().tls_certs_only([]) } else { builder }
}

/// Sends requests.
#[derive(Debug, Clone)]
pub struct Http {
    /// Only its request builders are used: it trusts no certificate.
    requests: Client,
    /// For HTTPS; made by [`Http::prepare`], because reading the certificates of the machine takes longer than a pass with
    /// nothing to do.
    secure: Arc<OnceLock<Client>>,
    /// For plain HTTP; made when it is first needed, since only sandboxes and gateways are reached like that.
    plain: Arc<OnceLock<Client>>,
    timeout: Duration,
}

fn client(scheme: &str, timeout: Duration) -> Result<Client, reqwest::Error> {
    let agent = concat!("postretry/", env!("CARGO_PKG_VERSION"));
    client_builder(scheme).connect_timeout(timeout).user_agent(agent).build()
}

/// The client for a scheme, made if there is none yet.
fn made<'a>(slot: &'a OnceLock<Client>, scheme: &str, timeout: Duration) -> Result<&'a Client, reqwest::Error> {
    match slot.get() {
        Some(client) => Ok(client),
        None => {
            let client = client(scheme, timeout)?;
            Ok(slot.get_or_init(|| client))
        }
    }
}

impl Http {
    /// # Errors
    /// Where the machine has no usable TLS.
    pub fn new(settings: HttpSettings) -> Result<Self, reqwest::Error> {
        let (secure, plain) = Default::default();
        Ok(Self { requests: client("http", settings.timeout)?, secure, plain, timeout: settings.timeout })
    }

    /// Reads the certificates of the machine. To be called before the first request, so that a machine without them gets
    /// one clear error and no post fails for it.
    ///
    /// # Errors
    /// Where the machine has no usable certificates.
    pub fn prepare(&self) -> Result<(), reqwest::Error> {
        made(&self.secure, "https", self.timeout).map(drop)
    }

    /// How long a request may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) fn get(&self, url: Url) -> RequestBuilder {
        self.requests.get(url)
    }

    pub(super) fn post(&self, url: Url) -> RequestBuilder {
        self.requests.post(url)
    }

    pub(super) fn put(&self, url: Url) -> RequestBuilder {
        self.requests.put(url)
    }

    /// Sends a request with the client for its scheme.
    async fn execute(&self, request: Request) -> Result<Response, reqwest::Error> {
        let (slot, scheme) =
            if request.url().scheme() == "http" { (&self.plain, "http") } else { (&self.secure, "https") };
        made(slot, scheme, self.timeout)?.execute(request).await
    }

    /// Sends a request, if the lease is valid, and reads the response.
    ///
    /// A body is handed out only when it is about to be written, and only if the lease is valid at that very moment: a
    /// process that is stopped after it has asked, and comes back when another has the post, must not publish it.
    pub(super) async fn send(
        &self,
        request: RequestBuilder,
        context: &dyn PublishContext,
    ) -> Result<ApiResponse, SendError> {
        context.ensure_lease().await.map_err(SendError::Aborted)?;
        let lease_is_valid = context.lease_check();
        let mut request = request.timeout(self.timeout).build().map_err(|error| self.explain(error))?;
        let body = request.body().and_then(reqwest::Body::as_bytes).map(<[u8]>::to_vec);
        if let Some(body) = body.filter(|body| !body.is_empty()) {
            request.headers_mut().insert(CONTENT_LENGTH, body.len().into());
            *request.body_mut() = Some(body::leased(body, Arc::clone(&lease_is_valid)));
        }
        match self.execute(request).await {
            Ok(response) => self.read(response).await,
            Err(_) if !lease_is_valid() => Err(SendError::Aborted(AttemptAborted::LeaseLost)),
            Err(error) => Err(self.explain(error)),
        }
    }

    /// Sends part of a file. It fails when nothing has moved for the time-out, and at once when the lease is lost, with
    /// the rest of the bytes unsent.
    pub(super) async fn upload(
        &self,
        request: RequestBuilder,
        file: &MediaFile,
        range: Range<u64>,
        context: &dyn PublishContext,
    ) -> Result<ApiResponse, SendError> {
        context.ensure_may_send().await.map_err(SendError::Aborted)?;
        let lease_is_valid = context.lease_check();
        let (first, length) = (range.start, range.end - range.start);
        let (body, monitor) = body::file_part(file, range, Arc::clone(&lease_is_valid));
        let request = request.header(CONTENT_LENGTH, length).body(body);
        let request = request.build().map_err(|error| self.explain(error))?;
        let sending = async {
            let response = self.execute(request).await.map_err(|error| self.explain(error))?;
            self.read(response).await
        };
        tokio::pin!(sending);
        // Where this part begins: an earlier attempt may have sent what is before it.
        context.bytes_sent(first, file.size);
        let mut seen = 0;
        let mut still_since = Instant::now();
        loop {
            let tick = PROGRESS_INTERVAL.min(self.timeout);
            if let Ok(response) = tokio::time::timeout(tick, &mut sending).await {
                if response.is_err() && !lease_is_valid() {
                    return Err(SendError::Aborted(AttemptAborted::LeaseLost));
                }
                if response.is_ok() {
                    context.bytes_sent(first + monitor.bytes(), file.size);
                }
                return match monitor.file_problem() {
                    Some(problem) => Err(problem.into()),
                    None => response,
                };
            }
            let moved = monitor.bytes();
            if moved != seen {
                seen = moved;
                still_since = Instant::now();
                context.bytes_sent(first + moved, file.size);
            }
            if !lease_is_valid() {
                return Err(SendError::Aborted(AttemptAborted::LeaseLost));
            }
            if still_since.elapsed() >= self.timeout {
                return Err(if monitor.waits_for_file() {
                    let limit = humantime::format_duration(self.timeout);
                    SendError::File(format!("reading the file took longer than {limit}: `{}`", file.name()))
                } else {
                    SendError::Lost(self.no_response())
                });
            }
        }
    }

    async fn read(&self, response: Response) -> Result<ApiResponse, SendError> {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let mut body = Vec::new();
        let mut pieces = response.bytes_stream();
        loop {
            match tokio::time::timeout(self.timeout, pieces.try_next()).await {
                Ok(Ok(Some(piece))) if body.len() + piece.len() > MAX_RESPONSE => {
                    return Err(SendError::TooLong { status });
                }
                Ok(Ok(Some(piece))) => body.extend_from_slice(&piece),
                Ok(Ok(None)) => return Ok(ApiResponse::new(status, headers, body)),
                Ok(Err(error)) => return Err(SendError::Lost(plain(&root_cause(&error.without_url())))),
                Err(_) => return Err(SendError::Lost(self.no_response())),
            }
        }
    }

    /// Tells a request that was never sent from one that may have been received.
    fn explain(&self, error: reqwest::Error) -> SendError {
        let host = error.url().and_then(Url::host_str).map(str::to_owned).unwrap_or_default();
        let error = error.without_url();
        if error.is_connect() && prevents_connections(&error) {
            SendError::Aborted(AttemptAborted::ResourceLimit(root_cause(&error)))
        } else if error.is_connect() {
            let why =
                if error.is_timeout() { "the connection timed out".to_owned() } else { plain(&root_cause(&error)) };
            SendError::NotSent(format!("{why}; {host} cannot be reached"))
        } else if was_refused_unprocessed(&error) {
            SendError::NotSent(format!("{host} refused the request without processing it"))
        } else if error.is_builder() {
            SendError::NotSent("the request is invalid".to_owned())
        } else if error.is_timeout() {
            SendError::Lost(self.no_response())
        } else {
            SendError::Lost(plain(&root_cause(&error)))
        }
    }

    fn no_response(&self) -> String {
        format!("no response within {}", humantime::format_duration(self.timeout))
    }
}

/// Whether an HTTP/2 server says that it has not processed the request (RFC 9113, sections 5.4.1 and 6.8): the stream
/// was refused, or lies above the last one that a GOAWAY names.
fn was_refused_unprocessed(error: &reqwest::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if let Some(h2) = error.downcast_ref::<h2::Error>() {
            let is_refused = h2.is_reset() && h2.reason() == Some(h2::Reason::REFUSED_STREAM);
            return h2.is_remote() && (is_refused || h2.is_go_away());
        }
        cause = error.source();
    }
    false
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Takes a request, and goes away.
    async fn go_away(mut connection: TcpStream, last_stream: u8) {
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        connection.write_all(&settings).await.unwrap();
        // A frame is its length in three bytes, its type, its flags, its stream in four bytes, and its content. The
        // client's connection begins with 24 other bytes.
        connection.read_exact(&mut [0; 24]).await.unwrap();
        loop {
            let mut head = [0; 9];
            connection.read_exact(&mut head).await.unwrap();
            let length = usize::from(head[1]) * 256 + usize::from(head[2]);
            connection.read_exact(&mut vec![0; length]).await.unwrap();
            let is_headers = head[3] == 1;
            if is_headers {
                break;
            }
        }
        let goaway = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, last_stream, 0, 0, 0, 0];
        connection.write_all(&goaway).await.unwrap();
        // Closed at once, the connection would be reset, and what was written last be lost.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    /// The error of a request to an HTTP/2 server that answers it by going away and names this stream as the last that
    /// it has processed. The request is stream 1.
    async fn error_after_goaway(last_stream: u8) -> reqwest::Error {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        // The client itself tries again what was not processed, a few times.
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(go_away(connection, last_stream));
            }
        });
        let client = client_builder("http").http2_prior_knowledge().build().unwrap();
        client.post(url).body("bytes").send().await.unwrap_err()
    }

    #[tokio::test]
    async fn what_lies_above_the_last_stream_of_a_goaway_was_not_processed() {
        assert!(was_refused_unprocessed(&error_after_goaway(0).await));
        assert!(!was_refused_unprocessed(&error_after_goaway(1).await), "it may have been processed");
    }
}
