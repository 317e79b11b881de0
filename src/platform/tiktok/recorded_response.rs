//! What a response of TikTok means for each request, without sending one.

use chrono::{DateTime, Utc};
use reqwest::header::CONTENT_RANGE;
use serde::de::DeserializeOwned;

use super::api::{self, read_response};
use super::classify::{classify, with_retry_at};
use super::status::PublishState;
use super::token::TokenResponse;
use super::upload::{self, SEND_CHUNK, Source};
use super::wire::{CreatorInfo, InitResponse, StatusResponse, VideoList};
use crate::platform::Meaning;
use crate::platform::http::ApiResponse;
use crate::platform::upload::PartOutcome;
use crate::post::Failure;

/// The size of the video whose first half the chunk carries.
const SIZE: u64 = 20_000_000;

pub(in crate::platform) fn meanings(response: &ApiResponse, now: DateTime<Utc>) -> Vec<Meaning> {
    let init = "accept the video";
    vec![
        call("report whether the account may post", response, now, |success: api::Success<CreatorInfo>| {
            // Reading the limit converts a foreign number.
            let _limit = success.data.longest_video();
            None
        }),
        call(init, response, now, |success: api::Success<InitResponse>| {
            let is_complete = success.data.publish_id.is_some() && success.data.upload_url.is_some();
            (!is_complete).then(|| success.unexpected(init))
        }),
        call("report the status of the post", response, now, |success: api::Success<StatusResponse>| {
            match PublishState::read(success.data, success.error) {
                PublishState::Failed(failure)
                | PublishState::Unknown(failure)
                | PublishState::Inaccessible(failure) => Some(failure),
                _ => None,
            }
        }),
        call("list the account's videos", response, now, |_: api::Success<VideoList>| None),
        token(response, now),
        chunk(response, now),
    ]
}

fn call<T: DeserializeOwned + Default>(
    step: &'static str,
    response: &ApiResponse,
    now: DateTime<Utc>,
    failure_of: impl FnOnce(api::Success<T>) -> Option<Failure>,
) -> Meaning {
    let failure = match read_response(step, response, now) {
        Ok(success) => failure_of(success),
        Err(refusal) => Some(refusal.failure),
    };
    Meaning { step, failure }
}

fn token(response: &ApiResponse, now: DateTime<Utc>) -> Meaning {
    let step = "refresh the access token";
    let given = response.parse::<TokenResponse>().unwrap_or_default();
    let refused = given.into_refreshed(response.is_success()).err();
    let failure =
        refused.map(|error| with_retry_at(classify(step, response.status, &error), response.retry_after(now), now));
    Meaning { step, failure }
}

fn chunk(response: &ApiResponse, now: DateTime<Utc>) -> Meaning {
    let failure = match upload::read_response(response.status, Source::of(response), SIZE / 2, SIZE) {
        PartOutcome::Interrupted(failure) => Some(with_retry_at(failure, response.retry_after(now), now)),
        PartOutcome::StoredUntil(_) | PartOutcome::Ended(_) => None,
    };
    Meaning { step: SEND_CHUNK, failure }
}

/// How many bytes of the video TikTok has.
pub(in crate::platform) fn stored_bytes(response: &ApiResponse, size: u64) -> Option<u64> {
    upload::stored_bytes(response.header(CONTENT_RANGE.as_str())?, size)
}
