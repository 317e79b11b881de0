//! What goes wrong, when told to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A request that goes wrong.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fault {
    /// The endpoint, for example `tiktok.video_init`, or `*` for any.
    pub on: String,
    /// Only requests for the post whose text has this in it, or with it in their path. The requests that are for no
    /// post in particular (tokens, quotas, lists) are then not meant.
    #[serde(default)]
    pub about: Option<String>,
    /// Let so many calls pass first.
    #[serde(default)]
    pub skip: u32,
    /// Then so many go wrong; all of them where it is 0.
    #[serde(default)]
    pub times: u32,
    /// How they go wrong.
    pub act: Act,
}

/// How a request goes wrong.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Act {
    /// This answer comes instead; the request has no effect.
    Answer {
        /// Its status.
        status: u16,
        /// Its body. In it `{token}` stands for the access token of the request, `{uri}` for its path and query.
        #[serde(default)]
        body: String,
        /// Its headers.
        #[serde(default)]
        headers: BTreeMap<String, String>,
    },
    /// The request has its effect, but this answer comes.
    Lie {
        /// Its status.
        status: u16,
        /// Its body, as in an `answer`.
        #[serde(default)]
        body: String,
        /// Its headers.
        #[serde(default)]
        headers: BTreeMap<String, String>,
    },
    /// Over HTTP/2 the stream is refused unprocessed; over HTTP/1.1 the connection is dropped. No effect either way.
    RefuseStream,
    /// The connection is dropped; the request has no effect.
    LoseRequest,
    /// The request has its effect; the connection is dropped before the answer.
    LoseAnswer,
    /// After so many bytes of the body the connection is dropped; what the platform keeps of them, it keeps.
    Cut {
        /// So many.
        after: u64,
    },
    /// The request has its effect and its answer, after a while.
    Slow {
        /// So many milliseconds.
        ms: u64,
    },
    /// The request is held for ever; it has no effect.
    HoldRequest,
    /// The request has its effect, and the answer is held for ever.
    HoldAnswer,
    /// The request has its effect, but the answer is HTTP 200 with something that is none.
    Garbage,
}

impl Fault {
    /// Every call goes wrong.
    pub fn always(on: &str, act: Act) -> Self {
        Self { on: on.to_owned(), about: None, skip: 0, times: 0, act }
    }

    /// Only the first call goes wrong.
    pub fn once(on: &str, act: Act) -> Self {
        Self { on: on.to_owned(), about: None, skip: 0, times: 1, act }
    }

    /// The same, after so many calls have passed.
    #[must_use]
    pub fn after(self, calls: u32) -> Self {
        Self { skip: calls, ..self }
    }

    /// The same, only for the post whose text has this in it.
    #[must_use]
    pub fn about(self, text: &str) -> Self {
        Self { about: Some(text.to_owned()), ..self }
    }
}

impl Act {
    /// An answer with a JSON body.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::Answer { status, body: body.to_string(), headers: BTreeMap::new() }
    }

    /// The page of something between the client and the platform, a gateway or a firewall, which kept the request.
    pub fn html(status: u16) -> Self {
        Self::Answer { status, body: PAGE.to_owned(), headers: page_headers() }
    }

    /// The same after the request had its effect.
    pub fn html_after(status: u16) -> Self {
        Self::Lie { status, body: PAGE.to_owned(), headers: page_headers() }
    }

    /// TikTok's way to refuse.
    pub fn tiktok(status: u16, code: &str) -> Self {
        Self::json(status, &crate::tiktok::error_body(code, "said by a fault"))
    }

    /// The Graph API's way to refuse.
    pub fn graph(status: u16, code: i64, subcode: Option<i64>) -> Self {
        Self::json(status, &crate::instagram::error_body(code, subcode))
    }

    /// `YouTube`'s way to refuse.
    pub fn youtube(status: u16, reason: &str, message: &str) -> Self {
        Self::json(status, &crate::youtube::error_body(status, reason, message))
    }
}

const PAGE: &str = "<html><head><title>Sorry</title></head><body><h1>Sorry</h1><hr>gateway</body></html>";

fn page_headers() -> BTreeMap<String, String> {
    BTreeMap::from([("content-type".to_owned(), "text/html; charset=utf-8".to_owned())])
}

/// Takes the act for a call of this endpoint, if a fault is laid for it. `is_about` tells whether the call is for the
/// post with this in its text.
pub(crate) fn take(faults: &mut Vec<Fault>, endpoint: &str, is_about: impl Fn(&str) -> bool) -> Option<Act> {
    for index in 0..faults.len() {
        let fault = &mut faults[index];
        let is_named = fault.on == endpoint || fault.on == "*";
        let is_meant = is_named && fault.about.as_deref().is_none_or(&is_about);
        if !is_meant {
            continue;
        }
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        let act = fault.act.clone();
        match fault.times {
            0 => {}
            1 => {
                faults.remove(index);
            }
            _ => fault.times -= 1,
        }
        return Some(act);
    }
    None
}
