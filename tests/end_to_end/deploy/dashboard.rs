//! The Grafana dashboard, checked as a file.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::deploy::project::{files, is_content, text, yaml};
use crate::deploy::rules::{recorded, rules};
use crate::support::{Disk, Engine, Upstream};

const DASHBOARD: &str = "deploy/grafana/credira-gateway.json";

/// The variables that are chosen from lists, in their order.
const CHOSEN: [&str; 4] = ["namespace", "job", "instance", "tenant"];

fn dashboard() -> Value {
    serde_json::from_str(&text(DASHBOARD)).expect("JSON")
}

fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row")
}

/// An expression of the dashboard, as Grafana would send it.
pub(super) struct Query {
    /// The panel's title.
    pub panel: String,
    /// PromQL, with every variable replaced.
    pub expression: String,
}

/// Every expression of every panel.
pub(super) fn queries() -> Vec<Query> {
    let dashboard = dashboard();
    let mut queries = Vec::new();
    for panel in panels(&dashboard) {
        for target in panel["targets"].as_array().unwrap() {
            let written = target["expr"].as_str().unwrap();
            let expression = filled(written, &|_| ".*".into());
            queries.push(Query { panel: panel["title"].as_str().unwrap().into(), expression });
        }
    }
    assert!(queries.len() > 40);
    queries
}

/// An expression of the dashboard with `value` for each variable that is chosen.
pub(super) fn filled(written: &str, value: &dyn Fn(&str) -> String) -> String {
    let mut expression = written.replace("$__rate_interval", "1m");
    for name in CHOSEN {
        let variable = format!("${name}");
        if expression.contains(&variable) {
            expression = expression.replace(&variable, &value(name));
        }
    }
    assert!(!expression.contains('$'), "a variable that the dashboard doesn't have: {written}");
    expression
}

/// The expressions of one panel, as in the file.
pub(super) fn expressions(title: &str) -> Vec<String> {
    let dashboard = dashboard();
    let panel = panels(&dashboard).find(|panel| panel["title"] == title).unwrap();
    let targets = panel["targets"].as_array().unwrap().iter();
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

/// A variable that takes its values from a label of some series.
pub(super) struct Variable {
    pub name: String,
    /// The series, with the variables before it.
    pub series: String,
    pub label: String,
}

/// Those variables, in their order.
pub(super) fn variables() -> Vec<Variable> {
    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    let queries = variables.filter(|variable| variable["type"] == "query").map(|variable| {
        assert!(variable["allValue"].is_null(), "All must mean the values listed: {}", variable["name"]);
        assert_eq!(variable["includeAll"], true);
        let definition = variable["definition"].as_str().unwrap();
        assert_eq!(variable["query"]["query"], definition);
        let inner = definition.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).unwrap();
        let (series, label) = inner.rsplit_once(", ").unwrap();
        let name = variable["name"].as_str().unwrap().into();
        Variable { name, series: series.into(), label: label.into() }
    });
    queries.collect()
}

/// The names of metrics in an expression: words with the prefix of ours, of the process's or of a
/// recording rule's.
fn names(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    words.filter(|word| {
        word.starts_with("credira_gateway_") || word.starts_with("process_") || word.contains(':')
    })
}

#[test]
fn every_metric_in_rules_and_dashboard_is_in_a_real_scrape_or_recorded() {
    let Some(engine) = Engine::start() else { return };
    let upstream = Upstream::contract();
    // Levels, the fleet and media have series where they are configured.
    let disk = Disk::new();
    let routes = "routes = [\"call\", \"recording\", \"transcription\"]";
    let limit = "rate_limit = { per_second = 100 }";
    let config = disk.config().with("shared", &engine.section());
    let gateway = config.tenant(0, routes).tenant(0, limit).start(&upstream);
    gateway.wait_for_fleet(1);
    // Series with an error code appear with the first refusal.
    assert_eq!(gateway.connect().get("/v1/calls/call_1", "unknown", &[]).read().status, 401);
    let scrape = gateway.admin("/metrics").text();
    let samples = scrape.lines().filter(|line| !line.starts_with('#'));
    let mut known: BTreeSet<String> =
        samples.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect();
    known.extend(recorded());
    // Only where TLS is spoken; there is a test for that.
    known.insert("credira_gateway_tls_certificate_expiry_timestamp_seconds".into());

    let rules = rules().into_iter().map(|rule| rule["expr"].as_str().unwrap().to_owned());
    let reloads = dashboard()["annotations"]["list"][0]["expr"].as_str().unwrap().to_owned();
    let expressions = rules.chain(queries().into_iter().map(|query| query.expression)).chain([reloads]);
    let used: BTreeSet<String> =
        expressions.flat_map(|text| names(&text).map(str::to_owned).collect::<Vec<_>>()).collect();
    assert!(used.len() > 30, "{used:?}");
    let unknown: Vec<_> = used.difference(&known).collect();
    assert!(unknown.is_empty(), "not in a scrape: {unknown:?}");

    // And conversely: every exported metric is used by something.
    let exported = known.iter().filter(|name| name.starts_with("credira_gateway_"));
    let family = |name: &str| {
        let plain = ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end));
        plain.unwrap_or(name).to_owned()
    };
    let used: BTreeSet<String> = used.iter().map(|name| family(name)).collect();
    let unused: BTreeSet<String> =
        exported.map(|name| family(name)).filter(|name| !used.contains(name)).collect();
    assert!(unused.is_empty(), "on no panel and in no rule: {unused:?}");
}

#[test]
fn promtool_parses_every_expression_of_the_dashboard() {
    let rules: Vec<String> = queries()
        .iter()
        .enumerate()
        .map(|(number, query)| {
            format!(
                "      - record: expression:{number}\n        expr: {}\n",
                serde_json::json!(query.expression)
            )
        })
        .collect();
    let file = tempfile::Builder::new().suffix(".yml").tempfile().unwrap();
    std::fs::write(file.path(), format!("groups:\n  - name: dashboard\n    rules:\n{}", rules.concat()))
        .unwrap();
    is_content(Command::new("promtool").args(["check", "rules"]).arg(file.path()));
}

#[test]
fn every_panel_says_what_it_shows_and_in_which_unit() {
    let dashboard = dashboard();
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().expect("a title");
        let described = panel["description"].as_str().is_some_and(|text| text.len() > 20);
        assert!(described, "{title} has no description");
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str();
        assert!(unit.is_some_and(|unit| !unit.is_empty()), "{title} has no unit");
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            let expression = target["expr"].as_str().unwrap();
            for function in ["rate(", "increase("] {
                let ranges = expression.split(function).skip(1);
                let own =
                    ranges.filter(|rest| !rest.split(']').next().unwrap().ends_with("[$__rate_interval"));
                assert_eq!(own.count(), 0, "{title}: a range of its own in {expression}");
            }
            // Recording rules aggregate over whole jobs.
            let recorded = expression.contains("job_tenant:");
            for selector in expression.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()) {
                assert!(
                    selector.contains("namespace=~\"$namespace|\", job=~\"$job\"")
                        && (recorded || selector.contains("instance=~\"$instance\"")),
                    "{title}: {{{selector}}} is for more gateways than were chosen"
                );
            }
        }
    }
}

#[test]
fn source_namespace_job_instance_and_tenant_can_be_chosen() {
    let dashboard = dashboard();
    let variables: Vec<_> = dashboard["templating"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["name"].as_str().unwrap())
        .collect();
    assert_eq!(variables[0], "datasource");
    assert_eq!(variables[1..], CHOSEN);
    assert_eq!(self::variables().iter().map(|variable| variable.name.as_str()).collect::<Vec<_>>(), CHOSEN);
    assert!(dashboard["id"].is_null(), "an ID is the business of the Grafana that loads it");
    assert!(dashboard["uid"].is_string());
}

#[test]
fn every_panel_that_the_page_of_operations_names_is_on_the_dashboard() {
    let dashboard = dashboard();
    let titles: BTreeSet<_> = panels(&dashboard).map(|panel| panel["title"].as_str().unwrap()).collect();
    let operations = text("docs/operations.md");
    let look = operations.lines().filter(|line| line.starts_with("| look |"));
    let named: BTreeSet<_> = look
        .flat_map(|line| {
            line.split(" *").skip(1).filter_map(|rest| rest.split_once('*').map(|(name, _)| name))
        })
        .collect();
    assert!(named.len() > 6, "{named:?}");
    assert!(named.is_subset(&titles), "not on the dashboard: {:?}", named.difference(&titles));
}

#[test]
fn no_two_panels_lie_on_each_other() {
    let dashboard = dashboard();
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(side("x") + side("w") <= 24, "{}", panel["title"]);
        for column in side("x")..side("x") + side("w") {
            for line in side("y")..side("y") + side("h") {
                assert!(taken.insert((column, line)), "{} lies on another panel", panel["title"]);
            }
        }
        assert!(ids.insert(panel["id"].as_u64().unwrap()));
    }
}

#[test]
fn the_provisioning_finds_the_dashboard_and_its_source() {
    for folder in ["dashboards", "datasources"] {
        for file in files(&format!("deploy/grafana/provisioning/{folder}"), ".yaml") {
            assert_eq!(yaml(&file)[0]["apiVersion"], 1, "{file}");
        }
    }
    let compose = yaml("deploy/compose.yaml").remove(0);
    let mounts = compose["services"]["grafana"]["volumes"].as_array().unwrap();
    let folder = yaml("deploy/grafana/provisioning/dashboards/credira-gateway.yaml").remove(0);
    let folder = folder["providers"][0]["options"]["path"].as_str().unwrap().to_owned();
    assert!(mounts.iter().any(|mount| {
        mount.as_str().unwrap() == format!("./grafana/credira-gateway.json:{folder}/credira-gateway.json:ro")
    }));
}
