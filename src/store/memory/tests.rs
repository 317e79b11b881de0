//! What is particular to the store in memory. The contract suite in `tests/it/store.rs` runs on it too.

use std::borrow::Cow;

use std::time::Duration;

use secrecy::SecretString;

use super::*;
use crate::post::{PostDraft, TokenRecord};
use crate::store::{Scope, TokenStore};

fn store() -> InMemoryPostStore {
    InMemoryPostStore::new(|| DateTime::UNIX_EPOCH + TimeDelta::days(20_000))
}

fn draft(id: &str, platform: &str) -> PostDraft {
    let mut draft = PostDraft::new(PostId::from_text(id));
    draft.platform = Some(platform.to_owned());
    draft
}

/// What is wrong with a post.
fn fault(store: &InMemoryPostStore, id: &str) -> Option<Cow<'static, str>> {
    store.get(id).unwrap().post.into_result().err().map(|malformed| malformed.field)
}

#[tokio::test]
async fn a_reset_mends_what_it_overwrites_in_a_malformed_post() {
    let store = store();
    for (id, platform, field) in [
        ("counter", "tiktok", "retryCount"),
        ("column", "tiktok", "claim_until"),
        ("claim", "tiktok", "retryClaim"),
        ("date", "tiktok", "failedAt"),
        ("platform", "myspace", "retryCount"),
    ] {
        store.insert(StoredPost::Malformed(draft(id, platform).malformed(field, "x")));
        assert_eq!(fault(&store, id).as_deref(), Some(field));
        assert_eq!(
            store.reset(&PostId::from_text(id), "ann@web1", &ResetOptions::default()).await.unwrap(),
            Reset::Done
        );
    }
    assert_eq!(fault(&store, "counter"), None);
    assert_eq!(fault(&store, "column"), None);
    assert_eq!(fault(&store, "claim"), None);
    assert_eq!(fault(&store, "date"), Some("failedAt".into()), "that one is never written");
    assert_eq!(fault(&store, "platform"), Some("platform".into()));
}

#[tokio::test]
async fn a_post_that_changed_its_status_is_not_retried() {
    let store = store();
    store.insert(draft("1", "tiktok").check().into());
    let query =
        DueQuery { policy: RetryPolicy::default(), now: store.time(), scope: Scope::Platform(Platform::TikTok) };
    assert_eq!(store.due_posts(&query, None, 10).await.unwrap().posts.len(), 1);
    store.set_status("1", "rejected");
    assert_eq!(store.due_posts(&query, None, 10).await.unwrap().posts.len(), 0);
    assert_eq!(store.find("1").await.unwrap(), Found::NotFailed(vec![Platform::TikTok]));
    assert_eq!(store.get("1").unwrap().status, "rejected");
}

#[tokio::test]
async fn stories_are_named_where_a_post_is_shown() {
    let store = store();
    let mut draft = draft("1", "tiktok");
    draft.story.key = Some("7".to_owned());
    store.insert(draft.check().into());
    store.insert_story("7", "Spring");
    let Found::Failed(found) = store.find("1").await.unwrap() else { panic!("it is failed") };
    assert_eq!(found[0].readable().unwrap().story.name.as_deref(), Some("Spring"));
}

#[tokio::test]
async fn nothing_secret_is_printed() {
    let store = store();
    let lease = Lease { by: "me".to_owned(), lasts: Duration::from_secs(60) };
    let payload = serde_json::json!({ "uploadUrl": "https://upload.example/SECRET" });
    let mut draft = draft("1", "tiktok");
    draft.ticket = Some(Ticket::new(Platform::TikTok, store.time(), payload));
    store.insert(draft.check().into());
    let record = TokenRecord {
        key: "tiktok:key".to_owned(),
        platform: Platform::TikTok,
        source: "fingerprint".to_owned(),
        access_token: SecretString::from("SECRET"),
        access_expires_at: None,
        refresh_token: Some(SecretString::from("SECRET")),
        refresh_expires_at: None,
    };
    assert_eq!(store.lock_token(&record.key, &lease).await.unwrap(), LeaseWrite::Applied);
    assert_eq!(store.save_token(&record, "me").await.unwrap(), LeaseWrite::Applied);
    let printed = format!("{store:?}");
    assert!(printed.contains("tiktok:key") && !printed.contains("SECRET"), "{printed}");
}
