//! The committed files that are generated are current.

use std::collections::BTreeMap;
use std::path::Path;

use clap::CommandFactory;
use postretry::cli::Cli;

/// Every page: its name and text.
fn pages() -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().unwrap();
    clap_mangen::generate_to(Cli::command(), folder.path()).unwrap();
    std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

#[test]
fn the_man_pages_are_current() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    #[expect(clippy::disallowed_methods, reason = "a switch of the tests, not a setting")]
    let is_update = std::env::var_os("UPDATE_GENERATED").is_some();
    for (name, text) in pages() {
        let path = folder.join(&name);
        if is_update {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == text, "man/{name} is not current: run the tests with UPDATE_GENERATED=1 and commit it");
    }
}

#[test]
fn the_readme_names_every_command() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    for command in Cli::command().get_subcommands() {
        assert!(readme.contains(&format!("postretry {} ", command.get_name())), "{}", command.get_name());
    }
}
