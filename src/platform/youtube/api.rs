//! The calls of the Data API, and the bodies of requests: "Resumable Uploads", "Videos: insert" and the resource
//! "Videos" on <https://developers.google.com>, and Google Identity's "OAuth 2.0" for web servers.

use std::ops::Range;

use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::error::Refusal;
use super::responses::{Channel, ListResponse, PlaylistItem, Video};
use super::session::{SessionEnd, read_session};
use crate::platform::auth::{AuthorizedClient, CallError};
use crate::platform::http::JSON_UTF8;
use crate::platform::media::MediaFile;
use crate::platform::token_provider::TokenProvider;
use crate::platform::upload::UploadProgress;
use crate::platform::{Origin, PublishContext, PublishError};
use crate::post::{Failure, Platform};

/// The domain of Google's upload hosts.
const UPLOAD_DOMAIN: &str = "googleapis.com";

/// What a session is asked for after an interruption, in the words of error messages.
pub(super) const ASK_PROGRESS: &str = "report the upload's progress";

/// What a session does with a chunk, likewise.
pub(super) const RECEIVE_BYTES: &str = "receive the video's bytes";

/// What is asked of an uploaded video, likewise.
pub(super) const REPORT_PROCESSING: &str = "report whether the video is processed";

const LIST_UPLOADS: &str = "list the channel's uploads";

/// The video resource that opens a session.
#[derive(Debug, Serialize)]
pub(super) struct NewVideo<'a> {
    pub(super) snippet: NewSnippet<'a>,
    pub(super) status: NewStatus<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewSnippet<'a> {
    pub(super) title: String,
    pub(super) description: String,
    pub(super) tags: Vec<String>,
    pub(super) category_id: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewStatus<'a> {
    pub(super) privacy_status: &'a str,
    pub(super) self_declared_made_for_kids: bool,
    /// The label for AI content; not sent for other posts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) contains_synthetic_media: Option<bool>,
}

impl NewVideo<'_> {
    /// What an upload of this video with this file is known by: everything that is sent.
    pub(super) fn fingerprint(&self, file: &MediaFile) -> String {
        let NewVideo { snippet, status } = self;
        let made_for_kids = status.self_declared_made_for_kids.to_string();
        let synthetic = status.contains_synthetic_media.map(|is_set| is_set.to_string()).unwrap_or_default();
        let mut texts = vec![
            snippet.title.as_str(),
            &snippet.description,
            snippet.category_id,
            status.privacy_status,
            &made_for_kids,
            &synthetic,
        ];
        texts.extend(snippet.tags.iter().map(String::as_str));
        file.fingerprint(&texts)
    }
}

/// A refresh at the token endpoint. It contains secrets, so it has no `Debug`.
#[derive(Serialize)]
pub(super) struct TokenRequest<'a> {
    pub(super) client_id: &'a str,
    pub(super) client_secret: &'a str,
    pub(super) grant_type: &'static str,
    pub(super) refresh_token: &'a str,
}

/// The calls that carry the channel's token.
#[derive(Debug)]
pub(super) struct YouTubeApi {
    client: AuthorizedClient,
    origin: Origin,
}

impl YouTubeApi {
    pub(super) fn new(client: AuthorizedClient, origin: Origin) -> Self {
        Self { client, origin }
    }

    pub(super) fn tokens(&self) -> &TokenProvider {
        self.client.tokens()
    }

    /// The address of a session, if it is Google's own.
    pub(super) fn session_url(&self, session_uri: &str) -> Result<Url, Failure> {
        self.origin.trusted(session_uri, UPLOAD_DOMAIN, Platform::YouTubeShorts)
    }

    /// Opens an upload session and returns its address.
    pub(super) async fn open_session(
        &self,
        video: &NewVideo<'_>,
        file: &MediaFile,
        context: &dyn PublishContext,
    ) -> Result<String, PublishError> {
        let step = "open an upload session";
        let url = self.origin.at("/upload/youtube/v3/videos");
        let name = file.name().escape_default().to_string();
        let request = || {
            self.client
                .http()
                .post(url.clone())
                .query(&[("uploadType", "resumable"), ("part", "snippet,status")])
                .header("X-Upload-Content-Length", file.size)
                .header("X-Upload-Content-Type", file.mime)
                .header("Slug", &name)
                .header(CONTENT_TYPE, JSON_UTF8)
                .json(video)
        };
        // A session whose address is lost gets no bytes, and without bytes there is no video.
        let sent = self.client.send::<Refusal>(request, context).await;
        let response = sent.map_err(|error| error.into_retryable(Platform::YouTubeShorts, step))?;
        match response.header(LOCATION.as_str()) {
            Some(session_uri) if response.is_success() => {
                self.session_url(session_uri)?;
                Ok(session_uri.to_owned())
            }
            _ => Err(Refusal::read(step, &response, context.now()).failure.into()),
        }
    }

    /// Asks a session how far the upload has come.
    pub(super) async fn session_progress(
        &self,
        session: &Url,
        size: u64,
        context: &dyn PublishContext,
    ) -> Result<UploadProgress<SessionEnd>, CallError<Refusal>> {
        let range = format!("bytes */{size}");
        let request =
            || self.client.http().put(session.clone()).header(CONTENT_LENGTH, 0).header(CONTENT_RANGE, &range);
        let response = self.client.send::<Refusal>(request, context).await?;
        read_session(ASK_PROGRESS, &response, size, context.now()).map_err(CallError::Refused)
    }

    /// Sends a chunk. If the token is refused, it is renewed and the chunk is sent again, even if it is the last: a session
    /// makes one video at most, and repeats its response when it is complete ("Resumable Uploads").
    pub(super) async fn send_chunk(
        &self,
        session: &Url,
        file: &MediaFile,
        range: Range<u64>,
        context: &dyn PublishContext,
    ) -> Result<UploadProgress<SessionEnd>, CallError<Refusal>> {
        let content_range = format!("bytes {}-{}/{}", range.start, range.end - 1, file.size);
        let request = |token: &SecretString| {
            self.client
                .http()
                .put(session.clone())
                .bearer_auth(token.expose_secret())
                .header(CONTENT_TYPE, file.mime)
                .header(CONTENT_RANGE, &content_range)
        };
        let response = self.client.upload::<Refusal>(request, file, range, context).await?;
        let now = context.now();
        // Something in between may not find the session while it lives, so the session itself is asked.
        if matches!(response.status, 404 | 410) {
            let refusal = Refusal::read(RECEIVE_BYTES, &response, now);
            if !refusal.is_own_form {
                return Err(CallError::Refused(refusal));
            }
        }
        read_session(RECEIVE_BYTES, &response, file.size, now).map_err(CallError::Refused)
    }

    /// How far the processing of a video has come; none if the channel has no such video.
    pub(super) async fn video_processing(
        &self,
        id: &str,
        context: &dyn PublishContext,
    ) -> Result<Option<Video>, CallError<Refusal>> {
        let query = [("part", "status,processingDetails"), ("id", id)];
        let videos: Vec<Video> = self.call_list(REPORT_PROCESSING, "/youtube/v3/videos", &query, context).await?;
        Ok(videos.into_iter().next())
    }

    /// The playlist of the channel's uploads.
    pub(super) async fn uploads_playlist(&self, context: &dyn PublishContext) -> Result<Option<String>, PublishError> {
        let query = [("part", "contentDetails"), ("mine", "true")];
        let channels: Vec<Channel> = self.list(LIST_UPLOADS, "/youtube/v3/channels", &query, context).await?;
        Ok(channels.into_iter().next().and_then(Channel::into_uploads))
    }

    /// The newest items of a playlist.
    pub(super) async fn playlist_items(
        &self,
        playlist: &str,
        context: &dyn PublishContext,
    ) -> Result<Vec<PlaylistItem>, PublishError> {
        let query = [("part", "snippet,contentDetails"), ("playlistId", playlist), ("maxResults", "50")];
        self.list(LIST_UPLOADS, "/youtube/v3/playlistItems", &query, context).await
    }

    /// The status and the file of some videos.
    pub(super) async fn videos_with_files(
        &self,
        ids: &[String],
        context: &dyn PublishContext,
    ) -> Result<Vec<Video>, PublishError> {
        let ids = ids.join(",");
        let query = [("part", "status,fileDetails"), ("id", ids.as_str())];
        self.list(LIST_UPLOADS, "/youtube/v3/videos", &query, context).await
    }

    async fn list<T: DeserializeOwned>(
        &self,
        step: &str,
        path: &'static str,
        query: &[(&str, &str)],
        context: &dyn PublishContext,
    ) -> Result<Vec<T>, PublishError> {
        let listed = self.call_list(step, path, query, context).await;
        listed.map_err(|error| error.into_retryable(Platform::YouTubeShorts, step))
    }

    /// The same, for a caller that has to know how the list was refused.
    async fn call_list<T: DeserializeOwned>(
        &self,
        step: &str,
        path: &'static str,
        query: &[(&str, &str)],
        context: &dyn PublishContext,
    ) -> Result<Vec<T>, CallError<Refusal>> {
        let url = self.origin.at(path);
        let request = || self.client.http().get(url.clone()).query(query);
        let response = self.client.send::<Refusal>(request, context).await?;
        match response.parse::<ListResponse<T>>().and_then(ListResponse::into_items) {
            Some(items) if response.is_success() => Ok(items),
            _ => Err(CallError::Refused(Refusal::read(step, &response, context.now()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::platform::media::AssetStore;
    use crate::platform::test_context::post;
    use crate::post::MediaKind;

    fn video() -> NewVideo<'static> {
        NewVideo {
            snippet: NewSnippet {
                title: "A title".to_owned(),
                description: String::new(),
                tags: vec!["one".to_owned()],
                category_id: "22",
            },
            status: NewStatus {
                privacy_status: "public",
                self_declared_made_for_kids: false,
                contains_synthetic_media: None,
            },
        }
    }

    #[test]
    fn the_requests_have_the_documented_form() {
        let mut video = video();
        let mut expected = json!({
            "snippet": { "title": "A title", "description": "", "tags": ["one"], "categoryId": "22" },
            "status": { "privacyStatus": "public", "selfDeclaredMadeForKids": false },
        });
        assert_eq!(serde_json::to_value(&video).unwrap(), expected);
        video.status.contains_synthetic_media = Some(true);
        expected["status"]["containsSyntheticMedia"] = true.into();
        assert_eq!(serde_json::to_value(&video).unwrap(), expected);

        let request =
            TokenRequest { client_id: "i", client_secret: "s", grant_type: "refresh_token", refresh_token: "r" };
        let expected =
            json!({ "client_id": "i", "client_secret": "s", "grant_type": "refresh_token", "refresh_token": "r" });
        assert_eq!(serde_json::to_value(&request).unwrap(), expected);
    }

    #[tokio::test]
    async fn the_fingerprint_changes_with_everything_that_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.mp4"), b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom").unwrap();
        let assets = AssetStore::new(folder.path(), None).unwrap();
        let mut post = post(Platform::YouTubeShorts);
        post.content.video_path = Some("a.mp4".to_owned());
        let file = assets.file_of(&post, MediaKind::Video).await.unwrap();
        let changes: [fn(&mut NewVideo<'static>); 9] = [
            |_| {},
            |video| video.snippet.title.push('!'),
            |video| video.snippet.description.push('!'),
            |video| video.snippet.tags.push("two".to_owned()),
            |video| video.snippet.tags.clear(),
            |video| video.snippet.category_id = "23",
            |video| video.status.privacy_status = "private",
            |video| video.status.self_declared_made_for_kids = true,
            |video| video.status.contains_synthetic_media = Some(true),
        ];
        let fingerprint = |change: &fn(&mut NewVideo<'static>)| {
            let mut video = video();
            change(&mut video);
            video.fingerprint(&file)
        };
        let made: std::collections::BTreeSet<String> = changes.iter().map(fingerprint).collect();
        assert_eq!(made.len(), changes.len());
        assert!(made.contains(&video().fingerprint(&file)));
    }
}
