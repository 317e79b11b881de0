//! Tables without borders that fit a width: the only place that knows the table library.

use comfy_table::{Cell, CellAlignment, presets};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// On which side a column's cells stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its heading.
    pub title: &'static str,
    /// On which side its cells stand.
    pub align: Align,
    /// How far it may be cut; none where it must stand whole.
    pub least: Option<usize>,
}

impl Column {
    /// A column of words that stand whole.
    pub const fn whole(title: &'static str) -> Self {
        Self { title, align: Align::Left, least: None }
    }

    /// A column of words that may be cut, but not to fewer characters than these.
    pub const fn flexible(title: &'static str, least: usize) -> Self {
        Self { title, align: Align::Left, least: Some(least) }
    }

    /// A column of numbers.
    pub const fn number(title: &'static str) -> Self {
        Self { title, align: Align::Right, least: None }
    }
}

/// Rows under headings.
#[derive(Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

/// Blanks between two columns.
const GAP: usize = 2;

impl Table {
    /// An empty table.
    pub fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row with a cell for each column.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table's text. Where a width is given no line is wider, unless what must stand whole needs more.
    pub fn text(&self, width: Option<usize>) -> String {
        let limits = self.limits(width);
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).force_no_tty();
        table.set_header(self.columns.iter().map(|column| column.title.to_uppercase()));
        for row in &self.rows {
            let cells = row.iter().zip(&limits).map(|(cell, limit)| Cell::new(cut(cell, *limit)));
            table.add_row(cells.collect::<Vec<_>>());
        }
        for (index, spec) in self.columns.iter().enumerate() {
            if let Some(column) = table.column_mut(index) {
                column.set_padding((0, u16::try_from(GAP).unwrap_or(2)));
                if spec.align == Align::Right {
                    column.set_cell_alignment(CellAlignment::Right);
                }
            }
        }
        table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }

    /// The width that each column gets: its own, where the flexible ones share what is left.
    fn limits(&self, width: Option<usize>) -> Vec<usize> {
        let natural: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| {
                let cells = self.rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.width());
                cells.chain([column.title.width()]).max().unwrap_or(0)
            })
            .collect();
        let mut limits = natural;
        let Some(width) = width else { return limits };
        let total = |limits: &[usize]| limits.iter().map(|limit| limit + GAP).sum::<usize>() - GAP;
        while total(&limits) > width {
            // The widest column that may still shrink gives way.
            let widest = self
                .columns
                .iter()
                .enumerate()
                .filter(|(index, column)| column.least.is_some_and(|least| limits[*index] > least))
                .max_by_key(|(index, _)| limits[*index]);
            let Some((index, _)) = widest else { break };
            limits[index] -= 1;
        }
        limits
    }
}

/// A text of at most so many columns of a terminal, the last of them … where something was cut.
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

    fn table() -> Table {
        let mut table = Table::new(&[Column::whole("id"), Column::number("n"), Column::flexible("error", 6)]);
        table.row(vec!["65f0a1".into(), "1".into(), "a long explanation of what went wrong".into()]);
        table.row(vec!["x".into(), "12".into(), "日本語の説明が続きます".into()]);
        table
    }

    #[test]
    fn a_table_keeps_within_its_width_and_cuts_only_what_may_be_cut() {
        for width in 18..60 {
            let text = table().text(Some(width));
            assert!(text.lines().all(|line| line.width() <= width), "{width}:\n{text}");
            assert!(text.contains("65f0a1"));
        }
        assert_eq!(table().text(Some(24)), "ID       N  ERROR\n65f0a1   1  a long expl…\nx       12  日本語の説…\n");
    }

    #[test]
    fn without_a_width_nothing_is_cut() {
        assert!(table().text(None).contains("what went wrong"));
    }
}
