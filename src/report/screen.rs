//! Where a text will be read, and what colours mean there.

/// Where a text will be read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Screen {
    /// The columns of the terminal; none where there is none.
    pub width: Option<usize>,
    /// Whether colours are wanted.
    pub has_color: bool,
}

/// What a colour says. It never says anything that the words do not say too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// Nothing.
    Plain,
    /// What follows is told apart by it.
    Heading,
    /// It has come to a good end.
    Good,
    /// It goes on by itself, but did not go well.
    Warning,
    /// A person is needed.
    Bad,
}

impl Paint {
    /// The text, painted with the sequences that terminals know.
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
