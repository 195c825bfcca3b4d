//! The check of crates against known vulnerabilities, with and without access to their database.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use crate::deploy::project::{path, words};

/// Runs .ci/advisories with a `cargo` that does what `script` says.
fn checked_by(script: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cargo");
    std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    let tools = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    Command::new(path(".ci/advisories")).env("PATH", tools).output().unwrap()
}

#[test]
fn without_the_database_the_check_is_skipped_and_says_so() {
    let output = checked_by("echo 'fatal: could not resolve host' >&2; exit 1");
    assert!(output.status.success());
    let said = words(&output);
    assert!(said.contains("SKIPPED: the advisory database"), "{said}");
    assert!(said.contains("could not resolve host"), "{said}");
}

#[test]
fn with_the_database_an_advisory_fails_the_check() {
    let output =
        checked_by("case \"$*\" in *'fetch db') ;; *advisories) echo RUSTSEC-0000-0000; exit 1 ;; esac");
    assert!(!output.status.success());
    assert!(words(&output).contains("RUSTSEC-0000-0000"));
    assert!(checked_by("exit 0").status.success());
}
