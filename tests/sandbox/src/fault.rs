//! What goes wrong, when told to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A request that goes wrong.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fault {
    /// The endpoint, for example `tiktok.video_init`, or `*` for any.
    pub on: String,
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
        /// Its body.
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
        /// Its body.
        #[serde(default)]
        body: String,
    },
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
        Self { on: on.to_owned(), skip: 0, times: 0, act }
    }

    /// Only the first call goes wrong.
    pub fn once(on: &str, act: Act) -> Self {
        Self { on: on.to_owned(), skip: 0, times: 1, act }
    }

    /// The same, after so many calls have passed.
    #[must_use]
    pub fn after(self, calls: u32) -> Self {
        Self { skip: calls, ..self }
    }
}

impl Act {
    /// An answer with a JSON body.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::Answer { status, body: body.to_string(), headers: BTreeMap::new() }
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

/// Takes the act for a call of this endpoint, if a fault is laid for it.
pub(crate) fn take(faults: &mut Vec<Fault>, endpoint: &str) -> Option<Act> {
    for index in 0..faults.len() {
        let fault = &mut faults[index];
        if fault.on != endpoint && fault.on != "*" {
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
