//! README.md begins with a picture of a terminal: what the quickstart really prints. `just picture` draws it anew.

use std::fmt::Write as _;
use std::io::Read;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use regex::Regex;
use vt100::Color;

/// The committed picture.
const PICTURE: &str = "docs/quickstart.svg";

/// The terminal: columns, and rows on which nothing scrolls away.
const COLUMNS: u16 = 92;
const ROWS: u16 = 200;

/// The ids that the simulated platforms give, in any order. What stands for them is as long.
const IDS: [(&str, &str); 3] = [
    (r"75123456789012340\d\d", "7512345678901234000"),
    (r"180100000000000\d\d", "18010000000000000"),
    (r"yt0000000\d\d", "yt000000000"),
];

/// Builds the quickstart, which is not built if only this test is.
fn quickstart() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().unwrap().parent().unwrap();
    let mut build = std::process::Command::new(env!("CARGO"));
    build.args(["build", "--locked", "--quiet", "--example", "quickstart"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if profile.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().unwrap().success(), "the quickstart does not build");
    profile.join("examples/quickstart")
}

/// Everything that the quickstart writes to a terminal.
fn output() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (mut pty, pts) = pty_process::blocking::open().unwrap();
    pty.resize(pty_process::Size::new(ROWS, COLUMNS)).unwrap();
    let command = pty_process::blocking::Command::new(quickstart())
        .env_clear()
        .env("TERM", "xterm-256color")
        .env("TMPDIR", folder.path())
        .current_dir(folder.path());
    let mut process = command.spawn(pts).unwrap();
    let mut bytes = Vec::new();
    // A terminal whose other side is gone ends with an error, on Linux.
    drop(pty.read_to_end(&mut bytes));
    assert!(process.wait().unwrap().success(), "{}", String::from_utf8_lossy(&bytes));
    bytes
}

/// How a part of a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Style {
    color: Color,
    is_bold: bool,
}

/// A line of a terminal: a character and its look for each column.
#[derive(Debug, Clone, Default)]
struct Line(Vec<(char, Style)>);

impl Line {
    fn of(screen: &vt100::Screen, row: u16) -> Self {
        let cells = (0..COLUMNS).filter_map(|column| screen.cell(row, column));
        let looks = cells.map(|cell| {
            let style = Style { color: cell.fgcolor(), is_bold: cell.bold() };
            (cell.contents().chars().next().unwrap_or(' '), style)
        });
        Self(looks.collect())
    }

    fn text(&self) -> String {
        let text: String = self.0.iter().map(|(c, _)| c).collect();
        text.trim_end().to_owned()
    }

    /// The same line without what differs from run to run.
    fn settled(self) -> Self {
        let mut text: String = self.0.iter().map(|(c, _)| c).collect();
        for (pattern, replacement) in IDS {
            text = Regex::new(pattern).unwrap().replace_all(&text, replacement).into_owned();
        }
        assert_eq!(text.chars().count(), self.0.len(), "a replacement is longer or shorter: {text}");
        Self(text.chars().zip(self.0).map(|(c, (_, style))| (c, style)).collect())
    }

    /// The parts of the line that look alike, each with its first column. Two spaces separate parts too, because an SVG
    /// shows only one of them.
    fn parts(&self) -> Vec<(usize, Style, String)> {
        let mut parts: Vec<(usize, Style, String)> = Vec::new();
        let mut spaces = 0;
        for (column, (c, style)) in self.0.iter().enumerate() {
            if *c == ' ' {
                spaces += 1;
                continue;
            }
            match parts.last_mut() {
                Some((_, last, text)) if *last == *style && spaces <= 1 => {
                    text.push_str(&" ".repeat(spaces));
                    text.push(*c);
                }
                _ => parts.push((column, *style, c.to_string())),
            }
            spaces = 0;
        }
        parts
    }
}

/// A command and its output, up to the first empty line: the last command of the output that is typed like this.
fn command(lines: &[Line], typed: &str) -> Vec<Line> {
    let first = lines.iter().rposition(|line| line.text() == typed);
    let first = first.unwrap_or_else(|| panic!("the quickstart does not run `{typed}`"));
    lines[first..].iter().take_while(|line| !line.text().is_empty()).cloned().map(Line::settled).collect()
}

/// The lines of the picture: a pass, and what is left after it.
fn lines() -> Vec<Line> {
    let size = |number| NonZero::new(number).unwrap();
    let mut terminal = vt100::Parser::new(size(ROWS), size(COLUMNS), 0);
    terminal.process(&output());
    let lines: Vec<Line> = (0..ROWS).map(|row| Line::of(terminal.screen(), row)).collect();
    let mut shown = command(&lines, "$ postretry run");
    shown.push(Line::default());
    shown.extend(command(&lines, "$ postretry list-failed"));
    shown
}

/// The sizes of the picture in tenths of a pixel: of a character, of a line, and of the margin.
const CHARACTER: usize = 84;
const LINE: usize = 200;
const MARGIN: usize = 160;

/// Tenths of a pixel as an SVG has them.
fn pixels(tenths: usize) -> String {
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn svg(lines: &[Line]) -> String {
    let width = usize::from(COLUMNS) * CHARACTER + 2 * MARGIN;
    let height = lines.len() * LINE + 2 * MARGIN;
    let (width, height) = (pixels(width), pixels(height));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\">\n\
         <title>A retry pass of postretry in a terminal</title>\n\
         <style>text {{ font: 14px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; fill: #c9d1d9 }} \
         .bold {{ font-weight: 700 }} .red {{ fill: #ff7b72 }} .green {{ fill: #7ee787 }} \
         .yellow {{ fill: #e3b341 }}</style>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#0d1117\"/>\n"
    );
    for (number, line) in lines.iter().enumerate() {
        let is_typed = line.text().starts_with("$ ");
        let y = pixels(MARGIN + number * LINE + LINE * 7 / 10);
        for (column, style, text) in line.parts() {
            let x = pixels(MARGIN + column * CHARACTER);
            // The columns stay straight whichever font there is.
            let length = pixels(text.chars().count() * CHARACTER);
            let mut classes = Vec::new();
            if style.is_bold || is_typed {
                classes.push("bold");
            }
            classes.extend(color_class(style.color));
            let class = if classes.is_empty() { String::new() } else { format!(" class=\"{}\"", classes.join(" ")) };
            let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            writeln!(svg, "<text x=\"{x}\" y=\"{y}\" textLength=\"{length}\"{class}>{text}</text>").unwrap();
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn color_class(color: Color) -> Option<&'static str> {
    match color {
        Color::Default => None,
        Color::Idx(1) => Some("red"),
        Color::Idx(2) => Some("green"),
        Color::Idx(3) => Some("yellow"),
        other => panic!("the picture has no such colour: {other:?}"),
    }
}

#[test]
fn the_picture_of_the_quickstart_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PICTURE);
    let drawn = svg(&lines());
    #[expect(clippy::disallowed_methods, reason = "a switch of the tests, not a setting")]
    let is_update = std::env::var_os("UPDATE_GENERATED").is_some();
    if is_update {
        std::fs::write(&path, &drawn).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == drawn, "{PICTURE} is not current: run `just picture` and commit it");
    // The colours have a meaning, so a picture without them shows another program.
    assert!(["red", "green", "yellow"].iter().all(|color| drawn.contains(&format!("class=\"{color}\""))), "{drawn}");
}

#[test]
fn the_readme_begins_with_the_picture() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let picture = readme.find(&format!("]({PICTURE})")).unwrap();
    assert!(picture < readme.find("\n## ").unwrap(), "the picture comes before the first heading");
}
