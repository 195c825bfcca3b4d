//! Which alerts silence which: a real Alertmanager with the shipped rules, given the alerts of a failure.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::deploy::project::{is_content, path, yaml};
use crate::deploy::rules::alerts;
use crate::support::{Program, eventually, needed};

const CONFIGURATION: &str = "deploy/prometheus/alertmanager.yml";
const NAME: &str = "prometheus-alertmanager";

struct Alertmanager {
    _process: Program,
    address: String,
    _folder: tempfile::TempDir,
}

impl Alertmanager {
    /// `None` where the program is missing.
    fn start() -> Option<Self> {
        needed(
            NAME,
            Command::new(NAME).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status(),
        )?;
        needed("curl", Command::new("curl").arg("--version").output())?;
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(NAME);
        command.arg(format!("--config.file={}", path(CONFIGURATION).display()));
        command.arg(format!("--storage.path={}", folder.path().display()));
        // Without peers, and on its own port.
        command.args(["--cluster.listen-address=", "--web.listen-address=127.0.0.1:0"]);
        let process = Program::start(command.args(["--log.format=json", "--log.level=info"]));
        let listening = process.err_line("about its address", |line| line.contains("\"Listening on\""));
        let listening: Value = serde_json::from_str(&listening).unwrap();
        let address = listening["address"].as_str().unwrap().to_owned();
        Some(Self { _process: process, address, _folder: folder })
    }

    fn curl(&self, arguments: &[&str]) -> Value {
        let mut command = Command::new("curl");
        let url = format!("http://{}/api/v2/alerts", self.address);
        let output = command.args(["--silent", "--fail-with-body", &url]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Fires alerts, given as name and tenant, and returns those with a notification.
    fn notified(&self, fired: &[(&str, &str)]) -> BTreeSet<(String, String)> {
        let labels = fired.iter().map(|(name, tenant)| json!({ "alertname": name, "tenant": tenant }));
        let name_and_tenant = |labels: &Value| {
            let label = |name: &str| labels[name].as_str().unwrap().to_owned();
            (label("alertname"), label("tenant"))
        };
        self.active(&labels.collect::<Vec<_>>()).iter().map(name_and_tenant).collect()
    }

    /// Fires alerts, given by their labels, and returns the labels of those with a notification.
    fn active(&self, fired: &[Value]) -> Vec<Value> {
        let known = alerts();
        let of = |labels: &Value| {
            let mut labels = labels.clone();
            labels["severity"] = known[labels["alertname"].as_str().unwrap()]["labels"]["severity"].clone();
            labels["job"] = "calls/credira-gateway".into();
            labels["namespace"] = "calls".into();
            json!({ "labels": labels })
        };
        let body = Value::Array(fired.iter().map(of).collect()).to_string();
        self.curl(&["--header", "Content-Type: application/json", "--data", &body]);
        let mut states = BTreeMap::new();
        eventually("all alerts have arrived", || {
            for alert in self.curl(&[]).as_array().unwrap() {
                let state = alert["status"]["state"].as_str().unwrap().to_owned();
                states.insert(alert["labels"].to_string(), (alert["labels"].clone(), state));
            }
            states.len() == fired.len() && states.values().all(|(_, state)| state != "unprocessed")
        });
        states.into_values().filter(|(_, state)| state == "active").map(|(labels, _)| labels).collect()
    }
}

fn set(alerts: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    alerts.iter().map(|(name, tenant)| ((*name).to_owned(), (*tenant).to_owned())).collect()
}

/// Needs amtool.
#[test]
fn amtool_accepts_the_inhibition_rules() {
    is_content(Command::new("amtool").arg("check-config").arg(path(CONFIGURATION)));
}

#[test]
fn the_inhibition_rules_name_only_alerts_that_exist() {
    let known: BTreeSet<String> = alerts().into_keys().collect();
    let configuration = yaml(CONFIGURATION).remove(0);
    let mut named = BTreeSet::new();
    for rule in configuration["inhibit_rules"].as_array().unwrap() {
        for side in ["source_matchers", "target_matchers"] {
            let matchers = rule[side].as_array().unwrap().iter().map(|matcher| matcher.as_str().unwrap());
            for matcher in matchers.filter(|matcher| matcher.starts_with("alertname")) {
                let names = matcher.split('"').nth(1).unwrap();
                named.extend(names.split('|').map(str::to_owned));
            }
        }
    }
    assert!(named.len() > 8, "{named:?}");
    assert!(named.is_subset(&known), "unknown: {:?}", named.difference(&known));
}

/// Needs Alertmanager and curl.
#[test]
fn an_upstream_outage_that_callers_see_is_one_notification() {
    let Some(alertmanager) = Alertmanager::start() else { return };
    let outage = [
        ("CrediraGatewayErrorsFastBurn", "billing"),
        ("CrediraGatewayErrorsSlowBurn", "billing"),
        ("CrediraGatewayUpstreamFailing", "billing"),
        ("CrediraGatewayUpstreamSlow", "billing"),
        ("CrediraGatewayBreakerOpen", "billing"),
        ("CrediraGatewayHitRatioLow", "billing"),
        ("CrediraGatewayCoverageLow", "billing"),
        // Another tenant's alert, and an unrelated one.
        ("CrediraGatewayBreakerOpen", "support"),
        ("CrediraGatewayTenantRateLimited", "billing"),
        ("CrediraGatewayIdentityMismatch", "billing"),
    ];
    let [first, .., other, limited, mixed] = outage;
    assert_eq!(alertmanager.notified(&outage), set(&[first, other, limited, mixed]));
}

/// Needs Alertmanager and curl.
#[test]
fn an_outage_that_stale_entries_hide_and_a_rejected_key_are_one_notification_each() {
    let Some(alertmanager) = Alertmanager::start() else { return };
    let fired = [
        ("CrediraGatewayUpstreamFailing", "billing"),
        ("CrediraGatewayUpstreamSlow", "billing"),
        ("CrediraGatewayBreakerOpen", "billing"),
        ("CrediraGatewayKeyRejected", "support"),
        ("CrediraGatewayKeyPromoted", "support"),
        ("CrediraGatewayErrorsFastBurn", "support"),
        ("CrediraGatewayErrorsSlowBurn", "support"),
        ("CrediraGatewayCacheThrashing", "audit"),
        ("CrediraGatewayHitRatioLow", "audit"),
        ("CrediraGatewayCoverageLow", "audit"),
    ];
    let causes = [fired[0], fired[3], fired[7]];
    assert_eq!(alertmanager.notified(&fired), set(&causes));
}

/// Needs Alertmanager and curl.
#[test]
fn a_lost_engine_is_one_notification_and_a_lost_disk_hides_no_limit() {
    let Some(alertmanager) = Alertmanager::start() else { return };
    let down = |instance: &str, level: &str| json!({ "alertname": "CrediraGatewayLevelDown", "instance": instance, "level": level });
    let fallback = |instance: &str, tenant: &str| {
        json!({
            "alertname": "CrediraGatewayLimitFallback", "instance": instance, "tenant": tenant, "limit": "tenant",
        })
    };
    let active = alertmanager.active(&[
        down("a:9090", "shared"),
        fallback("a:9090", "billing"),
        fallback("a:9090", "support"),
        down("b:9090", "disk"),
        fallback("b:9090", "billing"),
    ]);
    let mut shown: Vec<_> = active
        .iter()
        .map(|labels| format!("{} {}", labels["alertname"].as_str().unwrap(), labels["instance"]))
        .collect();
    shown.sort_unstable();
    let (down, fallback) = ("CrediraGatewayLevelDown", "CrediraGatewayLimitFallback");
    let expected =
        [format!("{down} \"a:9090\""), format!("{down} \"b:9090\""), format!("{fallback} \"b:9090\"")];
    assert_eq!(shown, expected);
}
