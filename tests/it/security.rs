//! docs/security.md names tests that exist.

use std::path::Path;

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
