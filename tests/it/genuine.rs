//! The platforms at their own addresses, as everyone but a test meets them: several hosts, TLS, HTTP/1.1 or HTTP/2. A
//! proxy that the binary is told of leads every connection to the simulated platforms.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use mongodb::bson::{Document, doc};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::support::env::{TestEnv, sha256, video};
use crate::support::kinds::{KINDS, post_of};

const HOSTS: [&str; 6] = [
    "open.tiktokapis.com",
    "open-upload.tiktokapis.com",
    "graph.facebook.com",
    "rupload.facebook.com",
    "www.googleapis.com",
    "oauth2.googleapis.com",
];

/// How the platforms are spoken to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wire {
    /// HTTP/1.1 at an origin that a setting gives.
    Plain,
    /// HTTP/2 over TLS at the platforms' own addresses: one connection carries several requests, and is not lost with one.
    Multiplexed,
}

impl Wire {
    /// Has the binary of this env speak to the platforms like this.
    pub(crate) async fn lay(self, env: &mut TestEnv) {
        match self {
            Self::Plain => {}
            Self::Multiplexed => drop(Relay::before(env, "h2").await),
        }
    }
}

/// Stands in for the platforms' hosts.
struct Relay {
    address: SocketAddr,
    authority: String,
    hosts: Arc<Mutex<BTreeSet<String>>>,
}

impl Relay {
    /// Leads to these platforms whoever asks for a platform's host, and speaks this protocol with it.
    async fn start(platforms: SocketAddr, protocol: &str) -> Self {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().unwrap();
        let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(HOSTS.map(str::to_owned)).unwrap().signed_by(&key, &issuer).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();
        config.alpn_protocols = vec![protocol.into()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Self { address: listener.local_addr().unwrap(), authority: authority_pem, hosts: Arc::default() };
        let hosts = Arc::clone(&relay.hosts);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, hosts) = (acceptor.clone(), Arc::clone(&hosts));
                // A connection that breaks off is a fault's business.
                tokio::spawn(async move { drop(lead(client, platforms, &acceptor, &hosts).await) });
            }
        });
        relay
    }

    /// Has the binary of this env meet the platforms at their own addresses.
    async fn before(env: &mut TestEnv, protocol: &str) -> Self {
        let platforms = env.sandbox.url().trim_start_matches("http://").parse().unwrap();
        let relay = Self::start(platforms, protocol).await;
        env.sandbox.world().knobs.own_hosts = true;
        env.settings.retain(|name, _| !name.ends_with("_API_URL") && !name.ends_with("_UPLOAD_URL"));
        env.unset("GOOGLE_TOKEN_URL");
        let authority = env.folder().join("authority.pem");
        std::fs::write(&authority, &relay.authority).unwrap();
        env.set("HTTPS_PROXY", &format!("http://{}", relay.address));
        env.set("SSL_CERT_FILE", authority.to_str().unwrap());
        relay
    }

    /// The hosts that were asked for.
    fn hosts(&self) -> BTreeSet<String> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn lead(
    mut client: TcpStream,
    platforms: SocketAddr,
    acceptor: &TlsAcceptor,
    hosts: &Mutex<BTreeSet<String>>,
) -> std::io::Result<()> {
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        asked.push(client.read_u8().await?);
    }
    let asked = String::from_utf8_lossy(&asked);
    let host = asked.strip_prefix("CONNECT ").and_then(|rest| rest.split_once(":443 ")).map_or("", |(host, _)| host);
    hosts.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned());
    if !HOSTS.contains(&host) {
        return client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await;
    }
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    let mut client = acceptor.accept(client).await?;
    let mut platforms = TcpStream::connect(platforms).await?;
    copy_bidirectional(&mut client, &mut platforms).await.map(drop)
}

/// With a copy of `.env.example` as it is, as the README says.
#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_post_goes_out_at_the_platforms_own_addresses() {
    for protocol in ["http/1.1", "h2"] {
        let mut env = TestEnv::new().await;
        let relay = Relay::before(&mut env, protocol).await;
        // Large files take their time on a busy machine.
        env.set("POST_RETRY_WAIT", "30s");
        std::fs::write(env.folder().join(".env"), postretry::settings::env_example()).unwrap();
        // More than one chunk for TikTok and for YouTube.
        let large = video(70_000_000, 5);
        env.file("large.mp4", &large);
        let mut posts = Vec::new();
        for kind in KINDS {
            let (platform, fields) = post_of(kind);
            posts.push(env.post(platform, fields).await);
        }
        for platform in ["tiktok", "instagram", "youtube"] {
            posts.push(env.post(platform, doc! { "videoPath": "large.mp4" }).await);
        }
        let output = env.pass(0).await;
        assert_eq!(output["totals"]["posted"], posts.len(), "{protocol}: {output}");
        let whole = env.sandbox.published().iter().filter(|post| post.sha256 == sha256(&large)).count();
        assert_eq!(whole, 3, "{protocol}");
        assert_eq!(relay.hosts(), HOSTS.map(str::to_owned).into(), "{protocol}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_certificate_is_not_trusted_gets_no_request() {
    let mut env = TestEnv::new().await;
    let _relay = Relay::before(&mut env, "h2").await;
    let mut other = TestEnv::new().await;
    let stranger = Relay::before(&mut other, "h2").await;
    std::fs::write(env.folder().join("authority.pem"), &stranger.authority).unwrap();
    for platform in ["tiktok", "instagram", "youtube"] {
        env.post(platform, Document::new()).await;
    }
    let output = env.pass(0).await;
    for post in output["posts"].as_array().unwrap() {
        assert_eq!(post["category"], "network", "{output}");
        assert!(post["error"].as_str().unwrap().contains("certificate"), "{output}");
    }
    assert_eq!(output["totals"]["failed"], 3);
    assert_eq!(env.sandbox.world().requests.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_to_a_loopback_address_goes_by_no_proxy() {
    let mut env = TestEnv::new().await;
    env.set("HTTP_PROXY", "http://127.0.0.1:9");
    env.set("http_proxy", "http://127.0.0.1:9");
    env.set("ALL_PROXY", "http://127.0.0.1:9");
    env.post("tiktok", Document::new()).await;
    env.post("youtube", Document::new()).await;
    let output = env.pass(0).await;
    assert_eq!(output["totals"]["posted"], 2, "{output}");
}
