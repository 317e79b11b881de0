//! Fits texts and hashtags into a limit. A text is never shortened; hashtags are dropped from the end.

/// A text with as many of its hashtags as fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fitted {
    /// The whole text.
    pub text: String,
    /// The hashtags that do not fit, with their `#`.
    pub dropped: Vec<String>,
}

/// `text`, followed by as many missing hashtags as `fits` allows. `None` if even the text alone does not
/// fit.
pub fn with_hashtags(text: &str, hashtags: &[String], fits: impl Fn(&str) -> bool) -> Option<Fitted> {
    let mut missing = Vec::new();
    for tag in normalised(hashtags) {
        if !has_hashtag(text, &tag) {
            missing.push(tag);
        }
    }
    for kept in (0..=missing.len()).rev() {
        let mut whole = text.trim_end().to_owned();
        for tag in missing.iter().take(kept) {
            if !whole.is_empty() {
                whole.push(' ');
            }
            whole.push_str(tag);
        }
        if fits(&whole) {
            return Some(Fitted { text: whole, dropped: missing.split_off(kept) });
        }
    }
    None
}

/// The hashtags with one `#` each, without empty ones and duplicates.
fn normalised(hashtags: &[String]) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    for tag in hashtags {
        let bare = tag.trim().trim_start_matches('#').trim();
        let is_known = tags.iter().any(|known| known.get(1..).is_some_and(|known| same(known, bare)));
        if !bare.is_empty() && !is_known {
            tags.push(format!("#{bare}"));
        }
    }
    tags
}

/// Whether the text has this hashtag (with its `#`) as a whole word, in any case.
fn has_hashtag(text: &str, tag: &str) -> bool {
    hashtags_in(text).any(|found| same(found, tag.trim_start_matches('#')))
}

/// The hashtags in a text, without their `#`.
pub fn hashtags_in(text: &str) -> impl Iterator<Item = &str> {
    text.split('#')
        .skip(1)
        .map(|rest| rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default())
        .filter(|tag| !tag.is_empty())
}

fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(list: &[&str]) -> Vec<String> {
        list.iter().map(|tag| (*tag).to_owned()).collect()
    }

    #[test]
    fn hashtags_get_their_mark_and_follow_the_text() {
        let fitted = with_hashtags("Hello", &tags(&["one", "#two", " ", "ONE"]), |_| true).unwrap();
        assert_eq!(fitted.text, "Hello #one #two");
    }

    #[test]
    fn a_hashtag_that_the_text_has_is_left_out_but_not_for_its_beginning() {
        let fitted = with_hashtags("Hello #One and #catalogue", &tags(&["one", "cat"]), |_| true).unwrap();
        assert_eq!(fitted.text, "Hello #One and #catalogue #cat");
    }

    #[test]
    fn hashtags_are_dropped_from_the_end_and_the_text_is_never_cut() {
        let list = tags(&["aa", "bb", "cc"]);
        let fitted = with_hashtags("text", &list, |text| text.len() <= 12).unwrap();
        assert_eq!(fitted.text, "text #aa #bb");
        assert_eq!(fitted.dropped, ["#cc"]);
        assert_eq!(with_hashtags("text", &list, |text| text.len() <= 3), None);
    }

    #[test]
    fn without_a_text_the_hashtags_stand_alone() {
        assert_eq!(with_hashtags("", &tags(&["a", "b"]), |_| true).unwrap().text, "#a #b");
    }
}
