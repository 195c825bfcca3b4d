//! Checks the documents: links resolve, and what they name exists.

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

    /// The texts in single backticks.
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
    let others =
        ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "deploy/kubernetes/README.md"];
    let mut paths: Vec<_> = docs.chain(others.map(|name| root().join(name))).collect();
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
        // Names with this many words are those of tests.
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

/// The numbers after `// ` that begin a comment line of their own, such as `// T01, F17.`
fn numbers(code: &str) -> BTreeSet<String> {
    let comments = code.lines().filter_map(|line| line.trim_start().strip_prefix("// ")?.strip_suffix('.'));
    let is_number = |word: &str| {
        word.len() == 3 && word.starts_with(['T', 'F']) && word.bytes().skip(1).all(|b| b.is_ascii_digit())
    };
    let mut found = BTreeSet::new();
    for comment in comments {
        let words: Vec<_> = comment.split([' ', ',']).filter(|word| !word.is_empty()).collect();
        if words.iter().all(|word| is_number(word) || *word == "to") {
            found.extend(words.iter().filter(|word| is_number(word)).map(ToString::to_string));
        }
    }
    found
}

#[test]
fn every_threat_number_in_a_comment_is_listed_with_its_tests() {
    let page = Page::read(root().join("docs/security.md"));
    let rows: BTreeSet<String> = page
        .prose()
        .filter_map(|line| Some(line.strip_prefix("| ")?.split(' ').next()?.to_owned()))
        .collect();
    let numbers = numbers(&code());
    assert!(numbers.len() > 80, "only {} numbers were seen", numbers.len());
    for number in numbers {
        assert!(rows.contains(&number), "docs/security.md does not list {number}");
    }
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
    let families = ["families", "lease_families", "level_families", "media_families"]
        .map(|name| fs::read_to_string(root().join(format!("src/telemetry/{name}.rs"))).unwrap());
    let families = families.concat();
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
fn no_page_is_unfinished() {
    for page in pages() {
        for word in ["TODO", "FIXME", "TBD", "lorem", "will be added", "coming soon"] {
            assert!(!page.text.contains(word), "{} has {word:?}", page.name());
        }
    }
}

#[test]
fn the_readme_is_short_and_shows_the_first_hit_on_its_first_screen() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.lines().count() <= 200, "the README is too long");
    let line = |text: &str| readme.lines().position(|line| line.contains(text)).unwrap();
    assert!(line("cargo run --release -- demo") < 15);
    assert!(line("cache-status: credira-gateway; hit") < 30);
    // A job's number differs in a shell that has been used before.
    assert!(!readme.contains("kill %"));
}

#[test]
fn every_released_version_has_a_date() {
    let changes = fs::read_to_string(root().join("CHANGELOG.md")).unwrap();
    let versions: Vec<_> = changes.lines().filter_map(|line| line.strip_prefix("## [")).collect();
    assert!(versions.len() >= 2, "{versions:?}");
    for version in versions {
        let date = version.split_once("] - ").map(|(_, date)| date);
        let is_date = |date: &str| {
            let parts: Vec<_> =
                date.split('-').map(|part| (part.len(), part.parse::<u16>().is_ok())).collect();
            parts == [(4, true), (2, true), (2, true)]
        };
        assert!(version == "Unreleased]" || date.is_some_and(is_date), "{version}");
    }
}

#[test]
fn anchors_are_made_as_github_makes_them() {
    assert_eq!(anchor("Kinds of values"), "kinds-of-values");
    assert_eq!(anchor("`[upstream.retry]`"), "upstreamretry");
    assert_eq!(anchor("How to add a route, in an hour"), "how-to-add-a-route-in-an-hour");
}

/// Idioms that read as translated; CONTRIBUTING.md asks for plain technical English.
const IDIOMS: [&str; 20] = [
    "are told",
    "go on with",
    "goes on with",
    "is over",
    "is told",
    "mend",
    "mended",
    "mends",
    "nobody",
    "somebody",
    "stand there",
    "stands there",
    "tell of",
    "tells of",
    "under way",
    "vouch for",
    "vouches for",
    "was told",
    "whoever",
    "whomever",
];

/// Beginnings that no comment may have: it is a sentence or a noun, not a relative clause.
const OPENINGS: [&str; 6] = ["What is ", "What was ", "What are ", "Who is ", "Whoever ", "Whom "];

fn texts() -> Vec<Page> {
    let mut folders: Vec<_> =
        ["src", "docs", "deploy", "config", "benches"].map(|name| root().join(name)).into();
    let files = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"];
    let mut found: Vec<Page> = files.map(|name| Page::read(root().join(name))).into();
    let is_text = |path: &Path| {
        let endings =
            ["rs", "md", "js", "html", "py", "toml", "yml", "yaml", "json", "service", "socket", "sh"];
        path.extension().is_some_and(|ending| endings.iter().any(|text| ending == *text))
    };
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if is_text(&path) {
                found.push(Page::read(path));
            }
        }
    }
    found
}

#[test]
fn texts_are_plain_technical_english() {
    let texts = texts();
    assert!(texts.len() > 300, "only {} texts were found", texts.len());
    let mut idioms = BTreeSet::new();
    for text in &texts {
        let words = text.text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        let words = format!(" {} ", words.collect::<Vec<_>>().join(" ").to_lowercase());
        for idiom in IDIOMS.iter().filter(|idiom| words.contains(&format!(" {idiom} "))) {
            idioms.insert(format!("{}: {idiom}", text.name()));
        }
        for line in text.text.lines().map(str::trim_start).filter(|line| line.starts_with("//")) {
            let comment = line.trim_start_matches(['/', '!']).trim_start();
            if OPENINGS.iter().any(|opening| comment.starts_with(opening)) {
                idioms.insert(format!("{}: {comment}", text.name()));
            }
        }
    }
    assert!(idioms.is_empty(), "{idioms:#?}");
}
