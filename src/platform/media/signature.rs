//! The type of a file, from its first bytes.

use crate::post::MediaKind;

/// The type of a file of this size that begins with these 16 bytes, or with fewer if it has no more.
pub(super) fn recognise(head: &[u8], size: u64) -> Option<(MediaKind, &'static str)> {
    let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    if at(4, b"ftyp") && fits_as_box(head, size) {
        // HEIC pictures and audio files use the same container.
        if [b"heic", b"heix", b"mif1", b"avif", b"M4A ", b"M4B "].iter().any(|brand| at(8, *brand)) {
            return None;
        }
        let mime = if at(8, b"qt  ") { "video/quicktime" } else { "video/mp4" };
        return Some((MediaKind::Video, mime));
    }
    // Old QuickTime files begin with one of these atoms instead.
    if [b"moov", b"mdat", b"wide", b"free", b"skip"].iter().any(|atom| at(4, *atom)) && fits_as_box(head, size) {
        return Some((MediaKind::Video, "video/quicktime"));
    }
    if at(0, &[0x1A, 0x45, 0xDF, 0xA3]) {
        return Some((MediaKind::Video, "video/webm"));
    }
    if at(0, &[0xFF, 0xD8, 0xFF]) {
        return Some((MediaKind::Image, "image/jpeg"));
    }
    if at(0, b"RIFF") && at(8, b"WEBP") {
        return Some((MediaKind::Image, "image/webp"));
    }
    if at(0, b"\x89PNG\r\n\x1a\n") {
        return Some((MediaKind::Image, "image/png"));
    }
    None
}

/// Whether the first box of the file has a size that is possible. The four letters of its type alone can stand in a
/// text: `The free …`.
fn fits_as_box(head: &[u8], size: u64) -> bool {
    let short = head.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
    let long = || head.get(8..16).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
    match short {
        // To the end of the file.
        Some(0) => true,
        Some(1) => long().is_some_and(|long| (16..=size).contains(&long)),
        Some(short) => (8..=size).contains(&u64::from(short)),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_no_video_whatever_letters_it_begins_with() {
        for text in ["The free lunch is over", "You skip", "Are wide roads better?", "1234ftypmp42", "1234moov", "free"]
        {
            assert_eq!(recognise(&text.as_bytes()[..text.len().min(16)], text.len() as u64), None, "{text}");
        }
    }

    #[test]
    fn the_first_box_of_a_video_lies_within_the_file() {
        let quicktime = Some((MediaKind::Video, "video/quicktime"));
        let long = |size: u8| [&b"\0\0\0\x01mdat\0\0\0\0\0\0\0"[..], &[size]].concat();
        for (head, recognised) in [
            (b"\0\0\0\0mdat".to_vec(), quicktime),
            (b"\0\0\0\x08wide".to_vec(), quicktime),
            (b"\0\0\0\x64free".to_vec(), quicktime),
            (b"\0\0\0\x65free".to_vec(), None),
            (b"\0\0\0\x07free".to_vec(), None),
            (b"\0\0\0\x01mdat".to_vec(), None),
            (long(100), quicktime),
            (long(101), None),
            (long(15), None),
            (b"\0\0\0\x18ftypqt  ".to_vec(), quicktime),
            (b"\0\0\0\x18ftypmp42".to_vec(), Some((MediaKind::Video, "video/mp4"))),
            (b"\0\0\0\x18ftypheic".to_vec(), None),
        ] {
            assert_eq!(recognise(&head, 100), recognised, "{head:?}");
        }
    }
}
