//! Tells the program which commit it is built from.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=CREDIRA_GATEWAY_REVISION");
    println!("cargo:rerun-if-changed=.git/HEAD");
    println!("cargo:rerun-if-changed=.git/refs/heads");
    let given = env::var("CREDIRA_GATEWAY_REVISION").ok().filter(|revision| !revision.is_empty());
    let revision = given.or_else(from_git).unwrap_or_else(|| "unknown".into());
    println!("cargo:rustc-env=CREDIRA_GATEWAY_REVISION={revision}");
}

fn from_git() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
