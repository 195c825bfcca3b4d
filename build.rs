//! Tells the program which commit it is built from, and the linker which functions belong together.

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
    order_functions();
}

/// Has the functions of an ordinary start put side by side (`deploy/link/startup.ld`), where the toolchain's
/// own linker is known to understand it; with another one, the program is the same but for its order.
fn order_functions() {
    const SCRIPT: &str = "deploy/link/startup.ld";
    println!("cargo:rerun-if-changed={SCRIPT}");
    let is = |variable: &str, value: &str| env::var(variable).is_ok_and(|found| found == value);
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let is_the_linkers = |flag: &str| flag.trim_start_matches("-C").starts_with("link");
    let own_linker = env::var_os("RUSTC_LINKER").is_none() && !flags.split('\x1f').any(is_the_linkers);
    if own_linker && is("TARGET", "x86_64-unknown-linux-gnu") && is("PROFILE", "release") {
        let root = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo:rustc-link-arg-bins=-Wl,-T,{root}/{SCRIPT}");
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
