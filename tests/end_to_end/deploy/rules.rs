//! The recording rules and alerts.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::deploy::project::{files, is_content, path, text, yaml};

const RULES: &str = "deploy/prometheus/rules.yml";

/// The prefix of every runbook's address: a setting of Prometheus, else a path in the repository.
const RUNBOOKS: &str = "{{ or $externalLabels.credira_gateway_runbooks \"docs/operations.md\" }}#";

/// Every rule.
pub(super) fn rules() -> Vec<Value> {
    let groups = yaml(RULES).remove(0)["groups"].as_array().unwrap().clone();
    groups.into_iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// The names of the recording rules.
pub(super) fn recorded() -> BTreeSet<String> {
    rules().iter().filter_map(|rule| rule["record"].as_str()).map(str::to_owned).collect()
}

/// The alerts by name.
pub(super) fn alerts() -> BTreeMap<String, Value> {
    let named = |rule: Value| Some((rule["alert"].as_str()?.to_owned(), rule));
    rules().into_iter().filter_map(named).collect()
}

fn tests() -> Vec<String> {
    files("deploy/prometheus/tests", ".test.yml")
}

#[test]
fn promtool_accepts_the_rules() {
    is_content(Command::new("promtool").args(["check", "rules", "--lint-fatal"]).arg(path(RULES)));
}

#[test]
fn promtool_accepts_the_example_of_a_scrape() {
    is_content(
        Command::new("promtool").args(["check", "config"]).arg(path("deploy/prometheus/prometheus.yml")),
    );
}

#[test]
fn the_rules_do_what_their_tests_say() {
    is_content(Command::new("promtool").args(["test", "rules"]).args(tests().iter().map(|name| path(name))));
}

#[test]
fn every_alert_is_seen_to_fire_and_not_to_fire() {
    let (mut fires, mut does_not) = (BTreeSet::new(), BTreeSet::new());
    for file in tests() {
        for test in yaml(&file)[0]["tests"].as_array().unwrap() {
            for step in test["alert_rule_test"].as_array().into_iter().flatten() {
                let name = step["alertname"].as_str().unwrap().to_owned();
                let expected = step["exp_alerts"].as_array().is_some_and(|alerts| !alerts.is_empty());
                if expected {
                    fires.insert(name)
                } else {
                    does_not.insert(name)
                };
            }
        }
    }
    let alerts: BTreeSet<_> = alerts().into_keys().collect();
    assert_eq!(alerts, fires, "alerts, and those that a test sees fire");
    // For these two, the test of a healthy target is the other's.
    let silent = ["CrediraGatewayCertificateEndsSoon", "CrediraGatewayCertificateExpiring"];
    does_not.extend(silent.map(str::to_owned));
    assert_eq!(alerts, does_not, "alerts, and those that a test sees not fire");
}

#[test]
fn every_alert_says_what_happened_how_bad_it_is_and_where_to_read_on() {
    let operations = text("docs/operations.md");
    let anchors: BTreeSet<String> = operations.lines().filter_map(anchor).collect();
    let alerts = alerts();
    assert!(alerts.len() > 12);
    for (name, alert) in alerts {
        let annotation = |key: &str| {
            let said = alert["annotations"][key].as_str().unwrap_or_else(|| panic!("{name} has no {key}"));
            assert!(!said.trim().is_empty(), "{name}: {key} is empty");
            said.to_owned()
        };
        let (summary, description) = (annotation("summary"), annotation("description"));
        assert!(summary.len() < 110 && summary.len() < description.len(), "{name}: {summary}");
        let severity = alert["labels"]["severity"].as_str();
        assert!(matches!(severity, Some("critical" | "warning")), "{name}: {severity:?}");
        let url = annotation("runbook_url");
        let anchor = url.strip_prefix(RUNBOOKS).unwrap_or_else(|| panic!("{name}: {url}"));
        assert!(anchors.contains(anchor), "{name}: docs/operations.md has no heading {anchor}");
        assert_eq!(anchor, name.to_lowercase());
    }
}

#[test]
fn every_link_within_the_page_of_operations_leads_to_a_heading() {
    let operations = text("docs/operations.md");
    let anchors: BTreeSet<String> = operations.lines().filter_map(anchor).collect();
    let links: Vec<_> = operations.split("](#").skip(1).map(|rest| rest.split(')').next().unwrap()).collect();
    assert!(links.len() > 20);
    for link in links {
        assert!(anchors.contains(link), "#{link}");
    }
}

/// Metrics that the page names without the prefix.
#[test]
fn every_metric_on_the_page_of_operations_is_watched_by_the_dashboard_or_a_rule() {
    let operations = text("docs/operations.md");
    let watched = text(RULES) + &text("deploy/grafana/credira-gateway.json");
    let words: BTreeSet<_> = operations.split('`').skip(1).step_by(2).collect();
    let names = words.iter().map(|word| word.split('{').next().unwrap()).filter(|name| {
        let is_one = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        is_one
            && ["_total", "_seconds", "_bytes", "_fds", "_open", "_successful"]
                .iter()
                .any(|end| name.ends_with(end))
    });
    // Keys of the configuration, and a field of the access line.
    let is_other = |name: &&str| {
        name.starts_with("max_") || name.starts_with("cache_max") || *name == "upstream_seconds"
    };
    let names: Vec<_> = names.filter(|name| !is_other(name)).collect();
    assert!(names.len() > 12, "{names:?}");
    for name in names {
        assert!(watched.contains(name), "{name}");
    }
}

/// The anchor that a heading gets where Markdown is shown as pages.
fn anchor(line: &str) -> Option<String> {
    let title = line.trim_start_matches('#');
    let is_heading = title.len() < line.len() && title.starts_with(' ');
    let kept = |c: char| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c if c.is_alphanumeric() => Some(c.to_ascii_lowercase()),
        _ => None,
    };
    is_heading.then(|| title.trim().chars().filter_map(kept).collect())
}
