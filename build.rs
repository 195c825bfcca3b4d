//! Tells the program which commit it is built from.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=CREDIRA_GATEWAY_REVISION");
    println!("cargo:rerun-if-changed=build.rs");
    // Git knows where its files are, in a linked worktree too. A path that isn't there would have cargo
    // build the program anew each time.
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for file in ["HEAD", "packed-refs"].into_iter().chain(branch.as_deref()) {
        if let Some(path) = git(&["rev-parse", "--git-path", file]).filter(|path| Path::new(path).exists()) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    let given = env::var("CREDIRA_GATEWAY_REVISION").ok().filter(|revision| !revision.is_empty());
    let from_git = || git(&["rev-parse", "--short=12", "HEAD"]);
    let revision = given.or_else(from_git).unwrap_or_else(|| "unknown".into());
    println!("cargo:rustc-env=CREDIRA_GATEWAY_REVISION={revision}");
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
