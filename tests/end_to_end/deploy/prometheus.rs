//! A real Prometheus that scrapes a real gateway, evaluates the rules and answers the dashboard.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::deploy::dashboard::{expressions, filled, queries, variables};
use crate::deploy::project::path;
use crate::support::{Disk, Engine, Gateway, Program, Says, TOKENS, Upstream, eventually, needed};

/// Prometheus, scraping every fifth of a second.
struct Prometheus {
    _process: Program,
    address: String,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// Scrapes targets, given as job, namespace and address. `None` where the program is missing.
    fn watching(targets: &[(&str, Option<&str>, SocketAddr)]) -> Option<Self> {
        needed("prometheus", Command::new("prometheus").arg("--version").stderr(Stdio::null()).output())?;
        needed("curl", Command::new("curl").arg("--version").output())?;
        let folder = tempfile::tempdir().unwrap();
        let rules = path("deploy/prometheus/rules.yml");
        let scrape = |(job, namespace, address): &(&str, Option<&str>, SocketAddr)| {
            let labels = namespace.map_or(json!({}), |namespace| json!({ "namespace": namespace }));
            json!({
                "job_name": job,
                "static_configs": [{ "targets": [address.to_string()], "labels": labels }],
            })
        };
        let configuration = json!({
            "global": { "scrape_interval": "200ms", "evaluation_interval": "200ms", "scrape_timeout": "200ms" },
            "rule_files": [rules],
            "scrape_configs": targets.iter().map(scrape).collect::<Vec<_>>(),
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
        let prometheus = Self { _process: process, address, _folder: folder };
        eventually("it answers", || prometheus.ask("query", &[("query", "1")])["status"] == "success");
        Some(prometheus)
    }

    fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let mut command = Command::new("curl");
        command.args(["--silent", "--get", &format!("http://{}/api/v1/{path}", self.address)]);
        for (name, value) in parameters {
            command.args(["--data-urlencode", &format!("{name}={value}")]);
        }
        serde_json::from_slice(&command.output().unwrap().stdout).unwrap_or_default()
    }

    /// The series that an expression evaluates to now.
    fn series(&self, expression: &str) -> Vec<Value> {
        let answer = self.ask("query", &[("query", expression)]);
        assert_eq!(answer["status"], "success", "{expression}: {}", answer["error"]);
        answer["data"]["result"].as_array().cloned().unwrap_or_default()
    }

    /// The values that each variable of the dashboard offers, with `chosen` chosen and the others at All.
    fn offered(&self, chosen: &[(&str, &str)]) -> BTreeMap<String, Vec<String>> {
        let mut offered: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for variable in variables() {
            let series = filled(&variable.series, &|name| match offered.get(name) {
                Some(values) => any_of(values),
                None => panic!("{} depends on {name}, which comes later", variable.name),
            });
            let answer = self.ask(&format!("label/{}/values", variable.label), &[("match[]", &series)]);
            assert_eq!(answer["status"], "success", "{series}: {}", answer["error"]);
            let all: Vec<String> = serde_json::from_value(answer["data"].clone()).unwrap();
            let values = match chosen.iter().find(|(name, _)| *name == variable.name) {
                Some((_, value)) => vec![(*value).to_owned()],
                None => all,
            };
            offered.insert(variable.name, values);
        }
        offered
    }

    /// The series of a panel's first expression, with `chosen` chosen and the others at All.
    fn panel(&self, title: &str, chosen: &[(&str, &str)]) -> Vec<Value> {
        let offered = self.offered(chosen);
        self.series(&filled(&expressions(title)[0], &|name| any_of(&offered[name])))
    }

    fn rules(&self) -> Vec<Value> {
        let groups = self.ask("rules", &[])["data"]["groups"].as_array().cloned().unwrap_or_default();
        groups.into_iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect()
    }
}

/// The text that Grafana substitutes for a variable with these values.
fn any_of(values: &[String]) -> String {
    let escaped: Vec<_> = values.iter().map(|value| value.replace('.', "\\\\.")).collect();
    match &escaped[..] {
        [value] => value.clone(),
        values => format!("({})", values.join("|")),
    }
}

/// Needs Prometheus and curl.
#[test]
fn the_dashboard_counts_gateways_and_nothing_else_that_prometheus_scrapes() {
    let upstream = Upstream::contract();
    let (sidecar, central) = (Gateway::plain(&upstream), Gateway::plain(&upstream));
    let foreign = "up_since 1\nprocess_resident_memory_bytes 1\ncredira_gateway_connections 5\n";
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\nconnection: close\r\n";
    let exporter = Says::this(format!("{head}content-length: {}\r\n\r\n{foreign}", foreign.len()).as_bytes());
    let targets = [
        ("calls/credira-gateway", Some("calls"), sidecar.admin),
        ("credira-gateway", None, central.admin),
        ("node", Some("calls"), exporter.address),
    ];
    let Some(prometheus) = Prometheus::watching(&targets) else { return };
    eventually("all three are scraped", || prometheus.series("up == 1").len() == 3);
    eventually("both gateways' memory is known", || {
        prometheus.series("process_resident_memory_bytes").len() == 3
    });

    let up = |chosen: &[(&str, &str)]| prometheus.panel("Gateways", chosen)[0]["value"][1].clone();
    assert_eq!(up(&[]), "2");
    assert_eq!(up(&[("job", "credira-gateway")]), "1");
    assert_eq!(up(&[("instance", &sidecar.admin.to_string())]), "1");
    // Gateways of another namespace are excluded, those without one are not.
    assert_eq!(up(&[("namespace", "elsewhere")]), "1");
    let memory: BTreeSet<String> = prometheus
        .panel("Memory", &[])
        .iter()
        .map(|series| series["metric"]["instance"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(memory, [sidecar.admin, central.admin].map(|address| address.to_string()).into());
}

/// Needs Prometheus, curl and redis-server.
#[test]
fn prometheus_evaluates_every_rule_and_has_data_for_every_panel() {
    let upstream = Upstream::contract();
    let disk = Disk::new();
    let Some(engine) = Engine::start() else { return };
    let gateway = disk
        .config()
        .with("shared", &engine.section())
        .tenant(
            0,
            "routes = [\"call\", \"recording\", \"transcription\"]\nrate_limit = { per_second = 1000 }",
        )
        .start(&upstream);
    let Some(prometheus) = Prometheus::watching(&[("credira-gateway", None, gateway.admin)]) else { return };

    // Traffic of every kind, until it has been scraped.
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
    assert_eq!(rules.len(), crate::deploy::rules::rules().len());
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
