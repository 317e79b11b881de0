//! Fits a post's texts into TikTok's limits: "Direct Post" for videos and "Photo" for photos, on
//! <https://developers.tiktok.com>.

use crate::post::{Category, Content, Failure, Post, with_hashtags};

/// The longest title of a video, in UTF-16 code units.
const MAX_TITLE: usize = 2200;
/// The longest title of a photo, likewise.
const MAX_PHOTO_TITLE: usize = 90;
/// The longest description of a photo, likewise.
const MAX_PHOTO_DESCRIPTION: usize = 4000;

/// The caption and as many hashtags as fit.
pub(super) fn fitted_title(post: &Post) -> Result<String, Failure> {
    fitted(post, MAX_TITLE)
}

pub(super) struct PhotoText {
    pub(super) title: String,
    pub(super) description: String,
}

/// The caption becomes the description, since a photo's title has room for one line only. The post's own title becomes
/// the title if it fits.
pub(super) fn fitted_photo_text(post: &Post) -> Result<PhotoText, Failure> {
    let description = fitted(post, MAX_PHOTO_DESCRIPTION)?;
    let title = post.content.title.clone().filter(|title| utf16(title) <= MAX_PHOTO_TITLE).unwrap_or_default();
    Ok(PhotoText { title, description })
}

/// What the label for AI content adds to a fingerprint.
pub(super) fn ai_label(content: &Content) -> &'static str {
    if content.is_ai_generated { "is_aigc" } else { "" }
}

fn fitted(post: &Post, limit: usize) -> Result<String, Failure> {
    let text = post.content.caption_text();
    let fitted = with_hashtags(text, &post.content.hashtags, |text| utf16(text) <= limit).ok_or_else(|| {
        let message = format!("the caption has {} characters, but TikTok allows {limit}; shorten it", utf16(text));
        Failure::new(Category::RejectedContent, message).not_retryable()
    })?;
    if !fitted.dropped.is_empty() {
        log::debug!("post {}: left out for TikTok's limit: {}", post.id, fitted.dropped.join(" "));
    }
    Ok(fitted.text)
}

/// TikTok counts UTF-16 code units.
fn utf16(text: &str) -> usize {
    text.encode_utf16().count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::test_context::post;
    use crate::post::Platform;

    #[test]
    fn limits_are_in_utf16_code_units_and_hashtags_give_way() {
        let mut post = post(Platform::TikTok);
        // One character, two code units.
        post.content.caption = Some("🌷".repeat(1100));
        post.content.hashtags = vec!["spring".to_owned()];
        assert_eq!(fitted_title(&post).unwrap(), "🌷".repeat(1100));
        assert!(fitted_photo_text(&post).unwrap().description.ends_with(" #spring"));
        post.content.caption = Some("🌷".repeat(1101));
        assert_eq!(fitted_title(&post).unwrap_err().category, Category::RejectedContent);
    }

    #[test]
    fn a_photos_title_is_left_out_if_it_is_too_long() {
        let mut post = post(Platform::TikTok);
        post.content.title = Some("t".repeat(90));
        assert_eq!(fitted_photo_text(&post).unwrap().title, "t".repeat(90));
        post.content.title = Some("t".repeat(91));
        assert_eq!(fitted_photo_text(&post).unwrap().title, "");
    }
}
