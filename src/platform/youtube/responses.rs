//! The responses of the Data API and of Google's token endpoint. They are read leniently: unknown fields are ignored,
//! and a field of a wrong type is as good as none.
#![warn(clippy::arithmetic_side_effects)]

use chrono::{DateTime, Utc};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::platform::http::{lenient, number_or_text, text_or_number};
use crate::post::Platform;

/// Reads the id of a video; none for anything that is not one. Several ids are asked for in one text with commas.
fn video_id<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    Ok(text_or_number(input)?.filter(|id| Platform::YouTubeShorts.is_post_id(id)))
}

/// The same from a stored ticket, which anybody may have written: there it is none or an id.
pub(super) fn stored_video_id<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    let id = Option::<String>::deserialize(input)?;
    let is_forged = id.as_deref().is_some_and(|id| !Platform::YouTubeShorts.is_post_id(id));
    if is_forged { Err(D::Error::custom("`videoId` is not an id that YouTube gives")) } else { Ok(id) }
}

/// A video resource, with the parts that were asked for.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Video {
    #[serde(deserialize_with = "lenient")]
    pub(super) kind: Option<String>,
    #[serde(deserialize_with = "video_id")]
    pub(super) id: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) status: VideoStatus,
    #[serde(deserialize_with = "lenient")]
    pub(super) processing_details: ProcessingDetails,
    #[serde(deserialize_with = "lenient")]
    pub(super) file_details: FileDetails,
}

impl Video {
    /// Whether it has the form of a video resource. Something in between may answer with an id of its own.
    pub(super) fn is_video_resource(&self) -> bool {
        match self.kind.as_deref() {
            Some(kind) => kind == "youtube#video",
            None => self.status.upload_status.is_some() || self.status.privacy_status.is_some(),
        }
    }
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct VideoStatus {
    #[serde(deserialize_with = "lenient")]
    pub(super) upload_status: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) failure_reason: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) rejection_reason: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) privacy_status: Option<String>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ProcessingDetails {
    #[serde(deserialize_with = "lenient")]
    pub(super) processing_status: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) processing_failure_reason: Option<String>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct FileDetails {
    #[serde(deserialize_with = "number_or_text")]
    pub(super) file_size: Option<u64>,
}

/// An item of a playlist.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PlaylistItem {
    #[serde(deserialize_with = "lenient")]
    snippet: PlaylistSnippet,
    #[serde(deserialize_with = "lenient")]
    content_details: PlaylistContent,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PlaylistSnippet {
    #[serde(deserialize_with = "lenient")]
    title: Option<String>,
    #[serde(deserialize_with = "lenient")]
    published_at: Option<String>,
    #[serde(deserialize_with = "lenient")]
    resource_id: ResourceId,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ResourceId {
    #[serde(deserialize_with = "self::video_id")]
    video_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PlaylistContent {
    #[serde(deserialize_with = "self::video_id")]
    video_id: Option<String>,
    #[serde(deserialize_with = "lenient")]
    video_published_at: Option<String>,
}

impl PlaylistItem {
    pub(super) fn title(&self) -> Option<&str> {
        self.snippet.title.as_deref()
    }

    /// When the video was published, or else when it was added to the playlist.
    pub(super) fn published_at(&self) -> Option<DateTime<Utc>> {
        let text = self.content_details.video_published_at.as_ref().or(self.snippet.published_at.as_ref())?;
        DateTime::parse_from_rfc3339(text).ok().map(|at| at.with_timezone(&Utc))
    }

    pub(super) fn into_video_id(self) -> Option<String> {
        self.content_details.video_id.or(self.snippet.resource_id.video_id)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Channel {
    #[serde(deserialize_with = "lenient")]
    content_details: ChannelContent,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ChannelContent {
    #[serde(deserialize_with = "lenient")]
    related_playlists: RelatedPlaylists,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RelatedPlaylists {
    #[serde(deserialize_with = "lenient")]
    uploads: Option<String>,
}

impl Channel {
    /// The id of the playlist of all its uploads.
    pub(super) fn into_uploads(self) -> Option<String> {
        self.content_details.related_playlists.uploads
    }
}

/// What every list call gives.
#[derive(Debug, Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
pub(super) struct ListResponse<T> {
    #[serde(default, deserialize_with = "lenient")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "readable_list")]
    items: Option<Vec<T>>,
}

impl<T> ListResponse<T> {
    /// The items. YouTube may leave an empty list out; without the kind of a list such a response is not YouTube's, and
    /// there is none.
    pub(super) fn into_items(self) -> Option<Vec<T>> {
        let is_list = self.kind.is_some_and(|kind| kind.starts_with("youtube#"));
        self.items.or_else(|| is_list.then(Vec::new))
    }
}

/// Reads a list without the items of another form; none for anything but a list.
fn readable_list<'de, D, T>(input: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let items: Option<Vec<Value>> = lenient(input)?;
    Ok(items.map(|items| items.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect()))
}

/// The tokens of a refresh (Google Identity's "OAuth 2.0" for web servers). Secrets too, so it has no `Debug`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TokenResponse {
    #[serde(deserialize_with = "lenient")]
    pub(super) access_token: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) expires_in: Option<i64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) refresh_token: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) refresh_token_expires_in: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The response to the last byte: the parts `snippet` and `status` ("Videos: insert").
    const UPLOADED: &str = r#"{
        "kind": "youtube#video", "etag": "x", "id": "dQw4w9WgXcQ",
        "snippet": { "title": "A title", "tags": ["one"] },
        "status": { "uploadStatus": "uploaded", "privacyStatus": "private", "license": "youtube", "embeddable": true }
    }"#;

    /// The response of `videos.list` (the resource "Videos").
    const VIDEOS: &str = r#"{
        "kind": "youtube#videoListResponse", "pageInfo": { "totalResults": 1 },
        "items": [{
            "id": "dQw4w9WgXcQ",
            "status": { "uploadStatus": "failed", "failureReason": "codec", "rejectionReason": "duplicate" },
            "processingDetails": { "processingStatus": "failed", "processingFailureReason": "transcodeFailed" },
            "fileDetails": { "fileName": "a.mp4", "fileSize": "150000123" }
        }]
    }"#;

    /// The response of `channels.list`.
    const CHANNELS: &str = r#"{ "items": [{
        "id": "UC1", "contentDetails": { "relatedPlaylists": { "likes": "LL", "uploads": "UU1" } }
    }] }"#;

    const PLAYLIST: &str = r#"{ "items": [
        {
            "snippet": {
                "title": "A title", "publishedAt": "2026-11-23T10:00:00Z", "resourceId": { "videoId": "snippet" }
            },
            "contentDetails": { "videoId": "details", "videoPublishedAt": "2026-11-23T09:00:00Z" }
        },
        { "snippet": { "publishedAt": "2026-11-23T10:00:00Z", "resourceId": { "videoId": "snippet" } } }
    ] }"#;

    /// The response to a refresh (Google Identity's "OAuth 2.0" for web servers).
    const TOKENS: &str = r#"{
        "access_token": "ya29.a", "expires_in": 3599, "scope": "https://www.googleapis.com/auth/youtube",
        "token_type": "Bearer", "refresh_token": "1//r", "refresh_token_expires_in": 604799
    }"#;

    fn list<T: DeserializeOwned>(text: &str) -> Option<Vec<T>> {
        serde_json::from_str::<ListResponse<T>>(text).unwrap().into_items()
    }

    fn items<T: DeserializeOwned>(text: &str) -> Vec<T> {
        list(text).unwrap()
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn the_uploaded_video_is_read() {
        let video: Video = serde_json::from_str(UPLOADED).unwrap();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            video,
            Video {
                kind: text("youtube#video"),
                id: text("dQw4w9WgXcQ"),
                status: VideoStatus {
                    upload_status: text("uploaded"),
                    privacy_status: text("private"),
                    ..VideoStatus::default()
                },
                ..Video::default()
            }
        );
    }

    #[test]
    fn listed_videos_are_read() {
        let videos: Vec<Video> = items(VIDEOS);
        let [video] = videos.as_slice() else { panic!("{videos:?}") };
        assert_eq!(video.id.as_deref(), Some("dQw4w9WgXcQ"));
        assert_eq!(video.status.upload_status.as_deref(), Some("failed"));
        assert_eq!(video.status.failure_reason.as_deref(), Some("codec"));
        assert_eq!(video.status.rejection_reason.as_deref(), Some("duplicate"));
        assert_eq!(video.processing_details.processing_status.as_deref(), Some("failed"));
        assert_eq!(video.processing_details.processing_failure_reason.as_deref(), Some("transcodeFailed"));
        assert_eq!(video.file_details.file_size, Some(150_000_123));
        let as_number: FileDetails = serde_json::from_str(r#"{ "fileSize": 150000123 }"#).unwrap();
        assert_eq!(as_number, video.file_details);
    }

    #[test]
    fn missing_and_wrong_fields_spoil_nothing_else() {
        let odd = r#"{ "id": 7, "status": { "uploadStatus": 1, "privacyStatus": "public" },
            "processingDetails": "none", "fileDetails": { "fileSize": "many" } }"#;
        let video: Video = serde_json::from_str(odd).unwrap();
        assert_eq!(video.id.as_deref(), Some("7"));
        assert_eq!((video.status.upload_status, video.status.privacy_status.as_deref()), (None, Some("public")));
        assert_eq!(video.processing_details, ProcessingDetails::default());
        assert_eq!(video.file_details.file_size, None);
        assert_eq!(serde_json::from_str::<Video>("{}").unwrap(), Video::default());
        assert_eq!(serde_json::from_str::<Video>(r#"{ "id": null, "status": null }"#).unwrap(), Video::default());

        assert_eq!(items::<Video>(r#"{ "items": [1, null, { "id": "a" }] }"#).len(), 1);

        for forged in [r#"{ "id": "a,b" }"#, r#"{ "id": "a/../b?c" }"#, r#"{ "id": "" }"#, r#"{ "id": 1e30 }"#] {
            assert_eq!(serde_json::from_str::<Video>(forged).unwrap().id, None, "{forged}");
        }
    }

    #[test]
    fn a_response_without_items_is_an_empty_list_only_in_youtubes_form() {
        for empty in [r#"{ "items": [] }"#, r#"{ "kind": "youtube#channelListResponse" }"#] {
            assert_eq!(list::<Video>(empty), Some(Vec::new()), "{empty}");
        }
        for foreign in ["{}", r#"{ "items": {} }"#, r#"{ "items": null }"#, r#"{ "ok": true, "kind": "status" }"#] {
            assert_eq!(list::<Video>(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn an_id_alone_is_no_video() {
        let is_video = |text: &str| serde_json::from_str::<Video>(text).unwrap().is_video_resource();
        assert!(is_video(UPLOADED));
        assert!(is_video(r#"{ "id": "a", "status": { "uploadStatus": "uploaded" } }"#));
        assert!(is_video(r#"{ "id": "a", "status": { "privacyStatus": "public" } }"#));
        assert!(!is_video(r#"{ "id": "a", "status": "ok" }"#));
        assert!(!is_video(r#"{ "id": "a", "status": { "license": "youtube" } }"#));
        assert!(!is_video(r#"{ "id": "a", "kind": "request", "status": { "privacyStatus": "public" } }"#));
        assert!(!is_video(r#"{ "id": "a", "kind": "request", "status": { "uploadStatus": "uploaded" } }"#));
    }

    #[test]
    fn the_playlist_of_the_uploads_is_read() {
        let uploads = |text: &str| items(text).into_iter().next().and_then(Channel::into_uploads);
        assert_eq!(uploads(CHANNELS).as_deref(), Some("UU1"));
        assert_eq!(uploads(r#"{ "items": [] }"#), None);
        assert_eq!(uploads(r#"{ "items": [{}] }"#), None);
        assert_eq!(uploads(r#"{ "items": [{ "contentDetails": { "relatedPlaylists": "none" } }] }"#), None);
    }

    #[test]
    fn an_item_tells_its_video_and_time_in_two_places() {
        let items: Vec<PlaylistItem> = items(PLAYLIST);
        assert_eq!(items.iter().map(PlaylistItem::title).collect::<Vec<_>>(), [Some("A title"), None]);
        let times: Vec<_> = items.iter().filter_map(PlaylistItem::published_at).collect();
        assert_eq!(times, [at("2026-11-23T09:00:00Z"), at("2026-11-23T10:00:00Z")]);
        let ids: Vec<_> = items.into_iter().filter_map(PlaylistItem::into_video_id).collect();
        assert_eq!(ids, ["details", "snippet"]);
        let bare = PlaylistItem::default();
        assert_eq!((bare.title(), bare.published_at()), (None, None));
        assert_eq!(bare.into_video_id(), None);
    }

    #[test]
    fn tokens_are_read() {
        let tokens: TokenResponse = serde_json::from_str(TOKENS).unwrap();
        assert_eq!(tokens.access_token.as_deref(), Some("ya29.a"));
        assert_eq!((tokens.expires_in, tokens.refresh_token_expires_in), (Some(3599), Some(604_799)));
        assert_eq!(tokens.refresh_token.as_deref(), Some("1//r"));
        let odd = r#"{ "access_token": "ya29.a", "expires_in": "soon", "refresh_token": null }"#;
        let tokens: TokenResponse = serde_json::from_str(odd).unwrap();
        assert_eq!(tokens.access_token.as_deref(), Some("ya29.a"));
        assert_eq!((tokens.expires_in, tokens.refresh_token), (None, None));
        let refused: TokenResponse = serde_json::from_str(r#"{ "error": "invalid_grant" }"#).unwrap();
        assert_eq!(refused.access_token, None);
    }
}
