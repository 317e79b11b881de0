//! The kinds of publish that there are, and the requests that each makes when nobody disturbs it.

use mongodb::bson::{Bson, Document, doc};

use crate::support::env::TestEnv;

/// Every way in which a post gets onto a platform.
pub(crate) const KINDS: [&str; 5] = ["tiktok", "tiktok photo", "instagram", "instagram image", "youtube"];

/// The platform of a post of this kind, and its fields.
pub(crate) fn post_of(kind: &str) -> (&str, Document) {
    let image = doc! { "contentType": "image", "videoPath": Bson::Undefined, "imagePath": "a.jpg" };
    match kind {
        "tiktok photo" => ("tiktok", image),
        "instagram image" => ("instagram", image),
        platform => (platform, Document::new()),
    }
}

/// The endpoints that a publish of this kind asks, in order.
pub(crate) async fn requests_of(kind: &str) -> Vec<String> {
    let env = TestEnv::new().await;
    let (platform, fields) = post_of(kind);
    env.post(platform, fields).await;
    env.pass(0).await;
    let world = env.sandbox.world();
    world.requests.iter().map(|request| request.endpoint.clone()).collect()
}

/// Whether it has come to an end with the post, and no pass will touch it again.
pub(crate) fn is_settled(post: &Document) -> bool {
    post.get_str("status").ok() == Some("posted") || post.get_bool("permanentlyFailed").unwrap_or(false)
}

/// A rotated token that died with its answer strands the account at TikTok, and nowhere else: the one thing that only
/// a person can mend, by signing in again. Whether that has been done now.
pub(crate) async fn renew_credentials_if_stranded(env: &TestEnv) -> bool {
    let stranded = doc! { env.path("tiktok", "failureCategory"): "auth", "platform": "tiktok", "status": "failed" };
    let is_stranded = env.posts.count_documents(stranded).await.unwrap() > 0;
    if is_stranded {
        env.sandbox.world().sign_in("tiktok", "sandbox-tiktok-refresh-0");
    }
    is_stranded
}
