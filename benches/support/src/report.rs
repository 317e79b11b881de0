//! The table that a benchmark prints. It is Markdown, so that it can be copied into a page.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

use crate::Series;

/// What a benchmark has measured.
#[derive(Debug)]
pub struct Report {
    title: String,
    table: Table,
    notes: Vec<String>,
}

impl Report {
    /// A table without rows.
    pub fn new(title: impl Into<String>) -> Self {
        let table = empty_table(&["", "median", "least", "most", "CPU", "peak", "ratio"]);
        Self { title: title.into(), table, notes: Vec::new() }
    }

    /// What others are compared with.
    pub fn base(&mut self, name: &str, series: &Series) {
        self.row(name, series, String::new());
    }

    /// What is compared: how many times as long it takes as the base.
    pub fn compare(&mut self, name: &str, series: &Series, base: &Series) {
        self.row(name, series, format!("{:.2}", series.ratio(base)));
    }

    fn row(&mut self, name: &str, series: &Series, ratio: String) {
        let (least, most) = series.spread();
        let time = |duration: Duration| format!("{duration:.1?}");
        let cells = [
            name.to_owned(),
            time(series.wall()),
            time(least),
            time(most),
            time(series.cpu()),
            megabytes(series.peak()),
            ratio,
        ];
        self.table.add_row(cells);
    }

    /// Adds a line below the table.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Prints it.
    pub fn print(self) {
        print_all(&self.title, &self.table, &self.notes);
    }
}

/// Prints a table of something else than runs. All columns but the first are numbers.
pub fn print_table(title: &str, header: &[&str], rows: Vec<Vec<String>>, notes: &[String]) {
    let mut table = empty_table(header);
    table.add_rows(rows);
    print_all(title, &table, notes);
}

fn empty_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header.to_vec());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[expect(clippy::print_stdout, reason = "the output of a benchmark is what it is for")]
fn print_all(title: &str, table: &Table, notes: &[String]) {
    println!("\n{title}\n\n{table}");
    for note in notes {
        println!("- {note}");
    }
}

fn megabytes(bytes: u64) -> String {
    let kilobytes = u32::try_from(bytes / 1000).unwrap_or(u32::MAX);
    format!("{:.1} MB", f64::from(kilobytes) / 1000.0)
}
