//! The documents, held: links lead somewhere, and what is named exists.

#![expect(clippy::unwrap_used, reason = "a test that can't read the documents must stop")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

struct Page {
    path: PathBuf,
    text: String,
}

impl Page {
    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap();
        Self { path, text }
    }

    fn name(&self) -> String {
        self.path.strip_prefix(root()).unwrap().display().to_string()
    }

    /// Its lines without those of fenced blocks.
    fn prose(&self) -> impl Iterator<Item = &str> {
        let mut fenced = false;
        self.text.lines().filter(move |line| {
            let fence = line.trim_start().starts_with("```");
            fenced ^= fence;
            !fenced && !fence
        })
    }

    /// The targets of its links and pictures.
    fn links(&self) -> Vec<&str> {
        let lines = self.prose();
        lines.flat_map(|line| line.split("](").skip(1).filter_map(|rest| rest.split(')').next())).collect()
    }

    /// What stands in single backticks.
    fn code(&self) -> impl Iterator<Item = &str> {
        self.prose().flat_map(|line| line.split('`').skip(1).step_by(2))
    }

    /// The anchors of its headings, as GitHub makes them.
    fn anchors(&self) -> BTreeSet<String> {
        let headings = self.prose().filter(|line| line.starts_with('#'));
        headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
    }
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

fn pages() -> Vec<Page> {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let docs = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let mut paths: Vec<_> = docs.chain(["README.md", "CHANGELOG.md"].map(|name| root().join(name))).collect();
    paths.sort();
    assert!(paths.len() >= 6, "the documents were not found");
    paths.into_iter().map(Page::read).collect()
}

/// All code, for names of tests.
fn code() -> String {
    let mut folders = vec![root().join("src"), root().join("tests")];
    let mut all = String::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                all += &fs::read_to_string(path).unwrap();
            }
        }
    }
    all
}

#[test]
fn every_relative_link_and_anchor_leads_somewhere() {
    let mut checked = 0;
    for page in pages() {
        for link in page.links() {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            checked += 1;
            let (file, wanted) = link.split_once('#').map_or((link, None), |(file, at)| (file, Some(at)));
            let target = match file {
                "" => page.path.clone(),
                _ => page.path.parent().unwrap().join(file),
            };
            assert!(target.exists(), "{} links to {link}, which is not there", page.name());
            if let Some(wanted) = wanted {
                let anchors = Page::read(target).anchors();
                assert!(anchors.contains(wanted), "{} links to {link}; there is {anchors:?}", page.name());
            }
        }
    }
    assert!(checked > 40, "only {checked} links were seen");
}

#[test]
fn every_test_that_is_named_exists() {
    let code = code();
    let mut checked = 0;
    for page in pages() {
        // Names with so many words are sentences, and sentences are tests.
        let names = page.code().filter(|name| {
            name.matches('_').count() >= 4
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
                && !name.starts_with("credira_gateway_")
        });
        for name in names {
            assert!(code.contains(&format!("fn {name}()")), "{} names the test {name}", page.name());
            checked += 1;
        }
    }
    assert!(checked > 60, "only {checked} tests were named");
}

#[test]
fn every_key_of_the_configuration_that_is_named_exists() {
    let schema: Value =
        serde_json::from_str(&fs::read_to_string(root().join("config/gateway.schema.json")).unwrap())
            .unwrap();
    let sections: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
    let mut checked = 0;
    for page in pages() {
        for key in page.code().filter_map(|code| code.split(" = ").next()) {
            let first = key.split('.').next();
            let is_key = sections.iter().any(|section| first == Some(section));
            let plain =
                key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.'));
            if !is_key || !plain || !key.contains('.') || key.ends_with(".rs") {
                continue;
            }
            let mut at = &schema;
            for step in key.split('.') {
                let found = &at["properties"][step];
                let found = if found["items"].is_object() { &found["items"] } else { found };
                let found = if found["anyOf"].is_array() { &found["anyOf"][0] } else { found };
                let name = found["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/"));
                at = name.map_or(found, |name| &schema["$defs"][name]);
                assert!(at.is_object(), "{} names {key}: there is no {step}", page.name());
            }
            checked += 1;
        }
    }
    assert!(checked > 30, "only {checked} keys were named");
}

#[test]
fn every_counter_that_is_named_exists() {
    let families = fs::read_to_string(root().join("src/telemetry/families.rs")).unwrap();
    let mut checked = 0;
    for page in pages() {
        for code in page.code() {
            let name = code.strip_prefix("credira_gateway_").unwrap_or(code);
            let name = name.split('{').next().unwrap();
            if name.ends_with("_total") && !name.starts_with("process_") {
                assert!(families.contains(&format!("\"{name}\"")), "{} names {name}", page.name());
                checked += 1;
            }
        }
    }
    assert!(checked > 5, "only {checked} counters were named");
}

#[test]
fn every_command_that_is_named_exists() {
    let arguments = fs::read_to_string(root().join("src/cli/args.rs")).unwrap();
    let known: BTreeSet<String> = arguments
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.split([',', '(', ' ']).next())
        .filter(|word| word.starts_with(char::is_uppercase))
        .map(|word| {
            let mut kebab = String::new();
            for c in word.chars() {
                if c.is_ascii_uppercase() && !kebab.is_empty() {
                    kebab.push('-');
                }
                kebab.push(c.to_ascii_lowercase());
            }
            kebab
        })
        .collect();
    let mut checked = 0;
    for page in pages() {
        for code in page.code() {
            let Some(command) = code.strip_prefix("credira-gateway ").and_then(|rest| rest.split(' ').next())
            else {
                continue;
            };
            if command.starts_with(|c: char| c.is_ascii_lowercase()) {
                assert!(known.contains(command), "{} names `{code}`; there is {known:?}", page.name());
                checked += 1;
            }
        }
    }
    assert!(checked > 8, "only {checked} commands were named");
}

#[test]
fn the_readme_is_short_and_no_page_is_unfinished() {
    for page in pages() {
        for word in ["TODO", "FIXME", "TBD", "lorem", "will be added", "coming soon"] {
            assert!(!page.text.contains(word), "{} has {word:?}", page.name());
        }
        assert!(page.name() != "README.md" || page.text.lines().count() <= 300, "the README is too long");
    }
}

#[test]
fn anchors_are_made_as_github_makes_them() {
    assert_eq!(anchor("Kinds of values"), "kinds-of-values");
    assert_eq!(anchor("`[upstream.retry]`"), "upstreamretry");
    assert_eq!(anchor("How to add a route, in an hour"), "how-to-add-a-route-in-an-hour");
}
