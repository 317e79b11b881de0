//! The declaration of a variable.

/// One environment variable.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// The name.
    pub name: &'static str,
    /// The default; empty if there is none.
    pub default: &'static str,
    /// The meaning, in one sentence.
    pub doc: &'static str,
    /// The heading under which the variable is listed.
    pub group: &'static str,
    /// Whether the value must never be printed.
    pub secret: Secrecy,
}

/// Whether a value may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrecy {
    /// The value may be shown.
    Open,
    /// The value must never be printed.
    Secret,
}

impl Variable {
    /// A variable whose value may be shown.
    pub const fn open(group: &'static str, name: &'static str, default: &'static str, doc: &'static str) -> Self {
        Self { name, default, doc, group, secret: Secrecy::Open }
    }

    /// A variable whose value must never be printed.
    pub const fn secret(group: &'static str, name: &'static str, doc: &'static str) -> Self {
        Self { name, default: "", doc, group, secret: Secrecy::Secret }
    }
}
