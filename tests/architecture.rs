//! The shape of the code, held: who imports whom, who owns which dependency, what no file may contain.

#![expect(clippy::unwrap_used, reason = "a test that can't read the code must stop")]

use std::fs;
use std::path::{Path, PathBuf};

struct File {
    /// Below `src`, with slashes.
    path: String,
    text: String,
}

impl File {
    /// The module of `lib.rs` that it belongs to; for `main.rs` and `lib.rs` their own names.
    fn module(&self) -> &str {
        self.path.split(['/', '.']).next().unwrap()
    }

    /// Code without comments: a name in a sentence is no import.
    fn code(&self) -> impl Iterator<Item = &str> {
        self.text.lines().map(str::trim_start).filter(|line| !line.starts_with("//"))
    }

    /// The names that follow `prefix` in the code.
    fn names_after<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.code().flat_map(move |line| {
            line.match_indices(prefix).map(move |(at, _)| {
                let rest = line.get(at + prefix.len()..).unwrap();
                rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap()
            })
        })
    }
}

fn files() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
                found.push(File { path: name, text: fs::read_to_string(&path).unwrap() });
            }
        }
    }
    assert!(found.len() > 50, "the code was not found");
    found
}

/// The modules in the order of `lib.rs`.
fn order(files: &[File]) -> Vec<String> {
    let map = files.iter().find(|file| file.path == "lib.rs").unwrap();
    let named = |line: &str| {
        let rest = line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod ")?.to_owned();
        Some(rest.split(';').next().unwrap().to_owned())
    };
    map.code().filter_map(named).collect()
}

#[test]
fn the_map_is_in_the_order_of_the_architecture() {
    let expected = [
        "domain",
        "clock",
        "config",
        "telemetry",
        "limits",
        "server",
        "cache",
        "upstream",
        "tenant",
        "gateway",
        "admin",
        "app",
        "mock",
        "cli",
    ];
    assert_eq!(order(&files()), expected);
}

#[test]
fn a_module_imports_only_from_those_above_it() {
    let files = files();
    let order = order(&files);
    let place = |name: &str| order.iter().position(|module| module == name);
    let mut imports = 0;
    for file in files.iter().filter(|file| !["main.rs", "lib.rs"].contains(&file.path.as_str())) {
        let own = place(file.module()).unwrap_or_else(|| panic!("{} is in no module of the map", file.path));
        for name in file.names_after("crate::") {
            let other = place(name).unwrap_or_else(|| panic!("{} names crate::{name}", file.path));
            assert!(other <= own, "{} imports {name}, which is below it", file.path);
            assert!(name != "app" || ["app", "cli"].contains(&file.module()), "{} imports app", file.path);
            imports += 1;
        }
    }
    assert!(imports > 100, "only {imports} imports were seen");
}

#[test]
fn only_main_uses_the_command_line() {
    let files = files();
    let main = files.iter().find(|file| file.path == "main.rs").unwrap();
    assert!(main.names_after("credira_gateway::").all(|name| name == "cli"));
    assert_eq!(main.names_after("credira_gateway::").count(), 1);
    for file in files.iter().filter(|file| !["main", "lib", "cli"].contains(&file.module())) {
        assert!(file.names_after("crate::").all(|name| name != "cli"), "{}", file.path);
    }
}

#[test]
fn every_dependency_has_one_owner() {
    let owned: &[(&str, &[&str])] = &[
        ("moka::", &["cache"]),
        ("governor::", &["limits"]),
        ("prometheus::", &["telemetry"]),
        ("toml::", &["config"]),
        ("clap::", &["cli", "main"]),
        ("hyper_util::server", &["server", "mock"]),
        ("hyper::client", &["upstream", "admin/client.rs"]),
        ("hyper_util::client::legacy", &["upstream", "telemetry/spans/courier.rs"]),
        ("opentelemetry::", &["telemetry/spans"]),
    ];
    let files = files();
    for (name, owners) in owned {
        let mut used = false;
        for file in &files {
            let mine = owners.iter().any(|owner| file.path.starts_with(owner));
            let here = file.names_after(name).next().is_some();
            used |= here && mine;
            assert!(mine || !here, "{} uses {name}, which belongs to {owners:?}", file.path);
        }
        assert!(used, "{owners:?} own {name}, but do not use it");
    }
}

/// What the environment holds, secrets and the service manager's sockets, is inherited by nobody.
#[test]
fn it_starts_no_other_program() {
    for file in files() {
        assert!(file.names_after("process::").all(|name| name != "Command"), "{}", file.path);
    }
}

#[test]
fn no_file_is_a_ragbag_or_unfinished() {
    for file in files() {
        for name in ["util", "utils", "common", "helpers", "manager", "types"] {
            let named = file.path.split(['/', '.']).any(|part| part == name);
            assert!(!named, "{}: name the thing", file.path);
        }
        for word in ["TODO", "FIXME", "XXX", "HACK"] {
            assert!(!file.text.contains(word), "{} has a {word}", file.path);
        }
        let lines = file.text.lines().take_while(|line| *line != "mod tests {").count();
        let tests = file.path.ends_with("tests.rs") || file.path.starts_with("app/model/");
        assert!(tests || lines <= 450, "{} has {lines} lines: a decision is hiding in it", file.path);
    }
}
