//! How long a video is, as the header of an MP4 or MOV file says (ISO/IEC 14496-12, the boxes `moov` and `mvhd`).
//!
//! What the file says is not trusted: whatever does not add up is a duration that is not known.

use std::io;
use std::time::Duration;

/// A file with more boxes than this before its header is no video that anyone has made.
const MOST_BOXES: usize = 1_000;

/// A box: a type, and where its contents begin and end.
struct Found {
    kind: [u8; 4],
    contents: u64,
    end: u64,
}

/// The duration of a video file of this size, where its header tells one. `read_at` fills a buffer with the bytes from
/// an offset on.
pub(super) fn duration_of(size: u64, read_at: impl Fn(&mut [u8], u64) -> io::Result<()>) -> Option<Duration> {
    let movie = find(&read_at, *b"moov", 0, size)?;
    let header = find(&read_at, *b"mvhd", movie.contents, movie.end)?;
    let mut bytes = [0u8; 32];
    let length = usize::try_from(header.end.checked_sub(header.contents)?).unwrap_or(usize::MAX).min(bytes.len());
    read_at(&mut bytes[..length], header.contents).ok()?;
    let u32_at = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let (scale, units) = match bytes[0] {
        0 => (u32_at(12)?, u64::from(u32_at(16)?)),
        1 => (u32_at(20)?, u64::from_be_bytes(bytes.get(24..32)?.try_into().ok()?)),
        _ => return None,
    };
    // All ones say that the duration is not known.
    if scale == 0 || units == u64::MAX || (bytes[0] == 0 && units == u64::from(u32::MAX)) {
        return None;
    }
    Some(Duration::from_millis(units.checked_mul(1000)? / u64::from(scale)))
}

/// The first box of a kind between two places of the file.
fn find(
    read_at: &impl Fn(&mut [u8], u64) -> io::Result<()>,
    kind: [u8; 4],
    mut offset: u64,
    end: u64,
) -> Option<Found> {
    for _ in 0..MOST_BOXES {
        let found = read_box(read_at, offset, end)?;
        if found.kind == kind {
            return Some(found);
        }
        offset = found.end;
    }
    None
}

fn read_box(read_at: &impl Fn(&mut [u8], u64) -> io::Result<()>, offset: u64, end: u64) -> Option<Found> {
    let mut head = [0u8; 8];
    read_at(&mut head, offset).ok()?;
    let [a, b, c, d, kind @ ..] = head;
    let (size, header) = match u32::from_be_bytes([a, b, c, d]) {
        0 => (end.checked_sub(offset)?, 8),
        1 => {
            let mut large = [0u8; 8];
            read_at(&mut large, offset.checked_add(8)?).ok()?;
            (u64::from_be_bytes(large), 16)
        }
        size => (u64::from(size), 8),
    };
    let box_end = offset.checked_add(size).filter(|_| size >= header)?;
    (box_end <= end).then_some(Found { kind, contents: offset.checked_add(header)?, end: box_end })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn duration_in(file: &[u8]) -> Option<Duration> {
        duration_of(file.len() as u64, |buffer, offset| {
            let wanted = usize::try_from(offset).ok().and_then(|offset| file.get(offset..)?.get(..buffer.len()));
            buffer.copy_from_slice(wanted.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn boxed(kind: &[u8], contents: &[u8]) -> Vec<u8> {
        let size = u32::try_from(contents.len() + 8).unwrap();
        [&size.to_be_bytes(), kind, contents].concat()
    }

    fn movie(header: &[u8]) -> Vec<u8> {
        let tracks = boxed(b"trak", &[7; 40]);
        let header = boxed(b"mvhd", header);
        [boxed(b"ftyp", b"mp42\0\0\0\0"), boxed(b"mdat", &[1; 100]), boxed(b"moov", &[tracks, header].concat())]
            .concat()
    }

    fn header(version: u8, scale: u32, units: u64) -> Vec<u8> {
        let mut bytes = vec![version, 0, 0, 0];
        if version == 0 {
            bytes.extend([0; 8]);
            bytes.extend(scale.to_be_bytes());
            bytes.extend(u32::try_from(units).unwrap().to_be_bytes());
        } else {
            bytes.extend([0; 16]);
            bytes.extend(scale.to_be_bytes());
            bytes.extend(units.to_be_bytes());
        }
        bytes.extend([0; 80]);
        bytes
    }

    #[test]
    fn both_versions_of_the_header_are_read_wherever_they_stand() {
        for (version, units) in [(0, 90_500), (1, 90_500)] {
            let file = movie(&header(version, 1000, units));
            assert_eq!(duration_in(&file), Some(Duration::from_millis(90_500)));
        }
    }

    #[test]
    fn what_is_not_told_is_not_known() {
        for file in [
            Vec::new(),
            b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom".to_vec(),
            movie(&header(0, 0, 5)),
            movie(&header(0, 1000, u64::from(u32::MAX))),
            movie(&[0, 0]),
        ] {
            assert_eq!(duration_in(&file), None);
        }
    }

    proptest! {
        #[test]
        fn no_file_makes_it_panic(mut file in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..200) {
            let real = movie(&header(1, 1000, 5));
            file.splice(at.min(file.len())..at.min(file.len()), real);
            duration_in(&file);
        }
    }
}
