//! The project's files, checked by the tools for their formats.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{Finished, needed, program};

/// A file of the project.
pub(super) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The text of a file.
pub(super) fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The YAML documents in it.
pub(super) fn yaml(name: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The files of a folder with this ending, in order, as names in the project.
pub(super) fn files(folder: &str, ending: &str) -> Vec<String> {
    let entries = std::fs::read_dir(path(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> =
        names.filter(|name| name.ends_with(ending)).map(|name| format!("{folder}/{name}")).collect();
    names.sort();
    assert!(!names.is_empty(), "nothing in {folder} ends with {ending}");
    names
}

/// Runs a tool, unless it is missing; it must report no problem.
#[track_caller]
pub(super) fn is_content(command: &mut Command) {
    let name = command.get_program().to_string_lossy().into_owned();
    let Some(output) = needed(&name, command.output()) else { return };
    assert!(output.status.success(), "{command:?}:\n{}", words(&output));
}

/// The output of a tool.
pub(super) fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Has the program check a configuration with secrets in files of `folder`, which are created with valid content.
#[track_caller]
pub(super) fn check_configuration(text: &str, folder: &str) -> Finished {
    let secrets = tempfile::tempdir().unwrap();
    let mut rest = text;
    while let Some(at) = rest.find(folder) {
        rest = &rest[at + folder.len()..];
        let name = rest.split('"').next().unwrap().trim_start_matches('/');
        // Each is different, as each token must be.
        let file = secrets.path().join(name);
        std::fs::write(&file, format!("a-secret-of-32-characters-for-{name}\n")).unwrap();
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let text = text.replace(folder, secrets.path().to_str().unwrap());
    let file = crate::support::write_config(&text);
    Finished::of(&mut program(&["check", "--config", file.path().to_str().unwrap()]))
}
