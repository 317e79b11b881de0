//! The title, description and tags of a video, within YouTube's limits: the resource "Videos" on
//! <https://developers.google.com>.

use std::collections::HashSet;

use super::YouTubeSettings;
use super::api::{NewSnippet, NewStatus, NewVideo};
use crate::post::{Category, Failure, Post, with_hashtags};

/// The longest title, in characters.
const TITLE: usize = 100;
/// The longest description, in bytes.
const DESCRIPTION: usize = 5000;
/// The most characters of all tags together, with the commas between them and the quotes around tags with spaces.
const TAGS: usize = 500;

pub(super) fn new_video<'a>(post: &Post, settings: &'a YouTubeSettings) -> Result<NewVideo<'a>, Failure> {
    Ok(NewVideo {
        snippet: NewSnippet {
            title: title(post)?,
            description: description(post)?,
            tags: tags(&post.content.hashtags),
            category_id: &settings.category_id,
        },
        status: NewStatus {
            privacy_status: &settings.privacy_status,
            self_declared_made_for_kids: settings.made_for_kids,
            contains_synthetic_media: post.content.is_ai_generated.then_some(true),
        },
    })
}

/// The title, else the first line of the caption.
pub(super) fn title(post: &Post) -> Result<String, Failure> {
    let content = &post.content;
    let caption_line = || content.caption.as_deref().and_then(|caption| caption.trim().lines().next());
    let title = unbracketed(content.title.as_deref().or_else(caption_line).unwrap_or_default().trim());
    let length = title.chars().count();
    let refused = |message: String| Err(Failure::new(Category::RejectedContent, message).not_retryable());
    match length {
        0 => refused("the post has neither a title nor a caption, and YouTube requires a title".to_owned()),
        1..=TITLE => Ok(title),
        _ => refused(format!("the title has {length} characters, YouTube allows {TITLE}; shorten it")),
    }
}

/// The description, else the caption, and as many hashtags as fit.
fn description(post: &Post) -> Result<String, Failure> {
    let content = &post.content;
    let text = unbracketed(content.description.as_deref().or(content.caption.as_deref()).unwrap_or_default());
    let hashtags: Vec<String> = content.hashtags.iter().map(|tag| unbracketed(tag)).collect();
    let fitted = with_hashtags(&text, &hashtags, |text| text.len() <= DESCRIPTION).ok_or_else(|| {
        let message = format!("the description has {} bytes, YouTube allows {DESCRIPTION}; shorten it", text.len());
        Failure::new(Category::RejectedContent, message).not_retryable()
    })?;
    if !fitted.dropped.is_empty() {
        log::debug!("post {}: left out for YouTube's limit: {}", post.id, fitted.dropped.join(" "));
    }
    Ok(fitted.text)
}

/// As many hashtags as fit, without their mark.
fn tags(hashtags: &[String]) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    let mut known = HashSet::new();
    let mut used = 0;
    for tag in hashtags {
        let tag = unbracketed(tag.trim().trim_start_matches('#').trim());
        let quotes = if tag.contains(' ') { 2 } else { 0 };
        let comma = usize::from(!tags.is_empty());
        let cost = tag.chars().count() + quotes + comma;
        if used + cost > TAGS {
            break;
        }
        if !tag.is_empty() && known.insert(tag.clone()) {
            used += cost;
            tags.push(tag);
        }
    }
    tags
}

/// YouTube refuses angle brackets; their look-alikes read the same.
fn unbracketed(text: &str) -> String {
    text.replace('<', "‹").replace('>', "›")
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;
    use url::Url;

    use super::*;
    use crate::platform::Origin;
    use crate::post::{PostDraft, PostId};

    fn post(title: Option<&str>, description: Option<&str>, caption: Option<&str>, hashtags: &[&str]) -> Post {
        let mut draft = PostDraft::new(PostId::from_text("1"));
        draft.platform = Some("youtube_shorts".to_owned());
        draft.content.title = title.map(str::to_owned);
        draft.content.description = description.map(str::to_owned);
        draft.content.caption = caption.map(str::to_owned);
        draft.content.hashtags = hashtags.iter().map(|tag| (*tag).to_owned()).collect();
        draft.check().unwrap()
    }

    #[test]
    fn the_label_for_ai_content_is_sent_only_for_such_content() {
        let address = Url::parse("https://www.googleapis.com").unwrap();
        let settings = YouTubeSettings {
            api: Origin::of_platform(address.clone()),
            token_url: address,
            client_id: "id".to_owned(),
            client_secret: SecretString::from("secret"),
            refresh_token: SecretString::from("refresh"),
            privacy_status: "public".to_owned(),
            category_id: "22".to_owned(),
            made_for_kids: false,
        };
        let mut post = post(Some("A title"), None, None, &[]);
        assert_eq!(new_video(&post, &settings).unwrap().status.contains_synthetic_media, None);
        post.content.is_ai_generated = true;
        assert_eq!(new_video(&post, &settings).unwrap().status.contains_synthetic_media, Some(true));
    }

    #[test]
    fn the_title_is_the_title_else_the_captions_first_line() {
        assert_eq!(title(&post(Some("A <b>"), None, Some("x"), &[])).unwrap(), "A ‹b›");
        assert_eq!(title(&post(None, None, Some("first\nsecond"), &[])).unwrap(), "first");
        assert_eq!(title(&post(Some(&"é".repeat(100)), None, None, &[])).unwrap().chars().count(), 100);
        for refused in [post(Some(&"é".repeat(101)), None, None, &[]), post(None, Some("text"), None, &[])] {
            assert_eq!(title(&refused).unwrap_err().category, Category::RejectedContent);
        }
    }

    #[test]
    fn the_description_counts_bytes_and_drops_hashtags_from_the_end() {
        let text = "é".repeat(2496);
        let fitted = description(&post(None, Some(&text), None, &["one", "two", "three"])).unwrap();
        assert_eq!(fitted, format!("{text} #one"));
        let too_long = post(None, Some(&"é".repeat(2501)), None, &[]);
        assert_eq!(description(&too_long).unwrap_err().category, Category::RejectedContent);
    }

    #[test]
    fn tags_cost_their_commas_and_quotes() {
        let long = "x".repeat(250);
        let with_blank = format!("{} {}", "y".repeat(100), "y".repeat(145));
        // 250 + a comma + 246 + two quotes = 499.
        assert_eq!(tags(&[format!("#{long}"), with_blank.clone(), "z".to_owned()]), [long.clone(), with_blank]);
        assert_eq!(tags(&[long.clone(), "w".repeat(249), "z".to_owned()]).len(), 2);
        assert_eq!(tags(&[long, "w".repeat(250)]).len(), 1);
    }
}
