//! The JSON of the Content Posting API: "Query Creator Info", "Direct Post", "Photo" and "Get Post Status" on
//! <https://developers.tiktok.com>.
//!
//! Responses are read tolerantly: unknown fields are ignored, and a field that is missing or of a wrong type does not
//! spoil the others.
#![warn(clippy::arithmetic_side_effects)]

use std::time::Duration;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use url::Url;

use super::chunks::ChunkPlan;
use super::text::PhotoText;
use crate::platform::http::{lenient, number_or_text, text_or_number};
use crate::post::{Content, Platform};

/// Reads a list without the items of a wrong type.
fn lenient_list<'de, D, T>(input: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let items: Vec<Value> = lenient(input)?;
    Ok(items.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect())
}

/// Reads the id of a publish; none for anything that is not one.
fn lenient_publish_id<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    let id: Option<String> = lenient(input)?;
    Ok(id.filter(|id| Platform::TikTok.is_upload_id(id)))
}

/// Reads the id of a publish from a stored ticket, which anybody may have written.
pub(super) fn publish_id<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    lenient_publish_id(input)?.ok_or_else(|| D::Error::custom("`publishId` is not an id that TikTok gives"))
}

/// The same, where there may be none yet.
pub(super) fn optional_publish_id<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    let id = Option::<Value>::deserialize(input)?;
    id.map(|id| publish_id(id).map_err(D::Error::custom)).transpose()
}

/// The longest name of an account. TikTok allows 24 characters today, and some limits of its documentation are known to
/// be exceeded.
const MAX_USERNAME: usize = 64;

/// Reads the name of an account, which becomes part of a link; none for anything that is not one.
pub(super) fn username<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    let name: Option<String> = lenient(input)?;
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.".contains(&byte);
    Ok(name.filter(|name| (1..=MAX_USERNAME).contains(&name.len()) && name.bytes().all(is_allowed)))
}

/// Reads the id of a published post, a text or a number; none for anything that is not one, such as a number that has
/// lost its last digits.
fn post_id<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    Ok(text_or_number(input)?.filter(|id| Platform::TikTok.is_post_id(id)))
}

/// The code and the message of an error, wherever TikTok puts them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct ApiError {
    #[serde(deserialize_with = "lenient")]
    pub(super) code: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) message: String,
    #[serde(deserialize_with = "text_or_number")]
    pub(super) log_id: Option<String>,
    /// The spelling in the tables of "Direct Post"; its samples have the other.
    #[serde(deserialize_with = "text_or_number")]
    pub(super) logid: Option<String>,
}

impl ApiError {
    /// What TikTok's support asks for. A success has it too.
    pub(super) fn log_id(&self) -> Option<&str> {
        [&self.log_id, &self.logid].into_iter().flatten().map(String::as_str).find(|id| !id.is_empty())
    }
}

/// What the account may do now.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CreatorInfo {
    #[serde(deserialize_with = "username")]
    pub(super) creator_username: Option<String>,
    #[serde(deserialize_with = "lenient_list")]
    pub(super) privacy_level_options: Vec<String>,
    #[serde(deserialize_with = "lenient")]
    comment_disabled: bool,
    #[serde(deserialize_with = "lenient")]
    duet_disabled: bool,
    #[serde(deserialize_with = "lenient")]
    stitch_disabled: bool,
    #[serde(deserialize_with = "number_or_text")]
    max_video_post_duration_sec: Option<u64>,
}

impl CreatorInfo {
    /// None if TikTok does not tell. Zero would forbid every video, so it is not taken for a limit.
    pub(super) fn longest_video(&self) -> Option<Duration> {
        self.max_video_post_duration_sec.filter(|seconds| *seconds > 0).map(Duration::from_secs)
    }
}

/// The table of "Direct Post" requires both though its sample leaves them out.
#[derive(Debug, Default, Serialize)]
struct BrandToggles {
    brand_content_toggle: bool,
    brand_organic_toggle: bool,
}

#[derive(Debug, Serialize)]
struct DisabledInteractions {
    #[serde(rename = "disable_comment")]
    comment: bool,
    #[serde(rename = "disable_duet")]
    duet: bool,
    #[serde(rename = "disable_stitch")]
    stitch: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct VideoInit<'a> {
    post_info: VideoInfo<'a>,
    source_info: FileUpload,
}

#[derive(Debug, Serialize)]
struct VideoInfo<'a> {
    title: &'a str,
    privacy_level: &'a str,
    #[serde(flatten)]
    disabled: DisabledInteractions,
    #[serde(flatten)]
    brand: BrandToggles,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_aigc: Option<bool>,
}

/// The label for AI content, if it is to be set.
fn is_aigc(content: &Content) -> Option<bool> {
    content.is_ai_generated.then_some(true)
}

#[derive(Debug, Serialize)]
struct FileUpload {
    source: &'static str,
    video_size: u64,
    chunk_size: u64,
    total_chunk_count: u64,
}

impl<'a> VideoInit<'a> {
    pub(super) fn new(
        title: &'a str,
        privacy_level: &'a str,
        creator: &CreatorInfo,
        plan: ChunkPlan,
        content: &Content,
    ) -> Self {
        let disabled = DisabledInteractions {
            comment: creator.comment_disabled,
            duet: creator.duet_disabled,
            stitch: creator.stitch_disabled,
        };
        Self {
            post_info: VideoInfo {
                title,
                privacy_level,
                disabled,
                brand: BrandToggles::default(),
                is_aigc: is_aigc(content),
            },
            source_info: FileUpload {
                source: "FILE_UPLOAD",
                video_size: plan.size,
                chunk_size: plan.chunk_size,
                total_chunk_count: plan.count,
            },
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct PhotoInit<'a> {
    media_type: &'static str,
    post_mode: &'static str,
    post_info: PhotoInfo<'a>,
    source_info: PhotoSource<'a>,
    /// Not in `post_info`, unlike for a video.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_aigc: Option<bool>,
}

#[derive(Debug, Serialize)]
struct PhotoInfo<'a> {
    title: &'a str,
    description: &'a str,
    privacy_level: &'a str,
    disable_comment: bool,
    auto_add_music: bool,
    #[serde(flatten)]
    brand: BrandToggles,
}

#[derive(Debug, Serialize)]
struct PhotoSource<'a> {
    source: &'static str,
    photo_images: [&'a str; 1],
    photo_cover_index: u32,
}

impl<'a> PhotoInit<'a> {
    pub(super) fn new(
        text: &'a PhotoText,
        privacy_level: &'a str,
        creator: &CreatorInfo,
        image: &'a Url,
        content: &Content,
    ) -> Self {
        Self {
            media_type: "PHOTO",
            post_mode: "DIRECT_POST",
            post_info: PhotoInfo {
                title: &text.title,
                description: &text.description,
                privacy_level,
                disable_comment: creator.comment_disabled,
                auto_add_music: false,
                brand: BrandToggles::default(),
            },
            source_info: PhotoSource { source: "PULL_FROM_URL", photo_images: [image.as_str()], photo_cover_index: 0 },
            is_aigc: is_aigc(content),
        }
    }
}

/// The response to an `init`. Only a video has an upload address, and it is a secret.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct InitResponse {
    #[serde(deserialize_with = "lenient_publish_id")]
    pub(super) publish_id: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) upload_url: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct StatusRequest<'a> {
    pub(super) publish_id: &'a str,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StatusResponse {
    #[serde(deserialize_with = "lenient")]
    pub(super) status: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) fail_reason: String,
    #[serde(deserialize_with = "number_or_text")]
    pub(super) uploaded_bytes: Option<u64>,
    /// TikTok's own spelling.
    #[serde(deserialize_with = "lenient")]
    publicaly_available_post_id: Vec<PostId>,
    #[serde(deserialize_with = "lenient")]
    publicly_available_post_id: Vec<PostId>,
}

#[derive(Debug, Deserialize)]
struct PostId(#[serde(deserialize_with = "post_id")] Option<String>);

impl StatusResponse {
    /// Empty until moderation is over, and always for a post that is not public.
    pub(super) fn post_id(self) -> Option<String> {
        let lists = [self.publicaly_available_post_id, self.publicly_available_post_id];
        lists.into_iter().find_map(|list| list.into_iter().next()?.0)
    }
}

#[derive(Debug, Serialize)]
pub(super) struct ListRequest {
    pub(super) max_count: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct VideoList {
    #[serde(deserialize_with = "lenient_list")]
    pub(super) videos: Vec<ListedVideo>,
}

/// A public video of the account.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ListedVideo {
    #[serde(deserialize_with = "post_id")]
    pub(super) id: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) title: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) video_description: Option<String>,
    /// In seconds since 1970.
    #[serde(deserialize_with = "lenient")]
    pub(super) create_time: Option<i64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) share_url: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read<T: DeserializeOwned>(text: &str) -> T {
        serde_json::from_str(text).unwrap()
    }

    const CREATOR: &str = r#"{
        "creator_avatar_url": "https://p16.example/avatar.jpg", "creator_username": "creator",
        "privacy_level_options": ["PUBLIC_TO_EVERYONE", 7, "SELF_ONLY"],
        "comment_disabled": true, "duet_disabled": "yes", "max_video_post_duration_sec": "180"
    }"#;

    #[test]
    fn a_creators_wrong_fields_do_not_spoil_the_others() {
        let creator: CreatorInfo = read(CREATOR);
        assert_eq!(creator.creator_username.as_deref(), Some("creator"));
        assert_eq!(creator.privacy_level_options, ["PUBLIC_TO_EVERYONE", "SELF_ONLY"]);
        assert!(creator.comment_disabled && !creator.duet_disabled && !creator.stitch_disabled);
        assert_eq!(creator.longest_video(), Some(Duration::from_secs(180)));
        let none: CreatorInfo = read(r#"{"privacy_level_options":"SELF_ONLY","max_video_post_duration_sec":-1}"#);
        assert!(none.privacy_level_options.is_empty() && none.longest_video().is_none());
    }

    #[test]
    fn a_name_that_no_account_has_is_none() {
        let name = |text: &str| {
            let creator: CreatorInfo = read(&json!({ "creator_username": text }).to_string());
            creator.creator_username
        };
        for given in ["me", "user.name_7", &"x".repeat(64)] {
            assert_eq!(name(given).as_deref(), Some(given));
        }
        let long = "x".repeat(65);
        for given in ["", "me/../you?x", "a b", "\u{202e}me", "\u{1b}[2J", "日本", &long] {
            assert_eq!(name(given), None);
        }
    }

    #[test]
    fn an_absurd_longest_duration_is_no_limit_that_stops_every_video() {
        for (told, longest) in [
            ("0", None),
            ("-1", None),
            ("1e30", None),
            ("180.5", None),
            ("18446744073709551616", None),
            ("18446744073709551615", Some(Duration::from_secs(u64::MAX))),
            ("180", Some(Duration::from_secs(180))),
        ] {
            let creator: CreatorInfo = read(&format!(r#"{{"max_video_post_duration_sec":{told}}}"#));
            assert_eq!(creator.longest_video(), longest, "{told}");
        }
    }

    #[test]
    fn a_log_id_is_read_in_both_spellings_and_never_spoils_the_code() {
        for (text, log_id) in [
            (r#"{"code":"c","log_id":"2026"}"#, Some("2026")),
            (r#"{"code":"c","logid":"2026"}"#, Some("2026")),
            (r#"{"code":"c","log_id":"","logid":2026}"#, Some("2026")),
            (r#"{"code":"c","log_id":"1","logid":"2"}"#, Some("1")),
            (r#"{"code":"c","log_id":[]}"#, None),
            (r#"{"code":"c"}"#, None),
        ] {
            let error: ApiError = read(text);
            assert_eq!((error.code.as_str(), error.log_id()), ("c", log_id), "{text}");
        }
    }

    #[test]
    fn requests_are_written_as_the_vendors_pages_have_them() {
        let creator: CreatorInfo = read(CREATOR);
        let plan = ChunkPlan { size: 50_000_123, chunk_size: 10_000_000, count: 5 };
        let unlabelled = Content::default();
        let video =
            serde_json::to_string(&VideoInit::new("Hello #one", "SELF_ONLY", &creator, plan, &unlabelled)).unwrap();
        let expected = json!({
            "post_info": {
                "title": "Hello #one",
                "privacy_level": "SELF_ONLY",
                "disable_comment": true,
                "disable_duet": false,
                "disable_stitch": false,
                "brand_content_toggle": false,
                "brand_organic_toggle": false,
            },
            "source_info": {
                "source": "FILE_UPLOAD",
                "video_size": 50_000_123,
                "chunk_size": 10_000_000,
                "total_chunk_count": 5,
            },
        });
        assert_eq!(video, expected.to_string());

        let text = PhotoText { title: "Title".into(), description: "Words".into() };
        let url = Url::parse("https://cdn.example/a.jpg").unwrap();
        let photo = serde_json::to_string(&PhotoInit::new(&text, "SELF_ONLY", &creator, &url, &unlabelled)).unwrap();
        let expected = json!({
            "media_type": "PHOTO",
            "post_mode": "DIRECT_POST",
            "post_info": {
                "title": "Title",
                "description": "Words",
                "privacy_level": "SELF_ONLY",
                "disable_comment": true,
                "auto_add_music": false,
                "brand_content_toggle": false,
                "brand_organic_toggle": false,
            },
            "source_info": {
                "source": "PULL_FROM_URL",
                "photo_images": ["https://cdn.example/a.jpg"],
                "photo_cover_index": 0,
            },
        });
        assert_eq!(photo, expected.to_string());
    }

    #[test]
    fn the_label_for_ai_content_has_its_place_in_each_request() {
        let (creator, plan) = (CreatorInfo::default(), ChunkPlan::for_size(1));
        let labelled = Content { is_ai_generated: true, ..Content::default() };
        let video = serde_json::to_value(VideoInit::new("", "SELF_ONLY", &creator, plan, &labelled)).unwrap();
        assert_eq!((&video["post_info"]["is_aigc"], video.get("is_aigc")), (&Value::Bool(true), None));
        let text = PhotoText { title: String::new(), description: String::new() };
        let url = Url::parse("https://cdn.example/a.jpg").unwrap();
        let photo = serde_json::to_value(PhotoInit::new(&text, "SELF_ONLY", &creator, &url, &labelled)).unwrap();
        assert_eq!((&photo["is_aigc"], photo["post_info"].get("is_aigc")), (&Value::Bool(true), None));
    }

    #[test]
    fn a_post_id_is_read_in_both_spellings_as_number_or_text() {
        for (text, id) in [
            (r#"{"publicaly_available_post_id":[7512345678901234567]}"#, Some("7512345678901234567")),
            (r#"{"publicly_available_post_id":["7512345678901234567"]}"#, Some("7512345678901234567")),
            (r#"{"publicaly_available_post_id":[],"publicly_available_post_id":[7]}"#, Some("7")),
            (r#"{"publicaly_available_post_id":[null]}"#, None),
            (r#"{"publicaly_available_post_id":["7/../8"]}"#, None),
            // More than 64 bits have lost their last digits.
            (r#"{"publicaly_available_post_id":[7512345678901234567890123]}"#, None),
            (r#"{"publicaly_available_post_id":{"id":7}}"#, None),
            ("{}", None),
        ] {
            assert_eq!(read::<StatusResponse>(text).post_id().as_deref(), id, "{text}");
        }
    }

    #[test]
    fn an_init_gives_only_what_can_be_an_id() {
        for (text, id) in [
            (r#"{"publish_id":"v_pub_file~v2-1.123"}"#, Some("v_pub_file~v2-1.123")),
            (r#"{"publish_id":"v_pub/../file"}"#, None),
            (r#"{"publish_id":""}"#, None),
            (r#"{"publish_id":7}"#, None),
        ] {
            assert_eq!(read::<InitResponse>(text).publish_id.as_deref(), id, "{text}");
        }
    }

    #[test]
    fn listed_videos_of_a_wrong_form_are_left_out() {
        let video = r#"{"id":7,"title":1,"create_time":1767225600,"share_url":"https://x"}"#;
        let list: VideoList = read(&format!(r#"{{"videos":[null,{video}],"has_more":0}}"#));
        let [video] = &list.videos[..] else { panic!("{list:?}") };
        assert_eq!((video.id.as_deref(), video.title.as_deref()), (Some("7"), None));
        assert_eq!((video.create_time, video.share_url.as_deref()), (Some(1_767_225_600), Some("https://x")));
        assert!(read::<VideoList>(r#"{"videos":{}}"#).videos.is_empty());
    }
}
