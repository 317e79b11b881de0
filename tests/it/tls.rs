//! TLS to MongoDB: a user with a password, a client with a certificate, both with the documented role, and what is said
//! if one side does not trust the other.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use mongodb::bson::{Document, doc};
use postretry_mongod::{Mongod, TlsFiles};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::privileges::{PASSWORD, documented};
use crate::support::env::{TestEnv, mongod};

/// The subject of the client's certificate, which is the name of its user.
const SUBJECT: &str = "CN=postretry,OU=clients,O=marketing";

/// Whoever signs certificates.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
struct Identity {
    certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

fn name(unit: &str, common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "marketing");
    name.push(DnType::OrganizationalUnitName, unit);
    name.push(DnType::CommonName, common);
    name
}

impl Authority {
    fn new(common: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = name("authorities", common);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for this subject and host, valid until the end of this year.
    fn sign(&self, subject: DistinguishedName, host: &str, until: i32) -> Identity {
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.distinguished_name = subject;
        params.not_after = date_time_ymd(until, 12, 31);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &self.issuer).unwrap();
        Identity { certificate: signed.der().clone(), pem: signed.pem(), key }
    }

    fn server(&self) -> Identity {
        self.sign(name("databases", "server"), "127.0.0.1", 4000)
    }

    fn client(&self, common: &str) -> Identity {
        self.sign(name("clients", common), "client.example", 4000)
    }
}

impl Identity {
    /// Certificate and key in one text, as MongoDB wants them.
    fn whole(&self) -> String {
        format!("{}{}", self.key.serialize_pem(), self.pem)
    }
}

/// Writes a file into the folder of the test.
fn file(env: &TestEnv, name: &str, text: &str) -> PathBuf {
    let path = env.folder().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// A connection string with these credentials (`user:password@`) and options.
fn uri(env: &TestEnv, credentials: &str, options: &str) -> String {
    let authority = env.folder().join("authority.pem");
    let uri = env.uri.replace("mongodb://", &format!("mongodb://{credentials}"));
    format!("{uri}&serverSelectionTimeoutMS=3000&tls=true&tlsCAFile={}{options}", authority.display())
}

/// A connection string of the client with this certificate.
fn with_certificate(env: &TestEnv, certificate: &str) -> String {
    let path = env.folder().join(certificate);
    uri(env, "", &format!("&authMechanism=MONGODB-X509&tlsCertificateKeyFile={}", path.display()))
}

/// The server is killed before it comes back with TLS.
fn durable() -> Document {
    doc! { "w": "majority", "j": true }
}

/// Makes the server demand TLS and a sign-in. Its users have the documented role, one with a password, the other with a
/// certificate.
async fn secured(server: &mut Mongod) -> (TestEnv, Authority) {
    let mut env = TestEnv::on(server).await;
    let database = env.database.name().to_owned();
    let privileges: Vec<Document> = documented()
        .iter()
        .map(|(collection, actions)| {
            doc! { "resource": { "db": &database, "collection": collection }, "actions": actions.clone() }
        })
        .collect();
    let role = doc! { "createRole": "postretry", "privileges": privileges, "roles": [], "writeConcern": durable() };
    env.database.run_command(role).await.unwrap();
    for (user, role) in [("postretry", "postretry"), ("owner", "dbOwner")] {
        let made = doc! { "createUser": user, "pwd": PASSWORD, "roles": [role], "writeConcern": durable() };
        env.database.run_command(made).await.unwrap();
    }
    let role = doc! { "role": "postretry", "db": &database };
    let made = doc! { "createUser": SUBJECT, "roles": [role], "writeConcern": durable() };
    env.database.client().database("$external").run_command(made).await.unwrap();

    let authority = Authority::new("authority");
    let files = TlsFiles {
        certificate: file(&env, "server.pem", &authority.server().whole()),
        authority: file(&env, "authority.pem", &authority.pem),
    };
    server.demand_tls_and_sign_in(files).await.unwrap();
    let owner = mongodb::Client::with_uri_str(uri(&env, &format!("owner:{PASSWORD}@"), "")).await.unwrap();
    env.database = owner.database(&database);
    env.posts = env.database.collection("marketing_posts");
    (env, authority)
}

/// Listens with this certificate, and leads to a server without TLS.
async fn relay(identity: Identity, server: SocketAddr) -> SocketAddr {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate], PrivateKeyDer::Pkcs8(identity.key.serialize_der().into()))
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust the certificate goes away.
                if let (Ok(mut client), Ok(mut server)) =
                    (acceptor.accept(client).await, TcpStream::connect(server).await)
                {
                    drop(copy_bidirectional(&mut client, &mut server).await);
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_and_a_certificate_both_serve_over_tls_in_a_set_and_on_a_standalone_server() {
    for mut server in [Mongod::start().await, Mongod::start_standalone().await] {
        let (mut env, authority) = secured(&mut server).await;
        file(&env, "client.pem", &authority.client("postretry").whole());
        let with_password = uri(&env, &format!("postretry:{PASSWORD}@"), "");
        let with_certificate = with_certificate(&env, "client.pem");
        // The server's name for where such users are may also be written out.
        let with_source = format!("{with_certificate}&authSource=%24external");
        for (address, platform) in
            [(with_password, "tiktok"), (with_certificate, "instagram"), (with_source, "youtube")]
        {
            env.set("MONGODB_URI", &address);
            let id = env.post(platform, Document::new()).await;
            for arguments in [&["run", "--dry-run"][..], &["list-failed", &id], &["run"], &["stats"]] {
                let ran = env.run(arguments).await.expect(0);
                assert_eq!(ran.stderr, "", "{arguments:?}");
                assert!(!ran.stdout.contains("hush") && !ran.stdout.contains("PRIVATE"), "{ran:?}");
            }
            assert_eq!(env.get(&id).await.get_str("status").ok(), Some("posted"), "{platform}");
        }
        assert_eq!(env.sandbox.published().len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_one_side_does_not_trust_the_other_the_error_says_why_and_names_the_setting() {
    let mut server = Mongod::start().await;
    let (mut env, authority) = secured(&mut server).await;
    let stranger = Authority::new("stranger");
    file(&env, "stranger.pem", &stranger.pem);
    file(&env, "nobody.pem", &authority.client("nobody").whole());
    file(&env, "foreign.pem", &stranger.client("postretry").whole());
    file(&env, "keyless.pem", &authority.client("postretry").pem);
    let plain = mongod().await.address();
    let misnamed = relay(authority.sign(name("databases", "server"), "db.example", 4000), plain).await;
    let expired = relay(authority.sign(name("databases", "server"), "127.0.0.1", 2020), plain).await;

    let user = format!("postretry:{PASSWORD}@");
    let good = uri(&env, &user, "");
    let here = server.address().to_string();
    let instead = |file: &str| good.replace("authority.pem", file);
    let at = |address: SocketAddr| good.replace(&here, &address.to_string());
    let (before_tls, _) = good.split_once("&tls=").unwrap();
    let cases = [
        (instead("stranger.pem"), "the server's TLS certificate is not trusted", "`tlsCAFile=`"),
        (format!("{before_tls}&tls=true"), "the server's TLS certificate is not trusted", "`tlsCAFile=`"),
        (instead("missing.pem"), "missing.pem", "`tlsCAFile=`"),
        (before_tls.to_owned(), "it may require TLS", "`tls=`"),
        (at(plain), "the server may not use TLS", "`tls=`"),
        (at(misnamed), "the server's TLS certificate is for another host name", "host name"),
        (at(expired), "the server's TLS certificate has expired", "renew the server's certificate"),
        (good.replace(PASSWORD, "hush-mistyped"), "the user name or the password was refused", "`authSource`"),
        (with_certificate(&env, "nobody.pem"), "the client certificate was refused", "`$external`"),
        (
            uri(&env, "", "&authMechanism=MONGODB-X509"),
            "the client certificate was refused",
            "`tlsCertificateKeyFile=`",
        ),
        (with_certificate(&env, "foreign.pem"), "TLS", "`tlsCertificateKeyFile=`"),
        (with_certificate(&env, "keyless.pem"), "keyless.pem", "`tlsCertificateKeyFile=`"),
        (with_certificate(&env, "missing.pem"), "the client certificate cannot be read", "`tlsCertificateKeyFile=`"),
    ];
    for (address, problem, hint) in cases {
        env.set("MONGODB_URI", &address);
        let ran = env.run(&["stats"]).await.expect(5);
        let lines: Vec<&str> = ran.stderr.lines().collect();
        let [error, advice] = lines.as_slice() else { panic!("{address}: {}", ran.stderr) };
        assert!(error.starts_with("error: failed to ") && error.contains(problem), "{address}: {}", ran.stderr);
        assert!(advice.starts_with("hint: ") && advice.contains(hint), "{address}: {}", ran.stderr);
        assert!(advice.contains("`MONGODB_URI`"), "{address}: {}", ran.stderr);
        assert!(!ran.stderr.contains("hush") && !ran.stderr.contains("PRIVATE"), "{}", ran.stderr);
        assert_eq!(ran.stdout, "", "{address}");
    }
    env.set("MONGODB_URI", &good);
    env.run(&["stats"]).await.expect(0);
}
