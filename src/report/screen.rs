//! The size of the output, and the meaning of its colours.

/// Where a text is shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct Screen {
    /// The columns of the terminal. `None` without a terminal.
    pub width: Option<usize>,
    /// Whether to use colours.
    pub has_color: bool,
}

impl Screen {
    /// Whether bars and curves are drawn. Pipes, and people who want no colours, get the numbers alone.
    pub(super) fn has_pictures(self) -> bool {
        self.width.is_some() && self.has_color
    }
}

/// The meaning of a colour. The text always says the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// Nothing.
    Plain,
    /// A heading.
    Heading,
    /// Success.
    Good,
    /// A failure that will be retried automatically.
    Warning,
    /// Manual action is needed.
    Bad,
}

impl Paint {
    /// The text with the escape sequences of the colour.
    pub fn on(self, text: &str, has_color: bool) -> String {
        let code = match self {
            Self::Plain => return text.to_owned(),
            Self::Heading => "1",
            Self::Good => "32",
            Self::Warning => "33",
            Self::Bad => "31",
        };
        if has_color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}
