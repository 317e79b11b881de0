//! The simulated platforms take what the real ones take and refuse what they refuse, by the platforms' documentation.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use postretry_sandbox::{Knobs, Sandbox};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const JSON: (&str, &str) = ("content-type", "application/json; charset=UTF-8");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const ACCOUNT: &str = "/v25.0/17841400000000001";
const TOKEN: &str = "sandbox-instagram-token-0";
const RELATED: &str = "multipart/related; boundary=b";
const METADATA: &str =
    r#"{"snippet":{"title":"A title"},"status":{"privacyStatus":"public","selfDeclaredMadeForKids":false}}"#;

/// An answer: its status, its head in lower case, its body.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

/// Sends a request as it is written here, without anything that a client would add.
async fn ask(sandbox: &Sandbox, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(sandbox.url().trim_start_matches("http://")).await.unwrap();
    let mut head = format!("{line} HTTP/1.1\r\nhost: sandbox\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// The same, with the length of the body.
async fn send(sandbox: &Sandbox, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let length = body.len().to_string();
    ask(sandbox, line, &[headers, &[("content-length", length.as_str())]].concat(), body).await
}

/// A body in pieces.
fn chunked(body: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n\r\n"].concat()
}

fn setting(sandbox: &Sandbox, name: &str) -> String {
    sandbox.settings().into_iter().find(|(setting, _)| *setting == name).unwrap().1
}

async fn google_token(sandbox: &Sandbox) -> Value {
    let form = format!(
        "grant_type=refresh_token&client_id={}&client_secret={}&refresh_token={}",
        setting(sandbox, "YOUTUBE_CLIENT_ID"),
        setting(sandbox, "YOUTUBE_CLIENT_SECRET"),
        setting(sandbox, "YOUTUBE_REFRESH_TOKEN")
    );
    send(sandbox, "POST /token", &[FORM], form.as_bytes()).await.json()
}

/// The header with an access token of Google.
async fn google_bearer(sandbox: &Sandbox) -> String {
    format!("Bearer {}", google_token(sandbox).await["access_token"].as_str().unwrap())
}

async fn tiktok_bearer(sandbox: &Sandbox) -> String {
    let form = format!(
        "grant_type=refresh_token&client_key={}&client_secret={}&refresh_token={}",
        setting(sandbox, "TIKTOK_CLIENT_KEY"),
        setting(sandbox, "TIKTOK_CLIENT_SECRET"),
        setting(sandbox, "TIKTOK_REFRESH_TOKEN")
    );
    let answer = send(sandbox, "POST /v2/oauth/token/", &[FORM], form.as_bytes()).await.json();
    format!("Bearer {}", answer["access_token"].as_str().unwrap())
}

#[test]
fn the_program_has_a_version_and_a_help() {
    for (argument, expected) in [
        ("-V", "postretry-sandbox "),
        ("--version", "postretry-sandbox "),
        ("-h", "TikTok, Instagram and YouTube as "),
        ("--help", "TikTok, Instagram and YouTube as "),
        ("help", "TikTok, Instagram and YouTube as "),
    ] {
        let program = env!("CARGO_BIN_EXE_postretry-sandbox");
        let ran = std::process::Command::new(program).arg(argument).output().unwrap();
        let text = String::from_utf8(ran.stdout).unwrap();
        assert!(ran.status.success() && ran.stderr.is_empty(), "{argument}: {}", ran.status);
        assert!(text.starts_with(expected) && !text.contains('`'), "{argument}: {text}");
    }
}

#[tokio::test]
async fn tiktok_refuses_what_exceeds_its_limits_in_any_window() {
    let sandbox = Sandbox::start().await.unwrap();
    sandbox.world().knobs = Knobs { tiktok_window_ms: 1_500, ..Knobs::default() };
    let bearer = tiktok_bearer(&sandbox).await;
    let creator = async || {
        let headers = [JSON, ("authorization", bearer.as_str())];
        send(&sandbox, "POST /v2/post/publish/creator_info/query/", &headers, b"").await
    };
    for _ in 0..20 {
        assert_eq!(creator().await.status, 200);
    }
    let refused = creator().await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (429, &json!("rate_limit_exceeded")));
    assert_eq!(sandbox.world().throttled, 1);
    tokio::time::sleep(Duration::from_millis(1_600)).await;
    assert_eq!(creator().await.status, 200);
}

#[tokio::test]
async fn tiktok_takes_a_video_without_brand_toggles_and_its_bytes_in_pieces() {
    let sandbox = Sandbox::start().await.unwrap();
    let bearer = tiktok_bearer(&sandbox).await;
    let init = json!({
        "post_info": { "title": "A title", "privacy_level": "SELF_ONLY" },
        "source_info": { "source": "FILE_UPLOAD", "video_size": 5, "chunk_size": 5, "total_chunk_count": 1 },
    });
    let headers = [JSON, ("authorization", bearer.as_str())];
    let line = "POST /v2/post/publish/video/init/";
    let answer = send(&sandbox, line, &headers, init.to_string().as_bytes()).await.json();
    let address = answer["data"]["upload_url"].as_str().unwrap().to_owned();
    let line = format!("PUT {}", address.trim_start_matches(&sandbox.url()));
    let headers = [("content-type", "video/mp4"), ("content-range", "bytes 0-4/5"), ("transfer-encoding", "chunked")];
    assert_eq!(ask(&sandbox, &line, &headers, &chunked(b"video")).await.status, 201);
    assert_eq!(sandbox.published().len(), 1);
    assert_eq!(sandbox.world().violations.len(), 2, "but a client should say them");
}

#[tokio::test]
async fn instagram_takes_a_token_as_a_parameter_and_a_reel_by_its_address() {
    let sandbox = Sandbox::start().await.unwrap();
    let form = format!("media_type=REELS&video_url=https://cdn.example/a.mp4&caption=Hello&access_token={TOKEN}");
    let made = send(&sandbox, &format!("POST {ACCOUNT}/media"), &[FORM], form.as_bytes()).await.json();
    let id = made["id"].as_str().unwrap().to_owned();
    assert!(made["uri"].is_null(), "{made}");
    let read = format!("GET /v25.0/{id}?fields=status_code&access_token={TOKEN}");
    assert_eq!(ask(&sandbox, &read, &[], b"").await.json()["status_code"], "IN_PROGRESS");
    assert_eq!(ask(&sandbox, &read, &[], b"").await.json()["status_code"], "FINISHED");
    let form = format!("creation_id={id}&access_token={TOKEN}");
    assert_eq!(send(&sandbox, &format!("POST {ACCOUNT}/media_publish"), &[FORM], form.as_bytes()).await.status, 200);
    let published = sandbox.published();
    assert_eq!(published[0].source_url.as_deref(), Some("https://cdn.example/a.mp4"));
}

#[tokio::test]
async fn instagram_refuses_old_versions_pngs_private_addresses_and_tells_only_what_is_asked_for() {
    let sandbox = Sandbox::start().await.unwrap();
    let code = |answer: &Answer| {
        let body = answer.json();
        let error = &body["error"];
        (answer.status, error["code"].as_i64().unwrap(), error["error_subcode"].as_i64())
    };
    let limit = |version: &str, fields: &str| {
        format!("GET /{version}/17841400000000001/content_publishing_limit?access_token={TOKEN}{fields}")
    };
    for version in ["v20.0", "v19.0", "v3.2"] {
        assert_eq!(code(&ask(&sandbox, &limit(version, ""), &[], b"").await), (400, 2635, None));
    }
    let told = ask(&sandbox, &limit("v21.0", ""), &[], b"").await.json();
    assert!(told["data"][0]["config"].is_null() && told["data"][0]["quota_usage"].is_number(), "{told}");
    let told = ask(&sandbox, &limit("v26.0", "&fields=config"), &[], b"").await.json();
    assert_eq!(told["data"][0]["config"]["quota_total"], 100);

    for (address, expected) in [
        ("https://cdn.example/a.png", (400, 36001, Some(2_207_005))),
        ("https://192.168.1.7/a.jpg", (400, 9004, Some(2_207_052))),
        ("http://localhost:8000/a.jpg", (400, 9004, Some(2_207_052))),
    ] {
        let body = json!({ "image_url": address, "access_token": TOKEN }).to_string();
        let answer = send(&sandbox, &format!("POST {ACCOUNT}/media"), &[JSON], body.as_bytes()).await;
        assert_eq!(code(&answer), expected, "{address}");
    }

    let headers = [("authorization", "OAuth wrong"), ("offset", "0"), ("file_size", "5")];
    let refused = send(&sandbox, "POST /ig-api-upload/v25.0/1", &headers, b"video").await;
    assert_eq!((refused.status, &refused.json()["debug_info"]["type"]), (400, &json!("NotAuthorizedError")));
}

#[tokio::test]
async fn google_gives_tokens_for_a_second_less_than_an_hour() {
    let sandbox = Sandbox::start().await.unwrap();
    assert_eq!(google_token(&sandbox).await["expires_in"], 3599);
}

#[tokio::test]
async fn youtube_takes_an_insert_with_the_least_and_a_whole_file_without_a_range() {
    let sandbox = Sandbox::start().await.unwrap();
    let bearer = google_bearer(&sandbox).await;
    let authorization = ("authorization", bearer.as_str());
    let headers = [JSON, authorization, ("x-upload-content-length", "5")];
    let body = json!({ "snippet": { "title": "A title" }, "status": {} }).to_string();
    let line = "POST /upload/youtube/v3/videos?uploadType=resumable&part=snippet&part=status";
    let opened = send(&sandbox, line, &headers, body.as_bytes()).await;
    assert_eq!(opened.status, 200, "{opened:?}");
    let location = opened.head.lines().find_map(|line| line.strip_prefix("location: ")).unwrap().to_owned();
    let line = format!("PUT {}", location.trim_start_matches(&sandbox.url()));
    let headers = [authorization, ("content-type", "video/mp4"), ("transfer-encoding", "chunked")];
    let sent = ask(&sandbox, &line, &headers, &chunked(b"video")).await;
    assert_eq!(sent.status, 201, "{sent:?}");
    let id = sent.json()["id"].as_str().unwrap().to_owned();
    assert!(sandbox.published()[0].is_public, "by default");

    for query in [format!("part=status,snippet&id=none,{id}"), format!("part=snippet&part=status&id=none&id={id}")] {
        let listed = ask(&sandbox, &format!("GET /youtube/v3/videos?{query}"), &[authorization], b"").await.json();
        assert_eq!(listed["items"][0]["id"], id.as_str(), "{listed}");
        assert!(listed["items"][0]["status"].is_object() && listed["items"][0]["fileDetails"].is_null(), "{listed}");
    }
}

/// Metadata and file in one body, with lines that end like this.
fn related(metadata: &str, media_type: &str, media: &[u8], end: &str) -> Vec<u8> {
    let metadata_part = format!("--b{end}Content-Type: application/json{end}{end}{metadata}{end}");
    let media_head = format!("--b{end}Content-Type: {media_type}{end}{end}");
    [metadata_part.as_bytes(), media_head.as_bytes(), media, end.as_bytes(), b"--b--"].concat()
}

#[tokio::test]
async fn youtube_takes_metadata_and_file_in_one_request() {
    let sandbox = Sandbox::start().await.unwrap();
    let bearer = google_bearer(&sandbox).await;
    let authorization = ("authorization", bearer.as_str());
    let line = "POST /upload/youtube/v3/videos?uploadType=multipart&part=snippet&part=status";
    let file = b"vid\r\neo\r";
    let headers = [authorization, ("content-type", RELATED)];
    let from_npm = send(&sandbox, line, &headers, &related(METADATA, "video/mp4", file, "\r\n")).await;
    let headers =
        [authorization, ("content-type", "multipart/related; boundary=\"b\""), ("transfer-encoding", "chunked")];
    let body = chunked(&related(METADATA, "application/octet-stream", file, "\n"));
    let from_python = ask(&sandbox, line, &headers, &body).await;

    let published = sandbox.published();
    assert_eq!(published.len(), 2);
    for (answer, post) in [from_npm, from_python].iter().zip(&published) {
        let video = answer.json();
        assert_eq!((answer.status, &video["id"]), (200, &json!(post.id)), "{answer:?}");
        assert_eq!((post.text.as_str(), post.size), ("A title", 8));
        assert_eq!(post.sha256, "4e358009940063d81974952cce35e42551452deb63db39d01fb40f2e9e9dcb2e");
    }
    let ids = format!("{},{}", published[0].id, published[1].id);
    let listed = ask(&sandbox, &format!("GET /youtube/v3/videos?part=snippet&id={ids}"), &[authorization], b"").await;
    assert_eq!(listed.json()["items"][1]["snippet"]["title"], "A title");
    assert_eq!(sandbox.calls("youtube.multipart"), 2);
    assert_eq!(sandbox.world().violations, Vec::<String>::new());
}

#[tokio::test]
async fn youtube_refuses_an_upload_in_one_request_that_it_cannot_read_or_may_not_take() {
    let sandbox = Sandbox::start().await.unwrap();
    let bearer = google_bearer(&sandbox).await;
    let whole = related(METADATA, "video/mp4", b"video", "\r\n");
    let both = "uploadType=multipart&part=snippet,status";
    for (query, body, reason) in [
        ("uploadType=multipart", whole.clone(), "missingRequiredParameter"),
        ("uploadType=multipart&part=status", whole.clone(), "badRequest"),
        ("uploadType=media&part=snippet,status", whole.clone(), "badRequest"),
        (both, related(METADATA, "text/plain", b"video", "\r\n"), "badRequest"),
        (both, related(METADATA, "video/mp4", b"", "\r\n"), "mediaBodyRequired"),
        (both, related("{", "video/mp4", b"video", "\r\n"), "parseError"),
        (both, related("{}", "video/mp4", b"video", "\r\n"), "invalidTitle"),
    ] {
        let line = format!("POST /upload/youtube/v3/videos?{query}");
        let headers = [("authorization", bearer.as_str()), ("content-type", RELATED)];
        let answer = send(&sandbox, &line, &headers, &body).await;
        let refusal = answer.json();
        assert_eq!((answer.status, &refusal["error"]["errors"][0]["reason"]), (400, &json!(reason)), "{query}");
    }
    for (content_type, body, words) in [
        ("application/json", whole.as_slice(), "Malformed multipart body."),
        (RELATED, &whole[..whole.len() - 5], "Missing end boundary in multipart body."),
    ] {
        let line = format!("POST /upload/youtube/v3/videos?{both}");
        let headers = [("authorization", bearer.as_str()), ("content-type", content_type)];
        let answer = send(&sandbox, &line, &headers, body).await;
        assert_eq!((answer.status, answer.body.as_str()), (400, words));
    }
    assert!(sandbox.published().is_empty());
}

#[tokio::test]
async fn youtube_opens_a_session_where_the_discovery_document_says_and_only_for_a_video() {
    let sandbox = Sandbox::start().await.unwrap();
    let bearer = google_bearer(&sandbox).await;
    for (path, media_type, status) in [
        ("resumable/upload", "video/quicktime", 200),
        ("upload", "application/octet-stream", 200),
        ("upload", "text/plain", 400),
    ] {
        let line = format!("POST /{path}/youtube/v3/videos?uploadType=resumable&part=snippet,status");
        let size = ("x-upload-content-length", "5");
        let headers = [JSON, ("authorization", bearer.as_str()), size, ("x-upload-content-type", media_type)];
        let answer = send(&sandbox, &line, &headers, METADATA.as_bytes()).await;
        assert_eq!(answer.status, status, "{path} {media_type} {answer:?}");
    }
}

#[tokio::test]
async fn youtube_refuses_lists_without_a_part_or_a_selection() {
    let sandbox = Sandbox::start().await.unwrap();
    let bearer = google_bearer(&sandbox).await;
    for (list, status) in [
        ("videos?part=status", 400),
        ("videos?id=x", 400),
        ("videos?part=status&id=x", 200),
        ("channels?part=contentDetails", 400),
        ("channels?mine=true", 400),
        ("channels?part=contentDetails&mine=true", 200),
        ("playlistItems?part=snippet", 400),
        ("playlistItems?playlistId=UUsandbox", 400),
        ("playlistItems?part=snippet&playlistId=UUsandbox", 200),
    ] {
        let line = format!("GET /youtube/v3/{list}");
        let answer = ask(&sandbox, &line, &[("authorization", bearer.as_str())], b"").await;
        assert_eq!(answer.status, status, "{list}");
        if status == 400 {
            assert_eq!(answer.json()["error"]["errors"][0]["reason"], "missingRequiredParameter", "{list}");
        }
    }
}
