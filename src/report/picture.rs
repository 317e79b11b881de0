//! Bars and curves of block characters.

/// The columns of a full bar.
pub(super) const BAR_WIDTH: u64 = 10;

/// A bar of one column, from an eighth to a whole.
const PARTS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// A point of a curve, from an eighth to a whole.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A point of a curve where there is nothing.
const NOTHING: char = '·';

/// A bar as long as `count` is of `most`. Whatever is not zero can be seen.
pub(super) fn bar(count: u64, most: u64) -> String {
    let eighths = scaled(count, most, BAR_WIDTH * 8);
    let (whole, part) = (eighths / 8, eighths % 8);
    let mut bar: String = (0..whole).map(|_| '█').collect();
    bar.extend(one_of(&PARTS, part));
    bar
}

/// A point for each count, as high as it is of `most`.
pub(super) fn curve(counts: &[u64], most: u64) -> String {
    counts.iter().map(|count| one_of(&LEVELS, scaled(*count, most, 8)).unwrap_or(NOTHING)).collect()
}

/// The share of `count` in `most`, in so many steps; at least one if it is not zero.
fn scaled(count: u64, most: u64, steps: u64) -> u64 {
    if count == 0 || most == 0 {
        return 0;
    }
    let share = u128::from(count.min(most)) * u128::from(steps) / u128::from(most);
    u64::try_from(share).unwrap_or(steps).max(1)
}

/// The character for so many eighths; none for zero.
fn one_of(characters: &[char; 8], eighths: u64) -> Option<char> {
    let index = usize::try_from(eighths.checked_sub(1)?).ok()?;
    characters.get(index).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_in_proportion_and_show_whatever_is_not_zero() {
        assert_eq!(bar(0, 10), "");
        assert_eq!(bar(1, 1_000_000), "▏");
        assert_eq!(bar(1, 4), "██▌");
        assert_eq!(bar(7, 7), "██████████");
        assert_eq!(bar(u64::MAX, u64::MAX), "██████████");
        assert_eq!(bar(3, 0), "");
    }

    #[test]
    fn curves_have_a_point_for_each_count() {
        assert_eq!(curve(&[0, 1, 4, 8], 8), "·▁▄█");
        assert_eq!(curve(&[0, 0], 0), "··");
    }
}
