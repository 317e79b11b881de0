//! The platform's id of a post, as far as its public address contains it.

use url::Url;

use crate::post::Platform;

/// The id in the address of a published post. An Instagram permalink contains a short code only, which is no id.
pub(super) fn published_id(platform: Platform, url: &Url) -> Option<String> {
    let host = url.host_str()?;
    let is_of = |domain: &str| host == domain || host.strip_suffix(domain).is_some_and(|before| before.ends_with('.'));
    let parts: Vec<&str> = url.path_segments()?.filter(|part| !part.is_empty()).collect();
    let id = match (platform, parts.as_slice()) {
        (Platform::YouTubeShorts, [id]) if is_of("youtu.be") => (*id).to_owned(),
        (Platform::YouTubeShorts, ["shorts", id]) if is_of("youtube.com") => (*id).to_owned(),
        (Platform::YouTubeShorts, ["watch"]) if is_of("youtube.com") => {
            url.query_pairs().find(|(name, _)| name == "v")?.1.into_owned()
        }
        (Platform::TikTok, [.., "video" | "photo", id]) if is_of("tiktok.com") => (*id).to_owned(),
        (Platform::TikTok | Platform::YouTubeShorts | Platform::Instagram, _) => return None,
    };
    platform.is_post_id(&id).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_read_where_the_address_has_it() {
        for (platform, url, id) in [
            (Platform::YouTubeShorts, "https://www.youtube.com/shorts/dQw4w9WgXcQ?feature=share", Some("dQw4w9WgXcQ")),
            (Platform::YouTubeShorts, "https://youtube.com/watch?t=3&v=dQw4w9WgXc-", Some("dQw4w9WgXc-")),
            (Platform::YouTubeShorts, "https://youtu.be/dQw4w9WgXcQ", Some("dQw4w9WgXcQ")),
            (Platform::YouTubeShorts, "https://www.youtube.com/@channel", None),
            (Platform::YouTubeShorts, "https://notyoutube.com/shorts/dQw4w9WgXcQ", None),
            (
                Platform::TikTok,
                "https://www.tiktok.com/@user.name/video/7301234567890123456",
                Some("7301234567890123456"),
            ),
            (Platform::TikTok, "https://www.tiktok.com/@user/photo/7301234567890123456/", Some("7301234567890123456")),
            (Platform::TikTok, "https://vm.tiktok.com/ZMabc", None),
            (Platform::TikTok, "https://youtu.be/dQw4w9WgXcQ", None),
            (Platform::TikTok, "https://www.tiktok.com/@user/video/7%2F3", None),
            (Platform::TikTok, "https://www.tiktok.com/@user/video/abc", None),
            (Platform::Instagram, "https://www.instagram.com/reel/C1a2b3c4d5e/", None),
        ] {
            assert_eq!(published_id(platform, &Url::parse(url).unwrap()).as_deref(), id, "{url}");
        }
    }
}
