//! docs/security.md names tests that exist, and what it says of Cargo.lock holds for every command that is documented.

use std::path::{Path, PathBuf};

use regex::Regex;

/// The text of every Rust file below a folder, each after its name.
fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            found.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn every_test_that_the_page_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/security.md")).unwrap();
    let mut found = Vec::new();
    for folder in ["src", "tests/it"] {
        sources(&root.join(folder), &mut found);
    }
    let (mut files, mut tests) = (0, 0);
    for name in Regex::new("`([a-z0-9_]+)(\\.rs)?`").unwrap().captures_iter(&page) {
        let word = &name[1];
        if name.get(2).is_some() {
            let file = format!("{word}.rs");
            assert!(found.iter().any(|(name, _)| *name == file), "there is no {file}");
            files += 1;
        } else if word.matches('_').count() >= 4 {
            let test = format!("fn {word}()");
            assert!(found.iter().any(|(_, text)| text.contains(&test)), "there is no test `{word}`");
            tests += 1;
        }
    }
    assert!(files > 10 && tests > 10, "{files} files and {tests} tests were found on the page");
}

/// Everything that people and CI copy commands from.
fn documented(root: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "justfile", "fuzz/run"]
        .into_iter()
        .map(|name| root.join(name))
        .collect();
    for folder in ["docs", ".ci", "packaging", "tests/clients", "tests/mongoose"] {
        let entries = std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        files.extend(entries.filter(|path| path.is_file()));
    }
    files
}

#[test]
fn every_documented_command_of_cargo_takes_the_versions_of_the_lock_file() {
    // These two are for a first look, and a name alone is no command to copy.
    const ALLOWED: [&str; 3] = ["cargo run --example quickstart", "cargo test", "cargo install"];
    let form = r#"cargo ("\+[^"]*" )?(build|run|test|bench|check|clippy|doc|install|deb|metadata)\b[^`#|\n]*"#;
    let command = Regex::new(form).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = 0;
    for path in documented(root) {
        // Pictures are no text to copy from, and may be no text at all.
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        for command in command.find_iter(&text).map(|found| found.as_str().trim()) {
            assert!(command.contains("--locked") || ALLOWED.contains(&command), "{}: {command}", path.display());
            found += 1;
        }
    }
    assert!(found > 20, "{found} commands were found");
}
