//! Instagram's content publishing on the Graph API.

use serde_json::{Value, json};

use crate::address;
use crate::server::{ApiResponse, Body, Head};
use crate::world::{self, Bytes, Published, World};

/// A media container.
#[derive(Debug)]
pub(crate) struct Container {
    caption: String,
    image_url: Option<String>,
    /// Where a reel is fetched from that is not uploaded.
    video_url: Option<String>,
    size: Option<u64>,
    bytes: Bytes,
    looks_left: u32,
    lag_left: u32,
    media_ids: Vec<String>,
}

impl Container {
    pub(crate) fn release(&mut self) {
        self.looks_left = 0;
    }

    fn is_filled(&self) -> bool {
        self.source_url().is_some() || self.size.is_some_and(|size| self.bytes.size == size)
    }

    /// Where it is fetched from, if it is.
    fn source_url(&self) -> Option<&String> {
        self.image_url.as_ref().or(self.video_url.as_ref())
    }
}

/// The last version of the Graph API that is no longer there: v20.0 ended in September 2026.
const LAST_ENDED: u32 = 20;

/// The text of the container that a request names.
pub(crate) fn text_of<'w>(endpoint: &str, head: &Head, value: &Value, world: &'w World) -> Option<&'w str> {
    let last = head.path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let container = match endpoint {
        "instagram.upload" | "instagram.container" => world.containers.get(last),
        "instagram.publish" => world.containers.get(param(head, value, "creation_id")),
        "instagram.permalink" => world.containers.values().find(|of| of.media_ids.iter().any(|id| id == last)),
        _ => None,
    };
    container.map(|container| container.caption.as_str())
}

pub(crate) fn error_body(code: i64, subcode: Option<i64>) -> Value {
    json!({ "error": {
        "message": "Une erreur est survenue", "type": "OAuthException", "code": code, "error_subcode": subcode,
        "is_transient": false, "fbtrace_id": "AbCdEf",
    } })
}

fn refused(code: i64, subcode: Option<i64>) -> ApiResponse {
    ApiResponse::json(400, &error_body(code, subcode))
}

pub(crate) fn answer(endpoint: &str, head: &Head, value: &Value, body: &Body, world: &mut World) -> ApiResponse {
    if endpoint == "instagram.upload" {
        return upload(head, body, world);
    }
    let mut answer = graph(endpoint, head, value, world);
    let (app, business) = world.knobs.instagram_usage;
    if app > 0 {
        let usage = json!({ "call_count": app, "total_time": 1, "total_cputime": 1 });
        answer = answer.with("x-app-usage", usage.to_string());
    }
    if business > 0 {
        let account = world::INSTAGRAM_USER_ID;
        let usage = json!({ account: [{
            "type": "instagram", "call_count": business, "total_cputime": 1, "total_time": 1,
            "estimated_time_to_regain_access": 0,
        }] });
        answer = answer.with("x-business-use-case-usage", usage.to_string());
    }
    answer
}

fn graph(endpoint: &str, head: &Head, value: &Value, world: &mut World) -> ApiResponse {
    let parts: Vec<&str> = head.path.trim_matches('/').split('/').collect();
    if has_ended(parts.first().copied().unwrap_or_default()) {
        return refused(2635, None);
    }
    if endpoint == "instagram.exchange" {
        return exchange(head, world);
    }
    let token = match head.bearer() {
        "" => param(head, value, "access_token"),
        bearer => bearer,
    };
    if !world.is_valid("instagram", token) {
        return refused(190, Some(463));
    }
    let is_own = parts.get(1) == Some(&world::INSTAGRAM_USER_ID);
    match endpoint {
        "instagram.container" => container(parts.get(1).copied().unwrap_or_default(), head, world),
        "instagram.permalink" => permalink(parts.get(1).copied().unwrap_or_default(), world),
        _ if !is_own => refused(100, Some(33)),
        "instagram.create" => create(head, value, world),
        "instagram.publish" => publish(head, value, world),
        "instagram.list" => list(head, world),
        _ => limit(head, world),
    }
}

/// Whether a version is one that is no longer there, or none.
fn has_ended(version: &str) -> bool {
    let major = version.strip_prefix('v').and_then(|number| number.split('.').next()?.parse::<u32>().ok());
    major.is_none_or(|major| major <= LAST_ENDED)
}

/// Only what is asked for is told; by itself, the usage.
fn limit(head: &Head, world: &World) -> ApiResponse {
    let (used, total) = world.knobs.instagram_quota;
    let fields = match head.param("fields") {
        "" => "quota_usage",
        fields => fields,
    };
    let mut limit = json!({});
    for field in fields.split(',') {
        match field {
            "config" => limit["config"] = json!({ "quota_total": total, "quota_duration": 86400 }),
            "quota_usage" => limit["quota_usage"] = used.into(),
            _ => return refused(100, None),
        }
    }
    ApiResponse::json(200, &json!({ "data": [limit] }))
}

/// A parameter may stand in the query, a form or a JSON body.
fn param<'a>(head: &'a Head, value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| head.param(name))
}

fn exchange(head: &Head, world: &mut World) -> ApiResponse {
    let is_app = head.param("client_secret") == world::INSTAGRAM_APP_SECRET;
    if head.param("grant_type") != "fb_exchange_token" || !is_app {
        return refused(100, None);
    }
    if !world.is_valid("instagram", head.param("fb_exchange_token")) {
        return refused(190, Some(463));
    }
    let token = format!("sandbox-instagram-token-{}", world.next());
    world.sign_in("instagram", &token);
    ApiResponse::json(200, &json!({ "access_token": token, "token_type": "bearer", "expires_in": 5_183_944 }))
}

fn create(head: &Head, value: &Value, world: &mut World) -> ApiResponse {
    let caption = param(head, value, "caption").to_owned();
    let hashtags = caption.matches('#').count();
    let mentions = caption.split_whitespace().filter(|word| word.starts_with('@')).count();
    if caption.chars().count() > 2200 || hashtags > 30 || mentions > 20 {
        return refused(36004, Some(2_207_010));
    }
    let url_of = |name| Some(param(head, value, name)).filter(|url| !url.is_empty()).map(str::to_owned);
    let (image_url, video_url) = (url_of("image_url"), url_of("video_url"));
    let media_type = param(head, value, "media_type");
    let is_resumable = media_type == "REELS" && param(head, value, "upload_type") == "resumable";
    let is_pulled_reel = media_type == "REELS" && video_url.is_some();
    let is_image = media_type.is_empty() && image_url.is_some();
    if !is_resumable && !is_pulled_reel && !is_image {
        return refused(100, Some(2_207_023));
    }
    if image_url.iter().chain(&video_url).any(|url| address::is_private(url)) {
        return refused(9004, Some(2_207_052));
    }
    if image_url.as_deref().is_some_and(address::is_png) {
        return refused(36001, Some(2_207_005));
    }
    let id = format!("1789500000{:07}", world.next());
    let uri = format!("{}/ig-api-upload/v25.0/{id}", world.upload_origin("rupload.facebook.com"));
    let container = Container {
        caption,
        image_url,
        video_url,
        size: None,
        bytes: Bytes::default(),
        looks_left: world.knobs.instagram_looks,
        lag_left: world.knobs.instagram_lag,
        media_ids: Vec::new(),
    };
    world.containers.insert(id.clone(), container);
    let answer = if is_resumable { json!({ "id": id, "uri": uri }) } else { json!({ "id": id }) };
    ApiResponse::json(200, &answer)
}

fn upload(head: &Head, body: &Body, world: &mut World) -> ApiResponse {
    let failed = |status: u16, kind: &str, retriable: bool| {
        let info = json!({ "retriable": retriable, "type": kind, "message": "refused" });
        ApiResponse::json(status, &json!({ "debug_info": info }))
    };
    let token = head.header("authorization").strip_prefix("OAuth ").unwrap_or_default();
    if !world.is_valid("instagram", token) {
        return failed(400, "NotAuthorizedError", false);
    }
    let swings = world.knobs.uploads_swing;
    let id = head.path.rsplit('/').next().unwrap_or_default();
    let offset: Option<u64> = head.header("offset").parse().ok();
    let size: Option<u64> = head.header("file_size").parse().ok();
    let Some(container) = world.containers.get_mut(id) else { return failed(400, "ProcessingFailedError", false) };
    let (Some(offset), Some(size)) = (offset, size) else { return failed(400, "ProcessingFailedError", false) };
    if offset != container.bytes.size || container.size.is_some_and(|known| known != size) {
        return failed(400, "ProcessingFailedError", false);
    }
    container.size = Some(size);
    if swings {
        let kept = if offset == 0 { size / 2 } else { 0 };
        container.bytes = Bytes::default();
        let bytes = body.pieces.concat();
        container.bytes.add(&bytes[..usize::try_from(kept).unwrap_or(0).min(bytes.len())]);
        return failed(500, "ProcessingFailedError", true);
    }
    for piece in &body.pieces {
        container.bytes.add(piece);
    }
    match container.bytes.size.cmp(&size) {
        std::cmp::Ordering::Equal => {
            ApiResponse::json(200, &json!({ "success": true, "message": "Upload successful." }))
        }
        std::cmp::Ordering::Less => failed(500, "ProcessingFailedError", true),
        std::cmp::Ordering::Greater => failed(400, "ProcessingFailedError", false),
    }
}

fn container(id: &str, head: &Head, world: &mut World) -> ApiResponse {
    let knobs = world.knobs.clone();
    let Some(container) = world.containers.get_mut(id) else { return refused(100, Some(33)) };
    let state = if !container.media_ids.is_empty() {
        if container.lag_left > 0 {
            container.lag_left -= 1;
            "FINISHED"
        } else {
            "PUBLISHED"
        }
    } else if knobs.instagram_expired {
        "EXPIRED"
    } else if !container.is_filled() {
        let broke_off = container.bytes.size > 0;
        if broke_off && knobs.instagram_says_published { "PUBLISHED" } else { "IN_PROGRESS" }
    } else if knobs.instagram_error.is_some() {
        "ERROR"
    } else if container.looks_left > 0 {
        if knobs.instagram_looks != u32::MAX {
            container.looks_left -= 1;
        }
        "IN_PROGRESS"
    } else {
        "FINISHED"
    };
    let phase = if container.is_filled() { "complete" } else { "in_progress" };
    let status = knobs.instagram_error.unwrap_or_else(|| format!("{state}: as it is"));
    let mut answer = json!({ "id": id });
    // Only what is asked for is told.
    for field in head.param("fields").split(',') {
        match field {
            "status_code" => answer["status_code"] = state.into(),
            "status" => answer["status"] = status.clone().into(),
            "copyright_check_status" | "video_status" if knobs.instagram_reads_less => return refused(100, None),
            "copyright_check_status" if container.image_url.is_none() => {
                let check = json!({ "status": "completed", "matches_found": knobs.instagram_copyright });
                answer["copyright_check_status"] = check;
            }
            "id" => {}
            "video_status" if container.image_url.is_none() => {
                answer["video_status"] = json!({
                    "uploading_phase": { "status": phase, "bytes_transferred": container.bytes.size },
                    "processing_phase": { "status": "not_started" },
                });
            }
            "video_status" | "copyright_check_status" => {}
            // The Graph API refuses a field that it does not know.
            _ => return refused(100, None),
        }
    }
    ApiResponse::json(200, &answer)
}

fn publish(head: &Head, value: &Value, world: &mut World) -> ApiResponse {
    let id = param(head, value, "creation_id").to_owned();
    let (used, total) = world.knobs.instagram_quota;
    if used >= total {
        return refused(9, Some(2_207_042));
    }
    let media_id = format!("1801000000{:07}", world.next());
    let Some(container) = world.containers.get_mut(&id) else { return refused(24, Some(2_207_008)) };
    if !container.is_filled() || (container.looks_left > 0 && container.media_ids.is_empty()) {
        return refused(9007, Some(2_207_027));
    }
    // Nobody knows what a second call does; the worst that it can do is done.
    let is_second = !container.media_ids.is_empty();
    container.media_ids.push(media_id.clone());
    let published = Published {
        platform: "instagram",
        id: media_id.clone(),
        text: container.caption.clone(),
        sha256: if container.source_url().is_some() { String::new() } else { container.bytes.sha256() },
        size: container.bytes.size,
        source_url: container.source_url().cloned(),
        is_public: true,
        ticket: id.clone(),
        at: world::now(),
    };
    world.published.push(published);
    if is_second {
        world.violation(format!("container {id} was published twice"));
    }
    ApiResponse::json(200, &json!({ "id": media_id }))
}

fn permalink(id: &str, world: &World) -> ApiResponse {
    if !world.published.iter().any(|post| post.id == id) {
        return refused(100, Some(33));
    }
    ApiResponse::json(200, &json!({ "id": id, "permalink": format!("https://www.instagram.com/reel/{id}/") }))
}

fn list(head: &Head, world: &World) -> ApiResponse {
    let bound = |name: &str, default: i64| head.param(name).parse::<i64>().unwrap_or(default);
    let (since, until) = (bound("since", 0), bound("until", i64::MAX));
    let is_image =
        |post: &Published| world.containers.get(&post.ticket).is_some_and(|container| container.image_url.is_some());
    let posts: Vec<Value> = world
        .published
        .iter()
        .filter(|post| post.platform == "instagram")
        .filter(|post| (since..=until).contains(&post.at.timestamp()))
        .map(|post| {
            json!({
                "id": post.id,
                "caption": post.text,
                "timestamp": post.at.format("%Y-%m-%dT%H:%M:%S+0000").to_string(),
                "permalink": format!("https://www.instagram.com/reel/{}/", post.id),
                "media_product_type": if is_image(post) { "FEED" } else { "REELS" },
            })
        })
        .collect();
    let limit = head.param("limit").parse::<usize>().unwrap_or(25).min(world.knobs.instagram_page);
    let start = head.param("after").parse::<usize>().unwrap_or(0).min(posts.len());
    let end = start.saturating_add(limit).min(posts.len());
    let mut paging = json!({ "cursors": { "before": start.to_string(), "after": end.to_string() } });
    if end < posts.len() {
        // The real one has the token in it, so nobody should follow it.
        paging["next"] = "https://graph.facebook.com/next?access_token=secret".into();
    }
    ApiResponse::json(200, &json!({ "data": posts[start..end], "paging": paging }))
}
