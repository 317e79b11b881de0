//! `YouTube`'s uploads, resumable and in one request, and Google's token endpoint.

use serde_json::{Value, json};

use crate::multipart;
use crate::server::{ApiResponse, Body, Head};
use crate::tiktok::parse_range;
use crate::world::{self, Bytes, Published, World};

/// Chunks but the last must be a multiple of this.
const GRAIN: u64 = 256 * 1024;

/// An upload session.
#[derive(Debug)]
pub(crate) struct Session {
    title: String,
    privacy: String,
    size: u64,
    bytes: Bytes,
    video_id: Option<String>,
    looks_left: u32,
}

impl Session {
    pub(crate) fn release(&mut self) {
        self.looks_left = 0;
    }
}

/// The title of the session or video that a request names.
pub(crate) fn text_of<'w>(endpoint: &str, head: &Head, world: &'w World) -> Option<&'w str> {
    let session = match endpoint {
        "youtube.chunk" | "youtube.query" => world.sessions.get(head.param("upload_id")),
        "youtube.videos" => {
            let ids: Vec<&str> = head.param("id").split(',').collect();
            world.sessions.values().find(|session| session.video_id.as_deref().is_some_and(|id| ids.contains(&id)))
        }
        _ => None,
    };
    session.map(|session| session.title.as_str())
}

/// What an upload in one request says of its video, if that can be read.
pub(crate) fn metadata_of(head: &Head, body: &Body) -> Value {
    let bytes = body.bytes();
    let related = multipart::parse(head.header("content-type"), &bytes);
    related.ok().and_then(|related| serde_json::from_slice(related.metadata).ok()).unwrap_or_default()
}

/// Whether a list is asked for without a part, or without a word on whose.
fn is_vague(head: &Head, selectors: &[&str]) -> bool {
    head.param("part").is_empty() || selectors.iter().all(|name| head.param(name).is_empty())
}

pub(crate) fn error_body(status: u16, reason: &str, message: &str) -> Value {
    json!({ "error": {
        "code": status, "message": message,
        "errors": [{ "message": message, "domain": "global", "reason": reason }],
    } })
}

fn refused(status: u16, reason: &str) -> ApiResponse {
    ApiResponse::json(status, &error_body(status, reason, "refused by the sandbox"))
}

pub(crate) fn answer(endpoint: &str, head: &Head, value: &Value, body: &Body, world: &mut World) -> ApiResponse {
    if endpoint == "google.token" {
        return token(value, world);
    }
    if !world.is_valid("youtube", head.bearer()) {
        return refused(401, "authError");
    }
    match endpoint {
        "youtube.session" => open(head, value, world),
        "youtube.multipart" => insert(head, value, body, world),
        "youtube.query" => query(head, body, world),
        "youtube.chunk" => chunk(head, body, world),
        _ if !world.knobs.youtube_may_read => refused(403, "insufficientPermissions"),
        "youtube.channels" if is_vague(head, &["mine", "id"]) => refused(400, "missingRequiredParameter"),
        "youtube.channels" => {
            let playlists = json!({ "relatedPlaylists": { "uploads": "UUsandbox" } });
            ApiResponse::json(200, &json!({ "items": [{ "id": "UCsandbox", "contentDetails": playlists }] }))
        }
        "youtube.playlist_items" if is_vague(head, &["playlistId", "id"]) => refused(400, "missingRequiredParameter"),
        "youtube.playlist_items" => playlist_items(world),
        _ if is_vague(head, &["id"]) => refused(400, "missingRequiredParameter"),
        _ => videos(head, world),
    }
}

fn token(form: &Value, world: &mut World) -> ApiResponse {
    let refused = |code: &str| ApiResponse::json(400, &json!({ "error": code, "error_description": "refused" }));
    if form["client_id"] != world::YOUTUBE_CLIENT_ID || form["client_secret"] != world::YOUTUBE_CLIENT_SECRET {
        return refused("invalid_client");
    }
    if form["grant_type"] != "refresh_token" {
        return refused("unsupported_grant_type");
    }
    if world.tokens.get("youtube").is_none_or(|tokens| form["refresh_token"] != tokens.refresh.as_str()) {
        return refused("invalid_grant");
    }
    let access = world.issue("youtube");
    let lives = world.token_lives("youtube");
    ApiResponse::json(
        200,
        &json!({
            "access_token": access, "expires_in": lives, "token_type": "Bearer",
            "scope": "https://www.googleapis.com/auth/youtube",
        }),
    )
}

fn open(head: &Head, value: &Value, world: &mut World) -> ApiResponse {
    if head.param("uploadType") != "resumable" {
        return refused(400, "badRequest");
    }
    let size = head.header("x-upload-content-length").parse().unwrap_or(0);
    let session = match session_for(head, value, size, head.header("x-upload-content-type"), world) {
        Ok(session) => session,
        Err(refusal) => return refusal,
    };
    let id = format!("upload-{}", world.next());
    world.sessions.insert(id.clone(), session);
    let location = format!(
        "{}/upload/youtube/v3/videos?uploadType=resumable&upload_id={id}",
        world.upload_origin("www.googleapis.com")
    );
    ApiResponse::empty(200).with("location", location)
}

/// Metadata and file in one request.
fn insert(head: &Head, value: &Value, body: &Body, world: &mut World) -> ApiResponse {
    // Nothing is kept of one that breaks off; nobody is there to read the answer.
    if !body.is_whole {
        return ApiResponse::empty(400);
    }
    let bytes = body.bytes();
    let related = match multipart::parse(head.header("content-type"), &bytes) {
        Ok(related) => related,
        // Google says so in plain text.
        Err(message) => {
            let answer = ApiResponse::empty(400).with("content-type", "text/plain");
            return ApiResponse { body: message.to_owned(), ..answer };
        }
    };
    if value.is_null() {
        return refused(400, "parseError");
    }
    let mut session = match session_for(head, value, related.media.len() as u64, &related.media_type, world) {
        Ok(session) => session,
        Err(refusal) => return refusal,
    };
    session.bytes.add(related.media);
    let serial = world.next();
    let upload_id = format!("upload-{serial}");
    let published = complete(&mut session, &upload_id, serial);
    let answer = resource(&session, &published.id);
    world.sessions.insert(upload_id, session);
    world.published.push(published);
    ApiResponse { status: 200, ..answer }
}

/// Whether `YouTube` takes files of this type; one that is not said may be of any.
fn is_taken(media_type: &str) -> bool {
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type.is_empty() || media_type.starts_with("video/") || media_type == "application/octet-stream"
}

/// The upload that a request asks for, or why it is refused.
fn session_for(
    head: &Head,
    value: &Value,
    size: u64,
    media_type: &str,
    world: &mut World,
) -> Result<Session, ApiResponse> {
    let refused = |reason: &str| Err(refused(400, reason));
    let parts: Vec<&str> = head.param("part").split(',').collect();
    if head.param("part").is_empty() {
        return refused("missingRequiredParameter");
    }
    if !parts.contains(&"snippet") || !parts.contains(&"status") {
        return refused("badRequest");
    }
    if size == 0 {
        return refused("mediaBodyRequired");
    }
    if !is_taken(media_type) {
        let message = format!("Media type '{media_type}' is not supported.");
        return Err(ApiResponse::json(400, &error_body(400, "badRequest", &message)));
    }
    let (snippet, status) = (&value["snippet"], &value["status"]);
    let title = snippet["title"].as_str().unwrap_or_default();
    let description = snippet["description"].as_str().unwrap_or_default();
    if title.trim().is_empty() || title.chars().count() > 100 || title.contains(['<', '>']) {
        return refused("invalidTitle");
    }
    if description.len() > 5000 || description.contains(['<', '>']) {
        return refused("invalidDescription");
    }
    let cost = |tag: &Value| {
        let tag = tag.as_str().unwrap_or_default();
        tag.chars().count() + if tag.contains(' ') { 2 } else { 0 }
    };
    let tags: Vec<usize> = snippet["tags"].as_array().into_iter().flatten().map(cost).collect();
    if tags.iter().sum::<usize>() + tags.len().saturating_sub(1) > 500 {
        return refused("invalidTags");
    }
    let is_category = |id: &Value| id.as_str().is_some_and(|id| id.parse::<u32>().is_ok());
    if !snippet["categoryId"].is_null() && !is_category(&snippet["categoryId"]) {
        return refused("invalidCategoryId");
    }
    // What is not said is decided by YouTube, and no client should leave that to it.
    for name in ["privacyStatus", "selfDeclaredMadeForKids"] {
        if status[name].is_null() {
            world.violation(format!("{name} was omitted"));
        }
    }
    let privacy =
        if status["privacyStatus"].is_null() { "public" } else { status["privacyStatus"].as_str().unwrap_or("") };
    let for_kids = &status["selfDeclaredMadeForKids"];
    if !matches!(privacy, "public" | "unlisted" | "private") || !(for_kids.is_null() || for_kids.is_boolean()) {
        return refused("invalidVideoMetadata");
    }
    Ok(Session {
        title: title.to_owned(),
        privacy: privacy.to_owned(),
        size,
        bytes: Bytes::default(),
        video_id: None,
        looks_left: world.knobs.youtube_looks,
    })
}

/// Makes a video of an upload whose bytes are all there.
fn complete(session: &mut Session, upload_id: &str, serial: u64) -> Published {
    let id = format!("yt{serial:09}");
    session.video_id = Some(id.clone());
    Published {
        platform: "youtube",
        id,
        text: session.title.clone(),
        sha256: session.bytes.sha256(),
        size: session.bytes.size,
        source_url: None,
        is_public: session.privacy == "public",
        ticket: upload_id.to_owned(),
        at: world::now(),
    }
}

/// The answer to a complete upload, as often as it is asked for.
fn resource(session: &Session, id: &str) -> ApiResponse {
    ApiResponse::json(
        201,
        &json!({
            "kind": "youtube#video", "id": id, "snippet": { "title": session.title },
            "status": { "uploadStatus": "uploaded", "privacyStatus": session.privacy },
        }),
    )
}

fn incomplete(session: &Session) -> ApiResponse {
    let answer = ApiResponse::empty(308);
    match session.bytes.size {
        0 => answer,
        size => answer.with("range", format!("bytes=0-{}", size - 1)),
    }
}

fn query(head: &Head, body: &Body, world: &mut World) -> ApiResponse {
    if world.knobs.youtube_sessions_gone {
        return refused(404, "notFound");
    }
    let Some(session) = world.sessions.get(head.param("upload_id")) else { return refused(404, "notFound") };
    if head.header("content-range") != format!("bytes */{}", session.size) || body.len() > 0 {
        return refused(400, "badRequest");
    }
    match &session.video_id {
        Some(id) => resource(session, id),
        None => incomplete(session),
    }
}

fn chunk(head: &Head, body: &Body, world: &mut World) -> ApiResponse {
    if world.knobs.youtube_sessions_gone {
        return refused(404, "notFound");
    }
    let upload_id = head.param("upload_id");
    let serial = world.next();
    let (swings, crawls) = (world.knobs.uploads_swing, world.knobs.youtube_sessions_crawl);
    let Some(session) = world.sessions.get_mut(upload_id) else { return refused(404, "notFound") };
    if let Some(id) = &session.video_id {
        return resource(session, id);
    }
    let range = match head.header("content-range") {
        // The whole file.
        "" => Some((0, session.size - 1, session.size)),
        range => parse_range(range),
    };
    let Some((first, last, total)) = range else { return refused(400, "badRequest") };
    let length = last.saturating_sub(first) + 1;
    let is_last = last + 1 == total;
    if total != session.size || last >= total || (!is_last && length % GRAIN != 0) {
        return refused(400, "badRequest");
    }
    // Bytes that leave a gap or come twice are not taken.
    if first != session.bytes.size {
        return incomplete(session);
    }
    // What arrives of a chunk that breaks off is kept in whole grains.
    let kept = if body.is_whole { body.len() } else { body.len() / GRAIN * GRAIN };
    let mut left = if crawls { kept.min(1) } else { kept };
    for piece in &body.pieces {
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        session.bytes.add(&piece[..taken]);
        left -= taken as u64;
    }
    if swings && first > 0 {
        session.bytes = Bytes::default();
        return incomplete(session);
    }
    if session.bytes.size < session.size {
        return incomplete(session);
    }
    let published = complete(session, upload_id, serial);
    let answer = resource(session, &published.id);
    world.published.push(published);
    answer
}

fn videos(head: &Head, world: &mut World) -> ApiResponse {
    let told = world.knobs.youtube_status.clone();
    let is_stuck = world.knobs.youtube_looks == u32::MAX;
    let processing = world.knobs.youtube_processing.clone();
    let ids: Vec<&str> = head.param("id").split(',').collect();
    let parts: Vec<&str> = head.param("part").split(',').collect();
    let mut items = Vec::new();
    for session in world.sessions.values_mut() {
        let Some(id) = session.video_id.as_deref().filter(|id| ids.contains(id)) else { continue };
        let is_done = !is_stuck && session.looks_left == 0;
        session.looks_left = session.looks_left.saturating_sub(1);
        let mut status = if is_done {
            told.clone().unwrap_or_else(|| json!({ "uploadStatus": "processed" }))
        } else {
            json!({ "uploadStatus": "uploaded" })
        };
        if status["privacyStatus"].is_null() {
            status["privacyStatus"] = session.privacy.clone().into();
        }
        let mut item = json!({
            "id": id, "snippet": { "title": session.title }, "status": status,
            "fileDetails": { "fileSize": session.size.to_string() },
        });
        if let Some(details) = processing.as_ref().filter(|_| !is_done) {
            item["processingDetails"] = details.clone();
        }
        if let Some(item) = item.as_object_mut() {
            item.retain(|name, _| name == "id" || parts.contains(&name.as_str()));
        }
        items.push(item);
    }
    ApiResponse::json(200, &json!({ "items": items }))
}

fn playlist_items(world: &World) -> ApiResponse {
    let items: Vec<Value> = world
        .published
        .iter()
        .rev()
        .filter(|post| post.platform == "youtube")
        .map(|post| {
            let at = post.at.to_rfc3339();
            json!({
                "snippet": { "title": post.text, "publishedAt": at, "resourceId": { "videoId": post.id } },
                "contentDetails": { "videoId": post.id, "videoPublishedAt": at },
            })
        })
        .collect();
    ApiResponse::json(200, &json!({ "items": items }))
}
