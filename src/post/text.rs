//! Fits texts and hashtags into a limit. A text is never shortened; hashtags are dropped from the end.

use std::collections::HashSet;

/// A text with as many of its hashtags as fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fitted {
    /// The whole text.
    pub text: String,
    /// The hashtags that do not fit, with their `#`.
    pub dropped: Vec<String>,
}

/// `text`, followed by as many missing hashtags as `fits` allows. `None` if even the text alone does not
/// fit. What has one hashtag more is expected to fit no better.
pub fn with_hashtags(text: &str, hashtags: &[String], fits: impl Fn(&str) -> bool) -> Option<Fitted> {
    let mut whole = text.trim_end().to_owned();
    if !fits(&whole) {
        return None;
    }
    let mut missing = missing_hashtags(text, hashtags).into_iter();
    let mut dropped = Vec::new();
    // `fits` is asked once for each hashtag that fits, and once more: a document can have a million of them.
    for tag in missing.by_ref() {
        let length = whole.len();
        if !whole.is_empty() {
            whole.push(' ');
        }
        whole.push_str(&tag);
        if !fits(&whole) {
            whole.truncate(length);
            dropped.push(tag);
            break;
        }
    }
    dropped.extend(missing);
    Some(Fitted { text: whole, dropped })
}

/// The hashtags with one `#` each, without empty ones, duplicates and those that the text has as whole words, in any
/// case.
fn missing_hashtags(text: &str, hashtags: &[String]) -> Vec<String> {
    let present: HashSet<String> = hashtags_in(text).map(str::to_lowercase).collect();
    let mut known = HashSet::new();
    let mut tags = Vec::new();
    for tag in hashtags {
        let bare = tag.trim().trim_start_matches('#').trim();
        let is_present = || present.contains(&bare.trim_start_matches('#').to_lowercase());
        if !bare.is_empty() && known.insert(bare.to_lowercase()) && !is_present() {
            tags.push(format!("#{bare}"));
        }
    }
    tags
}

/// The hashtags in a text, without their `#`.
pub fn hashtags_in(text: &str) -> impl Iterator<Item = &str> {
    text.split('#')
        .skip(1)
        .map(|rest| rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default())
        .filter(|tag| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use proptest::prelude::*;

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

    /// If every hashtag were compared with every other one, this test would take days.
    #[test]
    fn a_million_hashtags_are_each_looked_at_once() {
        let list: Vec<String> = (0..1_000_000).map(|number| format!("Tag{number}")).collect();
        let asked = RefCell::new(Vec::new());
        let fits = |whole: &str| {
            asked.borrow_mut().push(whole.len());
            whole.len() <= 2200
        };
        let fitted = with_hashtags("text", &list, fits).unwrap();
        assert!(fitted.text.starts_with("text #Tag0 #Tag1 ") && fitted.dropped.len() > 999_000);
        let asked = asked.into_inner();
        assert!(asked.len() < 1_000 && asked.iter().all(|length| *length < 2_300), "asked {} times", asked.len());

        let text = format!("#{}", list.join(" #").to_uppercase());
        let fitted = with_hashtags(&text, &list, |_| true).unwrap();
        assert!(fitted.text == text && fitted.dropped.is_empty(), "the text has all of them");
        assert!(with_hashtags(&text, &list, |whole| whole.len() <= 2200).is_none());
    }

    /// What fits if every number of hashtags is tried, from all of them down to none.
    fn by_trying_all(text: &str, hashtags: &[String], limit: usize) -> Option<Fitted> {
        let same = |one: &str, other: &str| one.to_lowercase() == other.to_lowercase();
        let mut tags: Vec<String> = Vec::new();
        for tag in hashtags {
            let bare = tag.trim().trim_start_matches('#').trim();
            if !bare.is_empty() && !tags.iter().any(|known| same(&known[1..], bare)) {
                tags.push(format!("#{bare}"));
            }
        }
        tags.retain(|tag| !hashtags_in(text).any(|found| same(found, tag.trim_start_matches('#'))));
        (0..=tags.len()).rev().find_map(|kept| {
            let words = [text.trim_end()].into_iter().chain(tags[..kept].iter().map(String::as_str));
            let whole = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
            (whole.chars().count() <= limit).then(|| Fitted { text: whole, dropped: tags[kept..].to_vec() })
        })
    }

    proptest! {
        #[test]
        fn as_many_are_kept_as_if_every_number_of_them_were_tried(
            text in "[aB#İß _.]{0,20}",
            list in prop::collection::vec("[aAbİiß# ]{0,4}", 0..12),
            limit in 0_usize..60,
        ) {
            let fitted = with_hashtags(&text, &list, |whole| whole.chars().count() <= limit);
            prop_assert_eq!(fitted, by_trying_all(&text, &list, limit));
        }
    }
}
