//! The committed files that are generated are current.

use std::collections::BTreeMap;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::{Shell, generate_to};
use postretry::cli::Cli;

/// Every generated file: its path in the project and its text.
fn files() -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().unwrap();
    for name in ["man", "completions"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    clap_mangen::generate_to(Cli::command(), folder.path().join("man")).unwrap();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut Cli::command(), "postretry", folder.path().join("completions")).unwrap();
    }
    let mut files = BTreeMap::new();
    for name in ["man", "completions"] {
        for entry in std::fs::read_dir(folder.path().join(name)).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_str().unwrap();
            files.insert(format!("{name}/{file}"), std::fs::read_to_string(&path).unwrap());
        }
    }
    files
}

#[test]
fn the_man_pages_and_completions_are_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    #[expect(clippy::disallowed_methods, reason = "a switch of the tests, not a setting")]
    let is_update = std::env::var_os("UPDATE_GENERATED").is_some();
    for (name, text) in files() {
        let path = root.join(&name);
        if is_update {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == text, "{name} is not current: run the tests with UPDATE_GENERATED=1 and commit it");
    }
}

#[test]
fn the_readme_names_every_command() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    for command in Cli::command().get_subcommands() {
        assert!(readme.contains(&format!("postretry {} ", command.get_name())), "{}", command.get_name());
    }
}
