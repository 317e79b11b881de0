//! The caption, within Instagram's limits (platform sheet, section 2).

use crate::post::{Category, Failure, Post, hashtags_in, with_hashtags};

const MAX_CHARACTERS: usize = 2200;
const MAX_HASHTAGS: usize = 30;
const MAX_MENTIONS: usize = 20;

/// The caption and as many hashtags as fit.
pub(super) fn fitted_caption(post: &Post) -> Result<String, Failure> {
    let text = post.content.caption_text();
    let fitted = with_hashtags(text, &post.content.hashtags, fits).ok_or_else(|| {
        let message = format!(
            "the caption has {} characters, {} hashtags and {} mentions; Instagram allows {MAX_CHARACTERS}, \
             {MAX_HASHTAGS} and {MAX_MENTIONS}; shorten it",
            text.chars().count(),
            hashtags_in(text).count(),
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
    text.chars().count() <= MAX_CHARACTERS
        && hashtags_in(text).count() <= MAX_HASHTAGS
        && mentions(text) <= MAX_MENTIONS
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
        let full = ["#a"; 30].join(" ");
        assert_eq!(caption(&full, &["one"]).unwrap(), full);
    }

    #[test]
    fn a_caption_beyond_a_limit_is_rejected() {
        for text in ["x".repeat(2201), ["#a"; 31].join(" "), ["@a"; 21].join(" ")] {
            let failure = caption(&text, &[]).unwrap_err();
            assert_eq!(failure.category, Category::RejectedContent, "{}", failure.message);
        }
        assert!(caption(&"a@b @ ".repeat(30), &[]).is_ok(), "these are no mentions");
    }
}
