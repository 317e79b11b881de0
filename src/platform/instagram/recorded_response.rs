//! What a response of Instagram means for each request, without sending one.

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;

use super::api::{
    CREATE, LIST_MEDIA, PUBLISH, READ_CONTAINER, READ_LIMIT, READ_LINK, SEND_BYTES, read_response,
    read_upload_response, refusal_of,
};
use super::classify::{Classify, classify, classify_read};
use super::container::{ContainerState, copyright_match, state_of};
use super::wire::{ContainerStatus, Created, CreatedReel, ExchangedToken, List, Media, PublishingLimit, graph_error};
use crate::platform::http::ApiResponse;
use crate::platform::{Meaning, unexpected_response};
use crate::post::{Failure, Platform};

pub(in crate::platform) fn meanings(response: &ApiResponse, now: DateTime<Utc>) -> Vec<Meaning> {
    let call = Call { response, now };
    let uploaded = read_upload_response(response, now);
    vec![
        call.meaning(READ_LIMIT, classify_read, |_: List<PublishingLimit>| None),
        call.meaning(CREATE, classify, |_: CreatedReel| None),
        call.meaning(CREATE, classify, |_: Created| None),
        Meaning { step: SEND_BYTES, failure: uploaded.err() },
        call.meaning(READ_CONTAINER, classify_read, |container: ContainerStatus| match state_of(&container) {
            ContainerState::Failed(failure) | ContainerState::Unreadable(failure) => Some(failure),
            ContainerState::CopyrightMatch => Some(copyright_match()),
            _ => None,
        }),
        call.meaning(PUBLISH, classify, |_: Created| None),
        call.meaning(READ_LINK, classify_read, |_: Media| None),
        call.meaning(LIST_MEDIA, classify_read, |_: List<Media>| None),
        token(response, now),
    ]
}

#[derive(Clone, Copy)]
struct Call<'a> {
    response: &'a ApiResponse,
    now: DateTime<Utc>,
}

impl Call<'_> {
    fn meaning<T: DeserializeOwned>(
        self,
        step: &'static str,
        classify: Classify,
        failure_of: impl FnOnce(T) -> Option<Failure>,
    ) -> Meaning {
        let failure = match read_response(step, self.response, classify, self.now) {
            Ok(given) => failure_of(given),
            Err(refusal) => Some(refusal.failure),
        };
        Meaning { step, failure }
    }
}

fn token(response: &ApiResponse, now: DateTime<Utc>) -> Meaning {
    let step = "exchange the access token";
    let failure = if !response.is_success() || graph_error(response).is_some() {
        Some(refusal_of(step, response, classify_read, now).failure)
    } else if response.parse::<ExchangedToken>().is_none() {
        Some(unexpected_response(Platform::Instagram, step, response.status))
    } else {
        None
    };
    Meaning { step, failure }
}
