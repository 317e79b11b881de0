//! TikTok's Content Posting API.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::address;
use crate::server::{ApiResponse, Body, Head};
use crate::world::{self, Bytes, Published, World};

/// An announced video or photo.
#[derive(Debug)]
pub(crate) struct Upload {
    text: String,
    size: u64,
    chunk_size: u64,
    chunks: u64,
    bytes: Bytes,
    photo_url: Option<String>,
    is_public: bool,
    looks_left: u32,
    failed: Option<String>,
    post_id: Option<u64>,
}

impl Upload {
    pub(crate) fn release(&mut self) {
        self.looks_left = 0;
    }

    fn is_complete(&self) -> bool {
        self.photo_url.is_some() || self.bytes.size == self.size
    }
}

/// The text of the upload that a request names.
pub(crate) fn text_of<'w>(endpoint: &str, head: &Head, value: &Value, world: &'w World) -> Option<&'w str> {
    let id = match endpoint {
        "tiktok.chunk" => upload_id(head),
        "tiktok.status" => value["publish_id"].as_str()?.to_owned(),
        _ => return None,
    };
    world.tiktok.get(&id).map(|upload| upload.text.as_str())
}

/// The `publish_id` that an upload address was given out with.
fn upload_id(head: &Head) -> String {
    format!("v_pub_file~v2-1.{}", head.path.rsplit('/').next().unwrap_or_default())
}

pub(crate) fn error_body(code: &str, message: &str) -> Value {
    json!({ "data": {}, "error": { "code": code, "message": message, "log_id": "20261123" } })
}

fn refused(status: u16, code: &str, message: &str) -> ApiResponse {
    ApiResponse::json(status, &error_body(code, message))
}

fn fine(data: &Value) -> ApiResponse {
    ApiResponse::json(200, &json!({ "data": data, "error": { "code": "ok", "message": "", "log_id": "20261123" } }))
}

pub(crate) fn answer(endpoint: &str, head: &Head, value: &Value, body: &Body, world: &mut World) -> ApiResponse {
    match endpoint {
        "tiktok.token" => return token(value, world),
        "tiktok.chunk" => return chunk(head, body, world),
        _ => {}
    }
    if !world.is_valid("tiktok", head.bearer()) {
        return refused(401, "access_token_invalid", "The access token is invalid");
    }
    if head.header("content-type") != "application/json; charset=UTF-8" {
        return refused(400, "invalid_params", "the body must be JSON");
    }
    if !is_within_limit(endpoint, head.bearer(), world) {
        world.throttled += 1;
        return refused(429, "rate_limit_exceeded", "The API rate limit was exceeded");
    }
    match endpoint {
        "tiktok.creator_info" => fine(&json!({
            "creator_avatar_url": "https://p16.example/avatar.jpg",
            "creator_username": "sandbox_creator",
            "creator_nickname": "Sandbox",
            "privacy_level_options": world.knobs.tiktok_privacy_levels,
            "comment_disabled": false,
            "duet_disabled": false,
            "stitch_disabled": true,
            "max_video_post_duration_sec": world.knobs.tiktok_max_seconds,
        })),
        "tiktok.video_init" => video_init(value, world),
        "tiktok.photo_init" => photo_init(value, world),
        "tiktok.video_list" => video_list(head, value, world),
        _ => status(value, world),
    }
}

/// Whether a token may call the endpoint now ("Rate Limits" on <https://developers.tiktok.com>). A call that is refused
/// does not count.
fn is_within_limit(endpoint: &str, token: &str, world: &mut World) -> bool {
    let limit = match endpoint {
        "tiktok.video_init" | "tiktok.photo_init" => 6,
        "tiktok.creator_info" => 20,
        "tiktok.status" => 30,
        _ => return true,
    };
    let window = TimeDelta::milliseconds(i64::try_from(world.knobs.tiktok_window_ms).unwrap_or(i64::MAX));
    let now = world::now();
    let calls = world.tiktok_calls.entry((endpoint.to_owned(), token.to_owned())).or_default();
    calls.retain(|at| now - *at < window);
    if calls.len() >= limit {
        return false;
    }
    calls.push_back(now);
    true
}

fn token(form: &Value, world: &mut World) -> ApiResponse {
    // TikTok has been seen to refuse with HTTP 200.
    let refused = |code: &str| {
        ApiResponse::json(200, &json!({ "error": code, "error_description": "refused", "log_id": "20261123" }))
    };
    if form["grant_type"] != "refresh_token" {
        return refused("unsupported_grant_type");
    }
    if form["client_key"] != world::TIKTOK_CLIENT_KEY || form["client_secret"] != world::TIKTOK_CLIENT_SECRET {
        return refused("invalid_client");
    }
    if world.tokens.get("tiktok").is_none_or(|tokens| form["refresh_token"] != tokens.refresh.as_str()) {
        return refused("invalid_grant");
    }
    let access = world.issue("tiktok");
    let refresh = format!("sandbox-tiktok-refresh-{}", world.next());
    world.sign_in("tiktok", &refresh);
    ApiResponse::json(
        200,
        &json!({
            "access_token": access, "expires_in": world.token_lives("tiktok"), "refresh_token": refresh,
            "refresh_expires_in": 15_552_000, "open_id": "sandbox", "scope": "video.publish", "token_type": "Bearer",
        }),
    )
}

/// What is asked of `post_info`, video or photo.
fn check_post_info(info: &Value, world: &mut World) -> Option<ApiResponse> {
    let level = info["privacy_level"].as_str().unwrap_or_default();
    if !world.knobs.tiktok_privacy_levels.iter().any(|offered| offered == level) {
        return Some(refused(403, "privacy_level_option_mismatch", "choose a level of creator_info"));
    }
    for toggle in ["brand_content_toggle", "brand_organic_toggle"] {
        match &info[toggle] {
            Value::Bool(_) => {}
            // The table of "Direct Post" asks for them; its sample does without.
            Value::Null => world.violation(format!("{toggle} was omitted")),
            _ => return Some(refused(400, "invalid_params", "a brand toggle is true or false")),
        }
    }
    None
}

fn utf16(text: &Value) -> usize {
    text.as_str().unwrap_or_default().encode_utf16().count()
}

fn video_init(value: &Value, world: &mut World) -> ApiResponse {
    if let Some(refusal) = check_post_info(&value["post_info"], world) {
        return refusal;
    }
    if utf16(&value["post_info"]["title"]) > 2200 {
        return refused(400, "invalid_params", "the title is too long");
    }
    let source = &value["source_info"];
    if source["source"] != "FILE_UPLOAD" {
        return refused(403, "url_ownership_unverified", "videos come by upload here");
    }
    let number = |name: &str| source[name].as_u64().unwrap_or(0);
    let (size, chunk_size, chunks) = (number("video_size"), number("chunk_size"), number("total_chunk_count"));
    if let Err(problem) = check_plan(size, chunk_size, chunks) {
        return refused(400, "invalid_params", problem);
    }
    let id = format!("v_pub_file~v2-1.{}", world.next());
    let upload = Upload {
        text: value["post_info"]["title"].as_str().unwrap_or_default().to_owned(),
        size,
        chunk_size,
        chunks,
        bytes: Bytes::default(),
        photo_url: None,
        is_public: value["post_info"]["privacy_level"] == "PUBLIC_TO_EVERYONE",
        looks_left: world.knobs.tiktok_looks,
        failed: None,
        post_id: None,
    };
    world.tiktok.insert(id.clone(), upload);
    let origin = world.upload_origin("open-upload.tiktokapis.com");
    let url = format!("{origin}/tiktok-upload/{0}?upload_token=secret-{0}", world.serial);
    fine(&json!({ "publish_id": id, "upload_url": url }))
}

/// The chunk rules of the media transfer guide.
fn check_plan(size: u64, chunk_size: u64, chunks: u64) -> Result<(), &'static str> {
    const LEAST: u64 = 5_000_000;
    const MOST: u64 = 64 * 1024 * 1024;
    if size == 0 || chunk_size == 0 || !(1..=1000).contains(&chunks) {
        return Err("the chunk plan has a zero or too many chunks");
    }
    if chunks != (size / chunk_size).max(1) {
        return Err("the total chunk count is invalid");
    }
    if size < LEAST {
        return if chunk_size == size { Ok(()) } else { Err("a small video goes in one chunk") };
    }
    let last = size - chunk_size * (chunks - 1);
    let is_allowed = (LEAST..=MOST).contains(&chunk_size) && last <= 2 * MOST && (size <= MOST || chunks > 1);
    if is_allowed { Ok(()) } else { Err("the chunk size is invalid") }
}

fn photo_init(value: &Value, world: &mut World) -> ApiResponse {
    let info = &value["post_info"];
    if let Some(refusal) = check_post_info(info, world) {
        return refusal;
    }
    let source = &value["source_info"];
    let images = source["photo_images"].as_array().cloned().unwrap_or_default();
    let is_sound = value["media_type"] == "PHOTO"
        && value["post_mode"] == "DIRECT_POST"
        && source["source"] == "PULL_FROM_URL"
        && (1..=35).contains(&images.len())
        && utf16(&info["title"]) <= 90
        && utf16(&info["description"]) <= 4000;
    let Some(url) = images.first().and_then(Value::as_str).filter(|_| is_sound) else {
        return refused(400, "invalid_params", "the photo post is not sound");
    };
    if images.iter().filter_map(Value::as_str).any(|url| !address::is_pullable(url)) {
        return refused(403, "url_ownership_unverified", "the address is not one of a verified owner");
    }
    // What is pulled is looked at later.
    let format_check = address::is_png(url).then(|| "file_format_check_failed".to_owned());
    let id = format!("p_pub_url~v2.{}", world.next());
    let upload = Upload {
        text: info["description"].as_str().unwrap_or_default().to_owned(),
        size: 0,
        chunk_size: 0,
        chunks: 0,
        bytes: Bytes::default(),
        photo_url: Some(url.to_owned()),
        is_public: info["privacy_level"] == "PUBLIC_TO_EVERYONE",
        looks_left: world.knobs.tiktok_looks,
        failed: world.knobs.tiktok_fail_reason.clone().or(format_check),
        post_id: None,
    };
    world.tiktok.insert(id.clone(), upload);
    // The pull begins at once; nobody has to ask again for it to go on.
    publish(&id, world);
    fine(&json!({ "publish_id": id }))
}

/// Makes an upload public, unless it fails or is held back.
fn publish(id: &str, world: &mut World) {
    let post_id = 7_512_345_678_901_234_000 + world.next();
    let is_stuck = world.knobs.tiktok_looks == u32::MAX;
    let fail_reason = world.knobs.tiktok_fail_reason.clone();
    let Some(upload) = world.tiktok.get_mut(id) else { return };
    if let Some(reason) = fail_reason {
        upload.failed = Some(reason);
        return;
    }
    if is_stuck || upload.failed.is_some() || upload.post_id.is_some() {
        return;
    }
    upload.post_id = Some(post_id);
    let published = Published {
        platform: "tiktok",
        id: post_id.to_string(),
        text: upload.text.clone(),
        sha256: if upload.photo_url.is_some() { String::new() } else { upload.bytes.sha256() },
        size: upload.bytes.size,
        source_url: upload.photo_url.clone(),
        is_public: upload.is_public,
        ticket: id.to_owned(),
        at: world::now(),
    };
    world.published.push(published);
}

fn status(value: &Value, world: &mut World) -> ApiResponse {
    let id = value["publish_id"].as_str().unwrap_or_default().to_owned();
    if !world.tiktok.contains_key(&id) || world.knobs.tiktok_forgets_ids {
        return refused(400, "invalid_publish_id", "unknown publish_id");
    }
    let (tells_id, is_stuck) = (world.knobs.tiktok_tells_id, world.knobs.tiktok_looks == u32::MAX);
    let needs_publish = world.tiktok.get(&id).is_some_and(|upload| upload.is_complete() && upload.post_id.is_none());
    if needs_publish && !is_stuck {
        publish(&id, world);
    }
    let Some(upload) = world.tiktok.get_mut(&id) else { return ApiResponse::empty(500) };
    if !upload.is_complete() {
        return fine(&json!({ "status": "PROCESSING_UPLOAD", "uploaded_bytes": upload.bytes.size }));
    }
    if let Some(reason) = &upload.failed {
        return fine(&json!({ "status": "FAILED", "fail_reason": reason, "uploaded_bytes": upload.bytes.size }));
    }
    if is_stuck || upload.looks_left > 0 {
        upload.looks_left = upload.looks_left.saturating_sub(1);
        let state = if upload.photo_url.is_some() { "PROCESSING_DOWNLOAD" } else { "PROCESSING_UPLOAD" };
        return fine(&json!({ "status": state, "uploaded_bytes": upload.bytes.size }));
    }
    let ids: Vec<u64> = upload.post_id.into_iter().filter(|_| tells_id).collect();
    fine(&json!({
        "status": "PUBLISH_COMPLETE", "publicaly_available_post_id": ids, "uploaded_bytes": upload.bytes.size,
    }))
}

/// The account's public videos, newest first; photos are not among them.
fn video_list(head: &Head, value: &Value, world: &World) -> ApiResponse {
    if !world.knobs.tiktok_may_list {
        return refused(401, "scope_not_authorized", "the scope video.list is missing");
    }
    let fields: Vec<&str> = head.param("fields").split(',').collect();
    let Some(count) = value["max_count"].as_u64().filter(|count| (1..=20).contains(count)) else {
        return refused(400, "invalid_params", "max_count is 1 to 20");
    };
    let of = |post: &Published| {
        let all = json!({
            "id": post.id,
            "title": post.text,
            "video_description": post.text,
            "create_time": post.at.timestamp(),
            "share_url": format!("https://www.tiktok.com/@sandbox_creator/video/{}", post.id),
        });
        let told = all.as_object().into_iter().flatten().filter(|(name, _)| fields.contains(&name.as_str()));
        Value::Object(told.map(|(name, value)| (name.clone(), value.clone())).collect())
    };
    let videos = world.published.iter().rev().filter(|post| post.platform == "tiktok" && post.is_public);
    let videos: Vec<Value> = videos.filter(|post| post.source_url.is_none()).map(of).collect();
    let listed = videos.iter().take(usize::try_from(count).unwrap_or(20)).cloned().collect::<Vec<_>>();
    fine(&json!({ "videos": listed, "has_more": videos.len() > listed.len(), "cursor": 0 }))
}

fn chunk(head: &Head, body: &Body, world: &mut World) -> ApiResponse {
    let serial = head.path.rsplit('/').next().unwrap_or_default().to_owned();
    let id = upload_id(head);
    if head.headers.contains_key("authorization") {
        world.violation("the account's token was sent to TikTok's upload address");
        return ApiResponse::empty(400);
    }
    if head.param("upload_token") != format!("secret-{serial}") || !world.tiktok.contains_key(&id) {
        return ApiResponse::empty(404);
    }
    if world.knobs.tiktok_uploads_closed {
        return ApiResponse::empty(403);
    }
    let is_video = matches!(head.header("content-type"), "video/mp4" | "video/quicktime" | "video/webm");
    let Some((first, last, total)) = parse_range(head.header("content-range")).filter(|_| is_video) else {
        return ApiResponse::empty(400);
    };
    let swings = world.knobs.uploads_swing;
    let Some(upload) = world.tiktok.get_mut(&id) else { return ApiResponse::empty(404) };
    if total != upload.size || last >= total || first > last {
        return ApiResponse::empty(400);
    }
    if first != upload.bytes.size {
        let progress = format!("bytes 0-{}/{}", upload.bytes.size, upload.size);
        return ApiResponse::empty(416).with("content-range", progress);
    }
    let index = (first / upload.chunk_size).min(upload.chunks - 1);
    let end = if index + 1 == upload.chunks { upload.size } else { (index + 1) * upload.chunk_size };
    let declared = head.header("content-length");
    let is_declared = declared.is_empty() || declared == (last - first + 1).to_string();
    if last + 1 != end || !is_declared {
        return ApiResponse::empty(400);
    }
    // A chunk that does not arrive whole is not taken at all.
    if !body.is_whole || body.len() != last - first + 1 {
        return ApiResponse::empty(400);
    }
    for piece in &body.pieces {
        upload.bytes.add(piece);
    }
    let progress = format!("bytes 0-{}/{}", upload.bytes.size, upload.size);
    if swings && first > 0 {
        upload.bytes = Bytes::default();
        return ApiResponse::empty(206).with("content-range", progress);
    }
    if upload.bytes.size == upload.size {
        publish(&id, world);
        return ApiResponse::empty(201).with("content-range", progress);
    }
    ApiResponse::empty(206).with("content-range", progress)
}

/// `bytes FIRST-LAST/TOTAL`.
pub(crate) fn parse_range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?, total.parse().ok()?))
}
