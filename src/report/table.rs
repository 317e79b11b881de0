//! Tables without borders that fit a width. No other module uses the table library.

use comfy_table::{Attribute, Cell as StyledCell, CellAlignment, Color, presets};
use unicode_width::UnicodeWidthStr;

use super::text::{char_width, has_url, words, wrapped};
use super::{Paint, Screen};
use crate::post::one_line;

/// The alignment of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// What happens to a column if the screen is too narrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Give {
    /// Its cells are never cut.
    Nothing,
    /// Its cells are cut, but not to fewer characters than this, and not if they have an address. If that is still too
    /// wide, they move below the row.
    Room(usize),
    /// Its cells are never cut: they have two lines each, or move below the row.
    Lines,
    /// Its cells move below the row as they are.
    Place,
    /// It is left out.
    All,
}

/// A column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    title: &'static str,
    align: Align,
    give: Give,
}

impl Column {
    /// A column of words that are never cut.
    pub(super) const fn whole(title: &'static str) -> Self {
        Self { title, align: Align::Left, give: Give::Nothing }
    }

    /// A column of words that may be cut, but not to fewer characters than this.
    pub(super) const fn flexible(title: &'static str, least: usize) -> Self {
        Self { title, align: Align::Left, give: Give::Room(least) }
    }

    /// A column of sentences, such as errors, whose ends matter too. They are broken into lines instead of being cut.
    pub(super) const fn sentences(title: &'static str) -> Self {
        Self { title, align: Align::Left, give: Give::Lines }
    }

    /// A column of numbers.
    pub(super) const fn number(title: &'static str) -> Self {
        Self { title, align: Align::Right, give: Give::Nothing }
    }

    /// A column of bars, which is left out if there is no room.
    pub(super) const fn picture() -> Self {
        Self { title: "", align: Align::Left, give: Give::All }
    }

    /// Marks that the column may move below the rows. The rightmost of these columns moves first.
    #[must_use]
    pub(super) const fn movable(self) -> Self {
        Self { give: Give::Place, ..self }
    }

    /// Marks that the column is left out if the others then fit beside each other. The rightmost of these columns is
    /// left out first.
    #[must_use]
    pub(super) const fn dispensable(self) -> Self {
        Self { give: Give::All, ..self }
    }
}

/// A cell: its text and how it is painted.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    text: String,
    paint: Paint,
}

impl Cell {
    /// A text that is painted.
    pub(super) fn painted(text: impl Into<String>, paint: Paint) -> Self {
        // Texts from documents and platforms can contain anything, including terminal escape sequences.
        Self { text: one_line(&text.into(), MAX_CELL_CHARS), paint }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::painted(text, Paint::Plain)
    }
}

/// Rows under headings.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

/// Spaces between two columns.
const GAP: usize = 2;

/// Spaces before a line below a row.
const INDENT: usize = 2;

/// What stands between two cells in one line below a row.
const SEPARATOR: &str = " · ";

/// How many lines a sentence may have in its cell. With more, a row is hard to tell from the next one.
const CELL_LINES: usize = 2;

/// The narrowest cell of a sentence that is broken into lines.
const LEAST_CELL: usize = 30;

/// How many lines a text may have below a row before it is cut.
const MAX_LINES: usize = 3;

/// The same for sentences. A platform's own words in an error have at most 400 characters, and what to do follows them.
const MAX_SENTENCE_LINES: usize = 10;

/// The longest cell, in characters, even where nothing has to fit. Our own errors are no longer.
const MAX_CELL_CHARS: usize = 1_000;

/// The widest id that is never cut: as wide as the longest that is shown. Terminals break such a line, and it can still
/// be copied.
const WIDEST_ID: usize = 80;

/// The layout of a table.
#[derive(Debug)]
enum Layout {
    /// Rows under headings, with the width of each column. The others are left out.
    Rows(Vec<Option<usize>>),
    /// The same, but the other columns are below the rows.
    RowsAndLines(Vec<Option<usize>>),
    /// Each row is its first cell and lines with the others.
    Blocks,
}

impl Table {
    /// An empty table.
    pub(super) fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row with a cell for each column.
    pub(super) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }

    /// Whether there is no row.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table's text. No line is wider than the screen, unless an address or the first column needs more.
    pub(super) fn text(&self, screen: Screen) -> String {
        match (self.layout(screen.width), screen.width) {
            (Layout::Rows(widths), _) => self.grid(&widths, screen).concat(),
            (Layout::RowsAndLines(widths), Some(width)) => {
                let mut lines = self.grid(&widths, screen).into_iter();
                let mut text = lines.next().unwrap_or_default();
                for (row, line) in self.rows.iter().zip(lines) {
                    text.push_str(&line);
                    text.push_str(&self.below(row, |index| widths[index].is_none(), width, screen.has_color));
                }
                text
            }
            (Layout::RowsAndLines(_) | Layout::Blocks, width) => {
                let block = |row: &Vec<Cell>| {
                    let width = width.unwrap_or(usize::MAX);
                    let name = cut(row.first().map_or("", |cell| &cell.text), width.max(WIDEST_ID));
                    let name = Paint::Heading.on(&name, screen.has_color);
                    format!("{name}\n{}", self.below(row, |index| index > 0, width, screen.has_color))
                };
                self.rows.iter().map(block).collect()
            }
        }
    }

    /// The lines of the heading and of the rows, with the columns that have a width. Only a sentence that is wider than
    /// its column needs more than one line.
    fn grid(&self, widths: &[Option<usize>], screen: Screen) -> Vec<String> {
        let indices: Vec<usize> = (0..self.columns.len()).filter(|index| widths[*index].is_some()).collect();
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).force_no_tty();
        if screen.has_color {
            table.enforce_styling();
        }
        let heading = |index: &usize| styled(&self.columns[*index].title.to_uppercase(), Paint::Heading);
        table.set_header(indices.iter().map(heading));
        for row in &self.rows {
            let cell = |index: &usize| {
                let (cell, width) = (&row[*index], widths[*index].unwrap_or_default());
                let text = match self.columns[*index].give {
                    Give::Lines if cell.text.width() > width => wrapped(&cell.text, Some(width), 0),
                    _ => cut(&cell.text, width),
                };
                styled(&text, cell.paint)
            };
            table.add_row(indices.iter().map(cell).collect::<Vec<_>>());
        }
        for (place, index) in indices.iter().enumerate() {
            if let Some(column) = table.column_mut(place) {
                let gap = if place + 1 == indices.len() { 0 } else { GAP };
                column.set_padding((0, u16::try_from(gap).unwrap_or(2)));
                if self.columns[*index].align == Align::Right {
                    column.set_cell_alignment(CellAlignment::Right);
                }
            }
        }
        table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }

    /// The chosen cells of a row, each after its title: as many in a line as fit, and those that do not fit into one
    /// in lines of their own.
    fn below(&self, row: &[Cell], is_chosen: impl Fn(usize) -> bool, width: usize, has_color: bool) -> String {
        let (mut text, mut used) = (String::new(), 0);
        for (index, (column, cell)) in self.columns.iter().zip(row).enumerate() {
            if !is_chosen(index) || column.title.is_empty() || cell.text.is_empty() {
                continue;
            }
            let plain = format!("{}: {}", column.title, cell.text);
            let painted = format!("{}: {}", column.title, cell.paint.on(&cell.text, has_color));
            if used > 0 && used + SEPARATOR.width() + plain.width() <= width {
                text.push_str(&format!("{SEPARATOR}{painted}"));
                used += SEPARATOR.width() + plain.width();
                continue;
            }
            if used > 0 {
                text.push('\n');
            }
            if INDENT + plain.width() <= width {
                text.push_str(&format!("{:INDENT$}{painted}", ""));
                used = INDENT + plain.width();
            } else {
                let most = if column.give == Give::Lines { MAX_SENTENCE_LINES } else { MAX_LINES };
                text.push_str(&folded(&plain, width, most));
                used = 0;
            }
        }
        if used > 0 {
            text.push('\n');
        }
        text
    }

    fn natural_width(&self, index: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[index].text.width());
        cells.chain([self.columns[index].title.width()]).max().unwrap_or(0)
    }

    /// The smallest width of a column in a row.
    fn least_width(&self, index: usize) -> usize {
        match self.columns[index].give {
            Give::Room(least) => {
                let texts = self.rows.iter().map(|row| row[index].text.as_str());
                let addresses = texts.filter(|text| has_url(text)).map(UnicodeWidthStr::width);
                addresses.chain([least, self.columns[index].title.width()]).max().unwrap_or(least)
            }
            Give::Lines => {
                let cells = self.rows.iter().map(|row| narrowest(&row[index].text));
                cells.chain([LEAST_CELL]).max().unwrap_or(LEAST_CELL)
            }
            Give::Nothing | Give::Place | Give::All => self.natural_width(index),
        }
    }

    /// Each column gets its natural width, and those that may be cut or have lines share the rest. If that is not
    /// enough, columns are left out; if that is not enough either, none is, but some are below the rows, or all.
    fn layout(&self, width: Option<usize>) -> Layout {
        let natural: Vec<Option<usize>> =
            (0..self.columns.len()).map(|index| Some(self.natural_width(index))).collect();
        let Some(width) = width else { return Layout::Rows(natural) };
        let least: Vec<usize> = (0..self.columns.len()).map(|index| self.least_width(index)).collect();
        let mut shown = natural.clone();
        loop {
            let mut widths = shown.clone();
            shrink(&mut widths, &least, width);
            if total(&widths) <= width {
                return Layout::Rows(widths);
            }
            let may_go = |index: &usize| self.columns[*index].give == Give::All && shown[*index].is_some();
            let Some(index) = (0..shown.len()).rev().find(may_go) else { break };
            shown[index] = None;
        }
        let mut widths = natural;
        for (column, width) in self.columns.iter().zip(&mut widths) {
            if matches!(column.give, Give::Room(_) | Give::Lines) || column.title.is_empty() {
                *width = None;
            }
        }
        for index in (0..widths.len()).rev() {
            if matches!(self.columns[index].give, Give::Place | Give::All) && total(&widths) > width {
                widths[index] = None;
            }
        }
        if total(&widths) <= width { Layout::RowsAndLines(widths) } else { Layout::Blocks }
    }
}

/// Makes the widest of the columns that may be narrower so, until all fit or none may be any narrower.
fn shrink(widths: &mut [Option<usize>], least: &[usize], width: usize) {
    while total(widths) > width {
        let may_shrink = |index: &usize| widths[*index].is_some_and(|width| width > least[*index]);
        let widest = (0..widths.len()).filter(may_shrink).max_by_key(|index| widths[*index]);
        let Some(index) = widest else { break };
        widths[index] = widths[index].map(|width| width - 1);
    }
}

/// The width of a row with these columns.
fn total(widths: &[Option<usize>]) -> usize {
    widths.iter().flatten().map(|width| width + GAP).sum::<usize>().saturating_sub(GAP)
}

/// The fewest columns in which a sentence fits into its cell with every word whole.
fn narrowest(text: &str) -> usize {
    let whole = text.width();
    let widest = words(text, usize::MAX).iter().map(|word| word.width()).max().unwrap_or(0);
    let mut width = widest.max(whole.div_ceil(CELL_LINES));
    while width < whole && wrapped(text, Some(width), 0).lines().count() > CELL_LINES {
        width += 1;
    }
    width
}

/// A text in lines below a row. It is cut if it has more than `most`, unless it has an address.
fn folded(text: &str, width: usize, most: usize) -> String {
    let room = width.saturating_sub(INDENT);
    let lines = wrapped(text, Some(room), INDENT);
    let mut lines: Vec<String> = lines.lines().map(str::to_owned).collect();
    if lines.len() > most && !has_url(text) {
        let rest = lines.split_off(most);
        if let (Some(last), Some(next)) = (lines.last_mut(), rest.first()) {
            *last = cut(&format!("{last} {}", next.trim_start()), room);
        }
    }
    lines.iter().map(|line| format!("{:INDENT$}{line}\n", "")).collect()
}

fn styled(text: &str, paint: Paint) -> StyledCell {
    let cell = StyledCell::new(text);
    match paint {
        Paint::Plain => cell,
        Paint::Heading => cell.add_attribute(Attribute::Bold),
        // The same colours as those of `Paint::on`.
        Paint::Good => cell.fg(Color::DarkGreen),
        Paint::Warning => cell.fg(Color::DarkYellow),
        Paint::Bad => cell.fg(Color::DarkRed),
    }
}

/// A text of at most this many terminal columns. The last character is … if the text was cut.
pub(super) fn cut(text: &str, limit: usize) -> String {
    if text.width() <= limit {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut width = 0;
    for c in text.chars() {
        let more = char_width(c);
        if width + more > limit.saturating_sub(1) {
            break;
        }
        width += more;
        kept.push(c);
    }
    kept.push('…');
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(width: usize) -> Screen {
        Screen { width: Some(width), has_color: false }
    }

    fn table() -> Table {
        let columns = [
            Column::whole("id"),
            Column::number("n"),
            Column::whole("when").movable(),
            Column::whole("more").dispensable(),
            Column::flexible("title", 6),
        ];
        let mut table = Table::new(&columns);
        let title = "a long explanation of what went wrong";
        table.row(["65f0a1".into(), "1".into(), "in 2 h".into(), "yes".into(), title.into()]);
        table.row(["x".into(), "12".into(), "now".into(), "".into(), "日本語の説明が続きます 👩‍👩‍👧‍👦".into()]);
        table
    }

    #[test]
    fn a_table_keeps_within_its_width_and_cuts_only_what_may_be_cut() {
        for width in 14..80 {
            let text = table().text(screen(width));
            assert!(text.lines().all(|line| line.width() <= width), "{width}:\n{text}");
            assert!(text.contains("65f0a1") && text.contains("in 2 h"), "{width}:\n{text}");
        }
        let text = table().text(screen(38));
        assert_eq!(
            text,
            "ID       N  WHEN    MORE  TITLE\n65f0a1   1  in 2 h  yes   a long expl…\nx       12  now           \
             日本語の説…\n"
        );
    }

    #[test]
    fn on_a_narrow_screen_what_is_dispensable_is_left_out_and_the_rest_moves_below_its_row() {
        let text = table().text(screen(30));
        assert_eq!(text, "ID       N  WHEN    TITLE\n65f0a1   1  in 2 h  a long ex…\nx       12  now     日本語の…\n");
        let text = table().text(screen(24));
        assert_eq!(
            text,
            "ID       N  WHEN    MORE\n65f0a1   1  in 2 h  yes\n  title: a long\n    explanation of what\n    went \
             wrong\nx       12  now\n  title:\n    日本語の説明が続きま\n    す 👩‍👩‍👧‍👦\n"
        );
        let text = table().text(screen(9));
        assert!(text.starts_with("65f0a1\n  n: 1\n  when:\n    in 2\n    h\n"), "{text}");
    }

    fn errors(errors: &[&str]) -> Table {
        let columns = [Column::whole("id"), Column::flexible("title", 6), Column::sentences("error")];
        let mut table = Table::new(&columns);
        for error in errors {
            table.row(["65f0a1".into(), "Spring in the garden".into(), (*error).into()]);
        }
        table
    }

    #[test]
    fn an_error_is_never_cut_it_has_two_lines_in_its_row_or_is_below_it() {
        let error = "Instagram did not respond to the request to create a container";
        let address = "it is at `https://www.instagram.com/reel/18010000000000006/` already";
        let table = errors(&[error, "the first failure", address]);
        for width in 20..160 {
            let text = table.text(screen(width));
            let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
            for whole in [error, "the first failure", address] {
                assert!(flat.contains(whole), "{whole}, {width}:\n{text}");
            }
            assert!(text.lines().all(|line| !line.contains('…') || line.starts_with("65f0a1")), "{width}:\n{text}");
            let fits = |line: &str| line.width() <= width || line.contains("://");
            assert!(text.lines().all(fits), "{width}:\n{text}");
        }
        // The title is cut before the error moves.
        assert_eq!(
            errors(&[error]).text(screen(60)),
            "ID      TITLE               ERROR\n65f0a1  Spring in the gar…  Instagram did not respond to the\n\
             \x20                           request to create a container\n"
        );
        assert_eq!(
            errors(&[error]).text(screen(47)),
            "ID\n65f0a1\n  title: Spring in the garden\n  error: Instagram did not respond to the\n    request to \
             create a container\n"
        );
    }

    #[test]
    fn a_command_in_an_error_is_not_broken() {
        let table = errors(&["TikTok knows it, `postretry reset --posted 65f0a1b2c3d4` records that"]);
        for width in 44..120 {
            let text = table.text(screen(width));
            assert!(text.contains("`postretry reset --posted 65f0a1b2c3d4`"), "{width}:\n{text}");
        }
    }

    #[test]
    fn an_error_without_an_end_is_cut() {
        let text = errors(&["word ".repeat(200).trim_end()]).text(screen(60));
        assert!(text.lines().count() == 3 + MAX_SENTENCE_LINES && text.ends_with("…\n"), "{text}");
    }

    #[test]
    fn a_long_text_below_a_row_is_cut_but_never_an_address() {
        let mut table = Table::new(&[Column::whole("id"), Column::flexible("title", 10)]);
        let address = format!("https://example.com/{}", "a".repeat(60));
        table.row(["65f0a1b2c3d4e5f6a7b8c9d0".into(), address.clone().into()]);
        table.row(["65f0a1b2c3d4e5f6a7b8c9d1".into(), "word ".repeat(60).trim_end().into()]);
        for width in 20..120 {
            assert!(table.text(screen(width)).contains(&address), "{width}");
        }
        let text = table.text(screen(40));
        let last = text.lines().last().unwrap();
        assert!(text.lines().count() == 8 && last.ends_with('…') && last.width() <= 40, "{text}");
    }

    #[test]
    fn an_id_that_is_a_hash_with_its_name_is_never_cut() {
        let mut table = table();
        let id = format!("sha256:{}", "0a".repeat(32));
        table.row([id.clone().into(), "1".into(), "in 2 h".into(), "yes".into(), "".into()]);
        for width in 20..160 {
            assert!(table.text(screen(width)).contains(&id), "{width}");
        }
    }

    #[test]
    fn whatever_a_cell_contains_a_table_keeps_within_its_width() {
        let nasty: [&str; 5] = [
            "\u{1b}[31mred\u{1b}[0m\nnext\u{202e}",
            &"\u{301}".repeat(5_000),
            &"❤\u{fe0f}".repeat(300),
            &"日本".repeat(300),
            &"w".repeat(5_000),
        ];
        let mut table = Table::new(&[Column::whole("id"), Column::flexible("title", 10), Column::sentences("error")]);
        for text in nasty {
            table.row([text.into(), text.into(), format!("a {text}").into()]);
        }
        for width in [60, 80, 140] {
            let text = table.text(screen(width));
            let widest = text.lines().map(UnicodeWidthStr::width).max();
            assert!(widest <= Some(width.max(WIDEST_ID)), "{width}:\n{text}");
            assert!(text.len() < 16_000 && text.contains("\\u{1b}[31mred"), "{text}");
        }
        assert!(table.text(Screen::default()).len() < 64_000);
    }

    #[test]
    fn without_a_width_nothing_is_cut() {
        assert!(table().text(Screen::default()).contains("what went wrong"));
    }

    #[test]
    fn colour_changes_nothing_but_the_colour() {
        let mut table = table();
        table.row([Cell::painted("bad", Paint::Bad), "1".into(), "".into(), "".into(), "".into()]);
        let colored = table.text(Screen { width: Some(40), has_color: true });
        assert!(colored.contains("\u{1b}[38;5;1m") || colored.contains("\u{1b}[31m"), "{colored:?}");
        let mut plain = String::new();
        let mut rest = colored.as_str();
        while let Some((before, after)) = rest.split_once('\u{1b}') {
            plain.push_str(before);
            rest = after.split_once('m').map_or("", |(_, after)| after);
        }
        plain.push_str(rest);
        let trimmed: String = plain.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        assert_eq!(trimmed, table.text(screen(40)));
    }
}
