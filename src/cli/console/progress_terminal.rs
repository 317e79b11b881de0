//! The terminal that the progress lines are drawn on.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressDrawTarget, TermLike};

use super::stderr_width;

/// How often the progress lines are drawn at most.
const DRAWS_PER_SECOND: u8 = 20;

/// The size of a terminal that does not know it.
const DEFAULT_WIDTH: u16 = 80;
const DEFAULT_HEIGHT: u16 = 24;

/// Standard error as a terminal whose cursor waits at the beginning of the last line. At the end of a full line, the
/// `^C` that a terminal shows would begin another one, and the first progress line would then be left behind.
#[derive(Debug, Default)]
pub(super) struct ProgressTerminal {
    /// What the next flush writes.
    pending: Mutex<String>,
}

impl ProgressTerminal {
    /// Draws on standard error, if it is a terminal that can draw over its lines.
    pub(super) fn target() -> ProgressDrawTarget {
        if ProgressDrawTarget::stderr().is_hidden() {
            return ProgressDrawTarget::hidden();
        }
        ProgressDrawTarget::term_like_with_hz(Box::<Self>::default(), DRAWS_PER_SECOND)
    }

    fn add(&self, text: &str) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
    }

    /// Moves the cursor by so many places: up (`A`), down (`B`), right (`C`) or left (`D`).
    fn move_cursor(&self, places: usize, direction: char) {
        if places > 0 {
            self.add(&format!("\u{1b}[{places}{direction}"));
        }
    }
}

impl TermLike for ProgressTerminal {
    fn width(&self) -> u16 {
        stderr_width().and_then(|width| u16::try_from(width).ok()).unwrap_or(DEFAULT_WIDTH)
    }

    fn height(&self) -> u16 {
        let size = rustix::termios::tcgetwinsize(std::io::stderr());
        size.ok().map(|size| size.ws_row).filter(|rows| *rows > 0).unwrap_or(DEFAULT_HEIGHT)
    }

    fn move_cursor_up(&self, n: usize) -> std::io::Result<()> {
        self.move_cursor(n, 'A');
        Ok(())
    }

    fn move_cursor_down(&self, n: usize) -> std::io::Result<()> {
        self.move_cursor(n, 'B');
        Ok(())
    }

    fn move_cursor_right(&self, n: usize) -> std::io::Result<()> {
        self.move_cursor(n, 'C');
        Ok(())
    }

    fn move_cursor_left(&self, n: usize) -> std::io::Result<()> {
        self.move_cursor(n, 'D');
        Ok(())
    }

    fn write_line(&self, s: &str) -> std::io::Result<()> {
        self.add(s);
        self.add("\n");
        Ok(())
    }

    fn write_str(&self, s: &str) -> std::io::Result<()> {
        self.add(s);
        Ok(())
    }

    fn clear_line(&self) -> std::io::Result<()> {
        self.add("\r\u{1b}[2K");
        Ok(())
    }

    fn flush(&self) -> std::io::Result<()> {
        let mut text = std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner));
        if !text.is_empty() {
            text.push('\r');
            let mut err = std::io::stderr().lock();
            // A terminal that has gone away does not end the pass.
            drop(err.write_all(text.as_bytes()).and_then(|()| err.flush()));
        }
        Ok(())
    }
}
