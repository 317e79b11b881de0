//! What a response of `YouTube` or Google means for each request, without sending one.

use chrono::{DateTime, Utc};
use reqwest::header::LOCATION;
use serde::de::DeserializeOwned;

use super::api::{ASK_PROGRESS, RECEIVE_BYTES};
use super::classify::{Processing, classify_token_error, read_processing};
use super::error::{PlatformError, Refusal};
use super::responses::{Channel, ListResponse, PlaylistItem, TokenResponse, Video};
use super::session::{SessionEnd, read_session};
use crate::platform::http::ApiResponse;
use crate::platform::upload::UploadProgress;
use crate::platform::{Meaning, unexpected_response};
use crate::post::{Failure, Platform};

/// The size of the video that the session is asked about.
const SIZE: u64 = 20_000_000;

pub(in crate::platform) fn meanings(response: &ApiResponse, now: DateTime<Utc>) -> Vec<Meaning> {
    vec![
        open(response, now),
        session(ASK_PROGRESS, response, now),
        session(RECEIVE_BYTES, response, now),
        list("report whether the video is processed", response, now, |videos: Vec<Video>| {
            match videos.first().map(read_processing) {
                Some(Processing::Failed(failure)) => Some(failure),
                _ => None,
            }
        }),
        list("list the channel's uploads", response, now, |channels: Vec<Channel>| {
            for channel in channels {
                drop(channel.into_uploads());
            }
            None
        }),
        list("list the playlist's videos", response, now, |items: Vec<PlaylistItem>| {
            for item in items {
                // Reading the date converts a foreign text.
                let _published_at = item.published_at();
                drop(item.into_video_id());
            }
            None
        }),
        token(response, now),
    ]
}

fn open(response: &ApiResponse, now: DateTime<Utc>) -> Meaning {
    let step = "open an upload session";
    let is_open = response.is_success() && response.header(LOCATION.as_str()).is_some();
    Meaning { step, failure: (!is_open).then(|| Refusal::read(step, response, now).failure) }
}

fn session(step: &'static str, response: &ApiResponse, now: DateTime<Utc>) -> Meaning {
    let failure = match read_session(step, response, SIZE, now) {
        Ok(UploadProgress::Ended(SessionEnd::Failed(failure))) => Some(failure),
        Ok(_) => None,
        Err(refusal) => Some(refusal.failure),
    };
    Meaning { step, failure }
}

fn list<T: DeserializeOwned>(
    step: &'static str,
    response: &ApiResponse,
    now: DateTime<Utc>,
    failure_of: impl FnOnce(Vec<T>) -> Option<Failure>,
) -> Meaning {
    let failure = match response.parse::<ListResponse<T>>().and_then(ListResponse::into_items) {
        Some(items) if response.is_success() => failure_of(items),
        _ => Some(Refusal::read(step, response, now).failure),
    };
    Meaning { step, failure }
}

fn token(response: &ApiResponse, now: DateTime<Utc>) -> Meaning {
    let step = "refresh the access token";
    let given: TokenResponse = response.parse().unwrap_or_default();
    let failure = match given.access_token {
        Some(_) if response.is_success() => None,
        _ if response.is_success() => Some(unexpected_response(Platform::YouTubeShorts, step, response.status)),
        _ => {
            let error = PlatformError::of_token_endpoint(response);
            let failure = classify_token_error(step, response.status, error.as_ref());
            Some(failure.retry_at(response.retry_after(now)))
        }
    };
    Meaning { step, failure }
}

/// How many bytes of the video the session has.
pub(in crate::platform) fn stored_bytes(response: &ApiResponse, size: u64, now: DateTime<Utc>) -> Option<u64> {
    match read_session(ASK_PROGRESS, response, size, now) {
        Ok(UploadProgress::StoredUntil(bytes)) => Some(bytes),
        _ => None,
    }
}
