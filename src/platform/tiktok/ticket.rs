//! What TikTok's tickets contain: the payload of a stored [`Ticket`](crate::post::Ticket).

use serde::{Deserialize, Serialize};
use url::Url;

use super::wire::{optional_publish_id, publish_id, username};
use crate::post::Publication;

/// It cannot be printed, since an upload address is a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub(super) enum TikTokTicket {
    Video(VideoTicket),
    Photo(PhotoTicket),
}

/// Nothing can appear before all bytes have arrived.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VideoTicket {
    /// What TikTok knows the publish by.
    #[serde(deserialize_with = "publish_id")]
    pub(super) publish_id: String,
    /// Where the bytes go for one hour; none if the application made the ticket. A secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) upload_url: Option<String>,
    /// The size in bytes that TikTok was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<u64>,
    /// The account's name, for the link.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "username")]
    pub(super) username: Option<String>,
}

/// `init` starts the publish at once, so the intent is stored before there is an id.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PhotoTicket {
    /// What TikTok knows the publish by; none until it has accepted the photo.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional_publish_id")]
    pub(super) publish_id: Option<String>,
    /// The account's name, for the link.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "username")]
    pub(super) username: Option<String>,
}

impl VideoTicket {
    pub(super) fn publication(&self, post_id: Option<String>) -> Publication {
        publication(self.username.as_deref(), "video", post_id)
    }
}

impl PhotoTicket {
    pub(super) fn publication(&self, post_id: Option<String>) -> Publication {
        publication(self.username.as_deref(), "photo", post_id)
    }
}

/// Without an id, the link leads to the account.
fn publication(username: Option<&str>, kind: &str, id: Option<String>) -> Publication {
    let url = username.and_then(|name| link(name, id.as_deref().map(|id| (kind, id))));
    Publication { id, url, warning: None }
}

fn link(username: &str, post: Option<(&str, &str)>) -> Option<String> {
    let mut url = Url::parse("https://www.tiktok.com/").ok()?;
    let account = format!("@{username}");
    // The name is TikTok's word or a ticket's; encoded, it cannot make the link lead elsewhere.
    url.path_segments_mut().ok()?.clear().push(&account).extend(post.into_iter().flat_map(|(kind, id)| [kind, id]));
    Some(url.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_ticket_is_stored_without_what_is_not_known() {
        let video = VideoTicket {
            publish_id: "v_pub_file~1".into(),
            upload_url: Some("https://open-upload.tiktokapis.com/1".into()),
            size: Some(5),
            username: None,
        };
        let stored = json!({
            "kind": "video",
            "publishId": "v_pub_file~1",
            "uploadUrl": "https://open-upload.tiktokapis.com/1",
            "size": 5,
        });
        let photo = PhotoTicket { publish_id: None, username: Some("creator".into()) };
        for (ticket, stored) in [
            (TikTokTicket::Video(video), stored),
            (TikTokTicket::Photo(photo), json!({ "kind": "photo", "username": "creator" })),
        ] {
            assert_eq!(serde_json::to_value(&ticket).unwrap(), stored);
            assert!(serde_json::from_value::<TikTokTicket>(stored).unwrap() == ticket);
        }
    }

    #[test]
    fn a_ticket_with_a_forged_id_cannot_be_read() {
        for forged in [json!("v/../1"), json!("v?x=1"), json!(""), json!(7), json!({ "$ne": 1 })] {
            for kind in ["video", "photo"] {
                let stored = json!({ "kind": kind, "publishId": forged });
                assert!(serde_json::from_value::<TikTokTicket>(stored.clone()).is_err(), "{stored}");
            }
        }
        let without = json!({ "kind": "photo", "publishId": null });
        assert!(serde_json::from_value::<TikTokTicket>(without).is_ok(), "it is not known yet");
        assert!(serde_json::from_value::<TikTokTicket>(json!({ "kind": "video" })).is_err());
    }

    #[test]
    fn a_name_that_no_account_has_is_left_out_of_a_ticket() {
        let long = json!("x".repeat(500));
        for (name, read) in [(json!("me"), Some("me")), (long, None), (json!("\u{1b}"), None), (json!(7), None)] {
            let stored = json!({ "kind": "video", "publishId": "v1", "username": name });
            let Ok(TikTokTicket::Video(ticket)) = serde_json::from_value(stored) else { panic!("{name} is no ticket") };
            assert_eq!(ticket.username.as_deref(), read, "{name}");
        }
    }

    #[test]
    fn a_link_needs_the_accounts_name() {
        let link = |username, id: Option<&str>| publication(username, "video", id.map(str::to_owned)).url;
        assert_eq!(link(Some("me"), Some("7")).as_deref(), Some("https://www.tiktok.com/@me/video/7"));
        assert_eq!(link(Some("me"), None).as_deref(), Some("https://www.tiktok.com/@me"));
        assert_eq!(link(None, Some("7")), None);
        let odd = Some("https://www.tiktok.com/@me%2F..%2Fyou%3Fx/video/7");
        assert_eq!(link(Some("me/../you?x"), Some("7")).as_deref(), odd);
    }
}
