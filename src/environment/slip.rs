//! Names that were probably meant to be one of ours.

/// Shorter names are not compared: too many are alike.
const SHORTEST: usize = 8;

/// How many characters at the beginning names share that differ in two places.
const SHARED: usize = 4;

/// How far `written` is from `meant`, if it is a slip of the pen: one or two edits, a transposition being one.
pub(super) fn slip(written: &str, meant: &str) -> Option<usize> {
    if written.len() < SHORTEST || written.len().abs_diff(meant.len()) > 2 {
        return None;
    }
    let (mut written, mut meant) = (written.as_bytes(), meant.as_bytes());
    let mut shared: usize = 0;
    while let ([one, rest @ ..], [other, others @ ..]) = (written, meant)
        && one == other
    {
        (written, meant) = (rest, others);
        shared += 1;
    }
    while let ([rest @ .., one], [others @ .., other]) = (written, meant)
        && one == other
    {
        (written, meant) = (rest, others);
    }
    // Every setting is compared with every name that is not one of ours, so most pairs have to end here.
    if shared < SHARED && written.len().max(meant.len()) > 2 {
        return None;
    }
    match distance(written, meant) {
        1 => Some(1),
        2 if shared >= SHARED => Some(2),
        _ => None,
    }
}

/// The number of insertions, deletions, substitutions and transpositions of neighbours between two names.
fn distance(from: &[u8], to: &[u8]) -> usize {
    let mut before_last = vec![0; to.len() + 1];
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (row, byte) in from.iter().enumerate() {
        let mut current = vec![row + 1; to.len() + 1];
        for (column, other) in to.iter().enumerate() {
            let changed = last[column] + usize::from(byte != other);
            let mut fewest = changed.min(last[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && *byte == to[column - 1] && from[row - 1] == *other {
                fewest = fewest.min(before_last[column - 1] + 1);
            }
            current[column + 1] = fewest;
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_or_two_edits_are_a_slip() {
        for (written, meant, far) in [
            ("POST_RETRY_INTERVALL_MINUTES", "POST_RETRY_INTERVAL_MINUTES", Some(1)),
            ("TIKTOK_REFRESH_TOKN", "TIKTOK_REFRESH_TOKEN", Some(1)),
            ("TIKTOK_REFERSH_TOKN", "TIKTOK_REFRESH_TOKEN", Some(2)),
            ("MAX_POST_RETREIS", "MAX_POST_RETRIES", Some(1)),
            ("MAX_POST_RETIRES", "MAX_POST_RETRIES", Some(1)),
            ("MONGO_URI", "MONGODB_URI", Some(2)),
            ("OST_RETRY_GAP", "POST_RETRY_GAP", Some(1)),
            ("TIKTOK_CLIENT_ID", "TIKTOK_CLIENT_KEY", None),
            ("HTTP_PORT", "HTTP_TIMEOUT", None),
            ("OURS_ABC", "YOURS_ABX", None),
            ("A_NAME", "A_NAMES", None),
        ] {
            assert_eq!(slip(written, meant), far, "{written}");
        }
    }
}
