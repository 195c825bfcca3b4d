//! A real Prometheus that scrapes a real gateway, evaluates the rules and answers the dashboard.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::dashboard::queries;
use crate::project::path;
use crate::support::{Gateway, Program, TOKENS, Upstream, eventually, needed};

/// Prometheus, scraping one gateway every fifth of a second.
struct Prometheus {
    _process: Program,
    address: String,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// `None` where the program is missing.
    fn watching(gateway: &Gateway) -> Option<Self> {
        needed("prometheus", Command::new("prometheus").arg("--version").stderr(Stdio::null()).output())?;
        needed("curl", Command::new("curl").arg("--version").output())?;
        let folder = tempfile::tempdir().unwrap();
        let rules = path("deploy/prometheus/rules.yml");
        let configuration = serde_json::json!({
            "global": { "scrape_interval": "200ms", "evaluation_interval": "200ms", "scrape_timeout": "200ms" },
            "rule_files": [rules],
            "scrape_configs": [{
                "job_name": "credira-gateway",
                "static_configs": [{ "targets": [gateway.admin.to_string()] }],
            }],
        });
        let file = folder.path().join("prometheus.yml");
        // JSON is YAML.
        std::fs::write(&file, configuration.to_string()).unwrap();
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.args(["--web.listen-address=127.0.0.1:0", "--log.format=json", "--log.level=info"]);
        let process = Program::start(&mut command);
        let listening = process.err_line("about its address", |line| line.contains("\"Listening on\""));
        let listening: Value = serde_json::from_str(&listening).unwrap();
        let address = listening["address"].as_str().unwrap().to_owned();
        Some(Self { _process: process, address, _folder: folder })
    }

    fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let mut command = Command::new("curl");
        command.args(["--silent", "--get", &format!("http://{}/api/v1/{path}", self.address)]);
        for (name, value) in parameters {
            command.args(["--data-urlencode", &format!("{name}={value}")]);
        }
        serde_json::from_slice(&command.output().unwrap().stdout).unwrap_or_default()
    }

    fn rules(&self) -> Vec<Value> {
        let groups = self.ask("rules", &[])["data"]["groups"].as_array().cloned().unwrap_or_default();
        groups.into_iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect()
    }
}

/// Needs Prometheus and curl.
#[test]
fn prometheus_evaluates_every_rule_and_has_data_for_every_panel() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let Some(prometheus) = Prometheus::watching(&gateway) else { return };

    // Some of everything, for as long as it takes to be seen.
    let traffic = || {
        for id in ["call_1", "call_2", "call_missing1", "call_progress1", "nonsense"] {
            gateway.get_as(0, id, &[]);
            gateway.get_as(1, id, &[]);
        }
        gateway.connect().get("/v1/calls/call_1", &TOKENS[0][1..], &[]).read();
    };
    let mut rules = Vec::new();
    eventually("every rule is evaluated", || {
        traffic();
        rules = prometheus.rules();
        !rules.is_empty() && rules.iter().all(|rule| rule["health"] != "unknown")
    });
    assert_eq!(rules.len(), crate::rules::rules().len());
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{}: {}", rule["name"], rule["lastError"]);
        // Nothing is wrong with this gateway.
        if rule["type"] == "alerting" {
            assert_ne!(rule["state"], "firing", "{} fires", rule["name"]);
        }
    }

    for query in queries() {
        let expression = &query.expression;
        let mut answer = Value::Null;
        let has_data =
            |answer: &Value| answer["data"]["result"].as_array().is_some_and(|found| !found.is_empty());
        // Without TLS there is no certificate.
        let may_be_empty = expression.contains("tls_certificate");
        eventually(&format!("{} has data from {expression}", query.panel), || {
            traffic();
            answer = prometheus.ask("query", &[("query", expression)]);
            assert_eq!(answer["status"], "success", "{}: {expression}: {}", query.panel, answer["error"]);
            may_be_empty || has_data(&answer)
        });
    }
}
