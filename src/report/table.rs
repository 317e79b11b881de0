//! Tables without borders that fit a width. No other module uses the table library.

use comfy_table::{Attribute, Cell as StyledCell, CellAlignment, Color, presets};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

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
    /// It is never cut.
    Nothing,
    /// Its cells are cut, but not to fewer characters than this. If that is still too wide, they move to their own line
    /// below the row.
    Room(usize),
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

    /// A column of numbers.
    pub(super) const fn number(title: &'static str) -> Self {
        Self { title, align: Align::Right, give: Give::Nothing }
    }

    /// Marks that the column is left out if there is no room. The rightmost of these columns is left out first.
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
        Self { text: one_line(&text.into(), usize::MAX), paint }
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

/// The layout of a table: the width of each visible column.
struct Layout {
    widths: Vec<Option<usize>>,
    /// Whether the cells that may be cut are below their row.
    is_stacked: bool,
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

    /// The table's text. No line is wider than the screen, unless the columns that are never cut need more.
    pub(super) fn text(&self, screen: Screen) -> String {
        let layout = self.layout(screen.width);
        let shown = |index: &usize| layout.widths[*index].is_some();
        let indices: Vec<usize> = (0..self.columns.len()).filter(shown).collect();
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).force_no_tty();
        if screen.has_color {
            table.enforce_styling();
        }
        let heading = |index: &usize| styled(&self.columns[*index].title.to_uppercase(), Paint::Heading);
        table.set_header(indices.iter().map(heading));
        for row in &self.rows {
            let cell = |index: &usize| {
                let cell = &row[*index];
                styled(&cut(&cell.text, layout.widths[*index].unwrap_or_default()), cell.paint)
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
        let mut lines = table.lines().map(|line| format!("{}\n", line.trim_end()));
        let mut text = lines.next().unwrap_or_default();
        for (row, line) in self.rows.iter().zip(lines) {
            text.push_str(&line);
            if layout.is_stacked {
                text.push_str(&self.below(row, screen.width));
            }
        }
        text
    }

    /// The cells below a row on a narrow screen: in one line, or in one line for each cell if that is too long.
    fn below(&self, row: &[Cell], width: Option<usize>) -> String {
        let flexible = self.columns.iter().zip(row).filter(|(column, _)| matches!(column.give, Give::Room(_)));
        let parts: Vec<&str> = flexible.map(|(_, cell)| cell.text.as_str()).filter(|text| !text.is_empty()).collect();
        if parts.is_empty() {
            return String::new();
        }
        let width = width.unwrap_or(usize::MAX);
        let whole = format!("  {}", parts.join(" · "));
        let lines =
            if whole.width() <= width { vec![whole] } else { parts.iter().map(|part| format!("  {part}")).collect() };
        lines.iter().map(|line| format!("{}\n", cut(line, width))).collect()
    }

    fn natural_width(&self, index: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[index].text.width());
        cells.chain([self.columns[index].title.width()]).max().unwrap_or(0)
    }

    /// Each column gets its natural width, and the columns that may be cut share the rest. If that is not enough, they
    /// move below their rows, and dispensable columns are left out.
    fn layout(&self, width: Option<usize>) -> Layout {
        let mut widths: Vec<Option<usize>> =
            (0..self.columns.len()).map(|index| Some(self.natural_width(index))).collect();
        let Some(width) = width else { return Layout { widths, is_stacked: false } };
        let total = |widths: &[Option<usize>]| {
            widths.iter().flatten().map(|width| width + GAP).sum::<usize>().saturating_sub(GAP)
        };
        while total(&widths) > width {
            // Shrink the widest column that may still shrink.
            let may_shrink = |index: &usize| match (self.columns[*index].give, widths[*index]) {
                (Give::Room(least), Some(width)) => width > least,
                _ => false,
            };
            let widest = (0..widths.len()).filter(may_shrink).max_by_key(|index| widths[*index]);
            let Some(index) = widest else { break };
            widths[index] = widths[index].map(|width| width - 1);
        }
        let is_stacked = total(&widths) > width;
        if is_stacked {
            for (column, width) in self.columns.iter().zip(&mut widths) {
                if matches!(column.give, Give::Room(_)) {
                    *width = None;
                }
            }
        }
        for index in (0..self.columns.len()).rev() {
            if self.columns[index].give == Give::All && total(&widths) > width {
                widths[index] = None;
            }
        }
        Layout { widths, is_stacked }
    }
}

fn styled(text: &str, paint: Paint) -> StyledCell {
    let cell = StyledCell::new(text);
    match paint {
        Paint::Plain => cell,
        Paint::Heading => cell.add_attribute(Attribute::Bold),
        Paint::Good => cell.fg(Color::Green),
        Paint::Warning => cell.fg(Color::Yellow),
        Paint::Bad => cell.fg(Color::Red),
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
        let more = c.width().unwrap_or(0);
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
            Column::whole("when").dispensable(),
            Column::flexible("error", 6),
        ];
        let mut table = Table::new(&columns);
        table.row(["65f0a1".into(), "1".into(), "in 2 h".into(), "a long explanation of what went wrong".into()]);
        table.row(["x".into(), "12".into(), "now".into(), "日本語の説明が続きます 👩‍👩‍👧‍👦".into()]);
        table
    }

    #[test]
    fn a_table_keeps_within_its_width_and_cuts_only_what_may_be_cut() {
        for width in 10..60 {
            let text = table().text(screen(width));
            assert!(text.lines().all(|line| line.width() <= width), "{width}:\n{text}");
            assert!(text.contains("65f0a1"));
        }
        let text = table().text(screen(32));
        assert_eq!(
            text,
            "ID       N  WHEN    ERROR\n65f0a1   1  in 2 h  a long expl…\nx       12  now     日本語の説…\n"
        );
    }

    #[test]
    fn on_a_narrow_screen_what_may_be_cut_stands_below_and_what_is_dispensable_is_left_out() {
        let text = table().text(screen(20));
        assert_eq!(
            text,
            "ID       N  WHEN\n65f0a1   1  in 2 h\n  a long explanatio…\nx       12  now\n  日本語の説明が続…\n"
        );
        assert!(!table().text(screen(12)).contains("WHEN"));
    }

    #[test]
    fn without_a_width_nothing_is_cut() {
        assert!(table().text(Screen::default()).contains("what went wrong"));
    }

    #[test]
    fn colour_changes_nothing_but_the_colour() {
        let mut table = table();
        table.row([Cell::painted("bad", Paint::Bad), "1".into(), "".into(), "".into()]);
        let colored = table.text(Screen { width: Some(40), has_color: true });
        assert!(colored.contains("\u{1b}[38;5;9m") || colored.contains("\u{1b}[31m"), "{colored:?}");
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
