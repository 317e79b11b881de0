//! The address of a published post. A platform gives it, and it is stored, printed and followed by people, so it has to
//! be one of the platform's own site.

use url::Url;

use crate::environment::Redactor;
use crate::post::{Platform, is_hidden};

/// The longest address that is taken, in characters.
const MAX_CHARS: usize = 2_048;

/// The address in the form in which it may be stored and shown. None unless it is an `https` address of the platform's
/// own site, without credentials, secrets, and characters that nobody sees.
pub(super) fn public_url(platform: Platform, text: &str, redactor: &Redactor) -> Option<String> {
    // The parser would silently drop some of these.
    if text.chars().any(|c| c.is_whitespace() || is_hidden(c)) {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let has_credentials = !url.username().is_empty() || url.password().is_some();
    let is_at_site = url.host_str().is_some_and(|host| platform.is_site(host));
    let is_own = is_at_site && url.scheme() == "https" && url.port().is_none();
    // In this form every character is ASCII.
    let address = String::from(url);
    let is_clean = address.len() <= MAX_CHARS && redactor.scrub(&address) == address;
    (is_own && !has_credentials && is_clean).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_of_the_platforms_own_site_is_taken() {
        let redactor = Redactor::default();
        redactor.add("EAABtoken123");
        let taken = |platform, text: &str| public_url(platform, text, &redactor);
        for (platform, text) in [
            (Platform::Instagram, "https://www.instagram.com/reel/C1a2b3c4d5e/"),
            (Platform::Instagram, "https://instagram.com/p/C1a2b3c4d5e/"),
            (Platform::TikTok, "https://www.tiktok.com/@user.name/video/7301234567890123456?utm_source=x"),
            (Platform::TikTok, "https://www.tiktok.com/@user"),
            (Platform::YouTubeShorts, "https://www.youtube.com/shorts/dQw4w9WgXcQ"),
            (Platform::YouTubeShorts, "https://youtu.be/dQw4w9WgXcQ"),
        ] {
            assert_eq!(taken(platform, text).as_deref(), Some(text));
        }
        let long = |length: usize| format!("https://www.instagram.com/{}", "x".repeat(length - 26));
        assert_eq!(taken(Platform::Instagram, &long(MAX_CHARS)), Some(long(MAX_CHARS)));
        for text in [
            "",
            "/reel/C1/",
            "javascript:alert(1)//\u{1b}[2J access_token=EAABtoken123",
            "javascript:alert(1)//www.instagram.com/",
            "http://www.instagram.com/reel/C1/",
            "https://www.instagram.com:8443/reel/C1/",
            "https://www.instagram.com.evil.example/reel/C1/",
            "https://evilinstagram.com/reel/C1/",
            "https://www.tiktok.com/@user/video/7",
            "https://ann@www.instagram.com/reel/C1/",
            "https://ann:hush@www.instagram.com/reel/C1/",
            "https://www.instagram.com/reel/EAABtoken123/",
            "https://www.instagram.com/reel/C1/?access_token=somebody",
            "https://www.instagram.com/reel/C1/\u{1b}[2J",
            "https://www.instagram.com/reel/C1/\n",
            "https://www.instagram.com/reel/C1/\tx",
            "https://www.instagram.com/reel/\u{202e}1C/",
            "https://www.insta\u{200b}gram.com/reel/C1/",
            &long(MAX_CHARS + 1),
            // Its form for storing is too long.
            &format!("https://www.instagram.com/{}", "é".repeat(1_000)),
            &long(500_000),
        ] {
            assert_eq!(taken(Platform::Instagram, text), None, "{}", text.escape_debug().take(100).collect::<String>());
        }
    }

    #[test]
    fn what_is_taken_has_only_visible_ascii_characters() {
        let given = "HTTPS://WWW.Instagram.com/reel/é#日本";
        let taken = public_url(Platform::Instagram, given, &Redactor::default()).unwrap();
        assert_eq!(taken, "https://www.instagram.com/reel/%C3%A9#%E6%97%A5%E6%9C%AC");
    }
}
