//! Enforces the architecture: the tables of `docs/architecture.md` say which modules may import which, and which module
//! owns which dependency; these tests read them.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't read the code must stop")]

mod imports;
mod types;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use imports::Imports;
use types::TypeNames;

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

    /// Whether it holds tests alone, which may use more than what they test.
    fn is_test(&self) -> bool {
        self.path.ends_with("tests.rs") || self.path.starts_with("app/model/")
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(folder: &Path) -> Vec<File> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().replace('\\', "/");
                found.push(File { path: name, text: fs::read_to_string(&path).unwrap() });
            }
        }
    }
    found
}

fn files() -> Vec<File> {
    let found = read(&root().join("src"));
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

/// The rows of the table of a page of `docs/` that begins with `header`, cell by cell.
fn table(page: &str, header: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("docs").join(page)).unwrap();
    let lines = text.lines().skip_while(|line| *line != header).skip(2);
    let rows = lines.take_while(|line| line.starts_with('|'));
    let cells = |row: &str| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
    let rows: Vec<Vec<String>> = rows.map(cells).collect();
    assert!(!rows.is_empty(), "docs/{page} has no table {header}");
    rows
}

/// The words in backticks.
fn words(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The map of the folders: each module with those that it must not know, in its order.
fn map() -> Vec<(String, Vec<String>)> {
    let rows = table("architecture.md", "| folder | holds | doesn't know |");
    let module = |word: &str| word.trim_end_matches('/').trim_end_matches(".rs").to_owned();
    rows.iter()
        .map(|row| {
            let unknown = words(row.get(2).unwrap()).into_iter().map(module).collect();
            (module(words(row.first().unwrap()).first().unwrap()), unknown)
        })
        .collect()
}

#[test]
fn the_modules_are_in_the_order_of_the_map() {
    let expected: Vec<String> = map().into_iter().map(|(module, _)| module).collect();
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
fn a_module_knows_nothing_that_the_map_keeps_from_it() {
    let files = files();
    let mut pairs = 0;
    for (module, unknown) in map() {
        for file in files.iter().filter(|file| file.module() == module) {
            for name in file.names_after("crate::") {
                assert!(unknown.iter().all(|other| other != name), "{} imports {name}", file.path);
            }
        }
        pairs += unknown.len();
    }
    assert!(pairs > 10, "only {pairs} forbidden pairs were found in the map");
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let files = files();
    let code = files.iter().filter(|file| !file.is_test()).map(|file| (file.path.as_str(), &*file.text));
    let imports = Imports::read(code);
    assert!(imports.len() > 300, "only {} imports were seen", imports.len());
    let circles = imports.circles();
    assert!(circles.is_empty(), "files that import each other: {circles:#?}");
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
fn every_dependency_has_its_owners() {
    let files = files();
    let rows = table("architecture.md", "| dependency | owner |");
    assert!(rows.len() > 8, "only {} owners were found", rows.len());
    for row in rows {
        let dependency = *words(&row[0]).first().unwrap();
        let owners: Vec<&str> = words(&row[1]).into_iter().map(|owner| owner.trim_end_matches('/')).collect();
        let name = if dependency.contains("::") { dependency.to_owned() } else { format!("{dependency}::") };
        let mut used = false;
        for file in files.iter().filter(|file| !file.is_test()) {
            let owned = owners.iter().any(|owner| file.path.starts_with(owner));
            let here = file.names_after(&name).next().is_some();
            used |= here && owned;
            assert!(owned || !here, "{} uses {name}, which belongs to {owners:?}", file.path);
        }
        assert!(used, "{owners:?} own {name}, but do not use it");
    }
}

/// No child process inherits the environment, which holds secrets and the service manager's sockets. The demo alone starts
/// one.
#[test]
fn only_the_demo_starts_another_program_and_that_inherits_no_environment() {
    for file in files() {
        if file.path == "cli/demo/engine.rs" {
            assert_eq!(file.text.matches("Command::new(").count(), 1);
            assert!(file.text.contains(".env_clear()"));
            continue;
        }
        let names_it = file.code().any(|line| line.contains("process::") && line.contains("Command"));
        assert!(!names_it, "{}", file.path);
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
        assert!(
            file.is_test() || lines <= 450,
            "{} has {lines} lines: a decision is hiding in it",
            file.path
        );
    }
}

/// The words of a text, as names are split: `ReplyHead` has `reply` and `head`.
fn identifiers(text: &str) -> BTreeSet<&str> {
    let identifiers = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    identifiers.filter(|word| word.starts_with(|c: char| c.is_alphabetic() || c == '_')).collect()
}

/// Names that the glossary's terms have replaced.
const REPLACED: [&str; 56] = [
    "Asker",
    "Asking",
    "Begun",
    "Bell",
    "Boarded",
    "Boarding",
    "Broken",
    "Cells",
    "Courier",
    "Demand",
    "Errand",
    "Facts",
    "Farewell",
    "Flight",
    "Flights",
    "Former",
    "Ground",
    "Hand",
    "Indoors",
    "KeptIn",
    "Landed",
    "Landing",
    "Leave",
    "Lent",
    "Loose",
    "Lost",
    "Older",
    "Passenger",
    "Patience",
    "Pieces",
    "Pilot",
    "Question",
    "Reach",
    "Reckoning",
    "Room",
    "Rope",
    "Ruling",
    "Served",
    "Share",
    "Shown",
    "Speaks",
    "Standing",
    "Storing",
    "Story",
    "Subjects",
    "Teller",
    "Told",
    "TurnedAway",
    "Turnstile",
    "UnderWay",
    "Untaken",
    "World",
    "Yield",
    "calendar",
    "stranger",
    "surroundings",
];

#[test]
fn the_glossarys_terms_are_used() {
    for file in files() {
        let code: String = file.code().collect::<Vec<_>>().join("\n");
        let replaced: Vec<&str> =
            identifiers(&code).into_iter().filter(|word| REPLACED.contains(word)).collect();
        assert!(replaced.is_empty(), "{} says {replaced:?}: docs/glossary.md has the terms", file.path);
    }
    let terms = table("glossary.md", "| term | meaning | origin |");
    assert!(terms.len() >= 20, "only {} terms", terms.len());
    for row in terms {
        assert!(row.len() == 3 && row.iter().all(|cell| !cell.is_empty()), "{row:?}");
    }
}

/// Built in place of other files in a program without one of the features, with types of the same names:
/// `telemetry/spans/recorded.rs`, `levels/disk/file.rs` and `app/fleet.rs`.
const STAND_INS: [&str; 3] = ["telemetry/spans/off.rs", "levels/disk/no_file.rs", "app/no_fleet.rs"];

#[test]
fn every_type_has_one_name_and_every_name_one_type() {
    let files = files();
    let modules: BTreeSet<&str> = files.iter().flat_map(|file| file.path.split(['/', '.'])).collect();
    let mut owners: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for file in files.iter().filter(|file| !file.is_test() && !STAND_INS.contains(&&*file.path)) {
        let names = TypeNames::of(&file.text);
        for (root, name) in names.replaced {
            let ours = ["crate", "super", "self"].contains(&&*root) || modules.contains(&*root);
            assert!(!ours, "{} gives {name} a second name", file.path);
        }
        for name in names.defined {
            owners.entry(name).or_default().push(&file.path);
        }
    }
    assert!(owners.len() > 300, "only {} types were seen", owners.len());
    owners.retain(|_, files| files.len() > 1);
    assert!(owners.is_empty(), "names of several types: {owners:#?}");
}
