//! The caption, within Instagram's limits: "IG User Media" on <https://developers.facebook.com>.

use crate::post::{Category, Failure, Post, hashtags_in, with_hashtags};

const MAX_CHARACTERS: usize = 2200;
/// Those in the text counted. The API's pages still name 30, but Instagram has allowed no more than five since December
/// 2025.
const MAX_HASHTAGS: usize = 5;
const MAX_MENTIONS: usize = 20;

/// The caption and as many hashtags as fit. A text with too many hashtags of its own goes as it is.
pub(super) fn fitted_caption(post: &Post) -> Result<String, Failure> {
    let text = post.content.caption_text();
    let fitted = with_hashtags(text, &post.content.hashtags, |whole| {
        let is_text_alone = whole.len() == text.trim_end().len();
        fits(whole) && (is_text_alone || hashtags_in(whole).count() <= MAX_HASHTAGS)
    });
    let fitted = fitted.ok_or_else(|| {
        let message = format!(
            "the caption has {} characters and {} mentions; Instagram allows {MAX_CHARACTERS} and {MAX_MENTIONS}; \
             shorten it",
            text.chars().count(),
            mentions(text)
        );
        Failure::new(Category::RejectedContent, message).not_retryable()
    })?;
    if !fitted.dropped.is_empty() {
        log::debug!("post {}: left out because of Instagram's limits: {}", post.id, fitted.dropped.join(" "));
    }
    Ok(fitted.text)
}

fn fits(text: &str) -> bool {
    text.chars().count() <= MAX_CHARACTERS && mentions(text) <= MAX_MENTIONS
}

/// The number of mentions in a text: an `@` at the beginning of a word, with a name after it.
fn mentions(text: &str) -> usize {
    text.split_whitespace()
        .filter(|word| {
            word.strip_prefix('@').is_some_and(|name| name.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::test_context::post;
    use crate::post::Platform;

    fn caption(text: &str, hashtags: &[&str]) -> Result<String, Failure> {
        let mut post = post(Platform::Instagram);
        post.content.caption = Some(text.to_owned());
        post.content.hashtags = hashtags.iter().map(|tag| (*tag).to_owned()).collect();
        fitted_caption(&post)
    }

    #[test]
    fn hashtags_that_do_not_fit_are_left_out() {
        assert_eq!(caption("Hi", &["one", "two"]).unwrap(), "Hi #one #two");
        let text = "x".repeat(2195);
        assert_eq!(caption(&text, &["one", "two"]).unwrap(), format!("{text} #one"));
    }

    #[test]
    fn there_are_at_most_five_hashtags_those_in_the_text_counted() {
        let tags = ["one", "two", "three", "four", "five", "six"];
        assert_eq!(caption("Hi", &tags).unwrap(), "Hi #one #two #three #four #five");
        assert_eq!(caption("", &tags).unwrap(), "#one #two #three #four #five");
        assert_eq!(caption("Hi #a #b #c", &tags).unwrap(), "Hi #a #b #c #one #two");
        assert_eq!(caption("Hi #One #a #b #c", &tags).unwrap(), "Hi #One #a #b #c #two");
        assert_eq!(caption("#a #b #c #d #e        ", &tags).unwrap(), "#a #b #c #d #e");
        for own in [6, 31] {
            let full = vec!["#a"; own].join(" ");
            assert_eq!(caption(&full, &tags).unwrap(), full, "sent as it is, and none is added");
        }
    }

    #[test]
    fn a_caption_beyond_a_limit_is_rejected() {
        for text in ["x".repeat(2201), ["@a"; 21].join(" ")] {
            let failure = caption(&text, &[]).unwrap_err();
            assert_eq!(failure.category, Category::RejectedContent, "{}", failure.message);
        }
        assert!(caption(&"a@b @ ".repeat(30), &[]).is_ok(), "these are no mentions");
    }
}
