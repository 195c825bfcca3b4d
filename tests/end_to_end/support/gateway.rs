//! A gateway in front of a scripted upstream.

use std::io::Write;
use std::net::SocketAddr;

use super::client::{Client, Response};
use super::program::{Program, program_under};
use super::upstream::Upstream;

/// The two tenants' tokens: `alpha`'s and `beta`'s.
pub(crate) const TOKENS: [&str; 2] =
    ["token-of-alpha-0123456789abcdefghij", "token-of-beta-0123456789abcdefghijk"];
/// Their upstream keys.
pub(crate) const KEYS: [&str; 2] = ["upstream-key-of-alpha", "upstream-key-of-beta"];

/// A configuration: the smallest that serves two tenants, and what a test adds.
#[derive(Default, Clone)]
pub(crate) struct Config {
    sections: Vec<(String, String)>,
    tenants: [String; 2],
    more: String,
    environment: Vec<(String, String)>,
    starter: Vec<String>,
}

impl Config {
    /// Adds lines to a section.
    pub(crate) fn with(mut self, section: &str, lines: &str) -> Self {
        self.sections.push((section.into(), lines.into()));
        self
    }

    /// Adds lines to the entry of `alpha` (0) or `beta` (1).
    pub(crate) fn tenant(mut self, place: usize, lines: &str) -> Self {
        self.tenants[place] += lines;
        self.tenants[place] += "\n";
        self
    }

    /// Adds text to the end of the file, as further tenants.
    pub(crate) fn and(mut self, text: &str) -> Self {
        self.more += text;
        self
    }

    /// Has the program started by another, as `["prlimit", "--nofile=99"]`, which becomes it.
    pub(crate) fn under(mut self, starter: &[&str]) -> Self {
        self.starter = starter.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The file's text, for an upstream at this address.
    pub(crate) fn text(&self, upstream: SocketAddr) -> String {
        let mut sections = vec![
            ("listen".to_owned(), "address = \"127.0.0.1:0\"".to_owned()),
            ("admin".to_owned(), "address = \"127.0.0.1:0\"".to_owned()),
            ("upstream".to_owned(), format!("base_url = \"http://{upstream}\"")),
        ];
        for (name, lines) in &self.sections {
            match sections.iter_mut().find(|(have, _)| have == name) {
                Some((_, text)) => {
                    // A line of the test's own replaces the harness's.
                    let own: Vec<_> = lines.lines().filter_map(|line| line.split(" =").next()).collect();
                    let kept = text
                        .lines()
                        .filter(|line| !own.iter().any(|key| line.split(" =").next() == Some(key)));
                    *text = kept.collect::<Vec<_>>().join("\n") + "\n" + lines;
                }
                None => sections.push((name.clone(), lines.clone())),
            }
        }
        let mut text: String = sections.iter().map(|(name, lines)| format!("[{name}]\n{lines}\n")).collect();
        for (name, (token, (key, lines))) in
            ["alpha", "beta"].into_iter().zip(TOKENS.into_iter().zip(KEYS.into_iter().zip(&self.tenants)))
        {
            text += &format!("[[tenants]]\nname = \"{name}\"\n");
            if !lines.contains("tokens = ") {
                text += &format!("tokens = [{{ value = \"{token}\" }}]\n");
            }
            if !lines.contains("upstream_key = ") {
                text += &format!("upstream_key = {{ value = \"{key}\" }}\n");
            }
            text += lines;
        }
        text + &self.more
    }

    /// Starts the program with this configuration.
    pub(crate) fn start(self, upstream: &Upstream) -> Gateway {
        Gateway::start(&self, upstream.address())
    }
}

/// A running gateway.
pub(crate) struct Gateway {
    pub process: Program,
    pub data: SocketAddr,
    pub admin: SocketAddr,
    config: tempfile::NamedTempFile,
    upstream: SocketAddr,
}

impl Gateway {
    /// With only the defaults.
    pub(crate) fn plain(upstream: &Upstream) -> Self {
        Config::default().start(upstream)
    }

    pub(crate) fn start(config: &Config, upstream: SocketAddr) -> Self {
        let file = write_config(&config.text(upstream));
        let arguments = ["serve", "--config", file.path().to_str().expect("UTF-8")];
        let mut command = program_under(&config.starter, &arguments);
        command.envs(config.environment.iter().cloned());
        let process = Program::start(&mut command);
        let data = listener(&process, "data");
        let admin = listener(&process, "admin");
        Self { process, data, admin, config: file, upstream }
    }

    /// The file that it was started with.
    pub(crate) fn config_path(&self) -> &std::path::Path {
        self.config.path()
    }

    /// Replaces its configuration file, and has it reloaded.
    pub(crate) fn reload(&self, config: &Config) -> Response {
        self.rewrite(config.text(self.upstream));
        self.post_reload()
    }

    /// Replaces its configuration file, in one step.
    pub(crate) fn rewrite(&self, content: impl AsRef<[u8]>) {
        let next = self.config_path().with_extension("next");
        std::fs::write(&next, content).expect("written");
        std::fs::rename(next, self.config_path()).expect("renamed");
    }

    pub(crate) fn post_reload(&self) -> Response {
        Client::connect(self.admin).request("POST", "/api/v1/reload", "", &[]).read()
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.data)
    }

    /// Looks a call up as `alpha`, on a new connection.
    pub(crate) fn get(&self, id: &str) -> Response {
        self.get_as(0, id, &[])
    }

    /// Looks a call up with further header lines.
    pub(crate) fn get_with(&self, id: &str, lines: &[&str]) -> Response {
        self.get_as(0, id, lines)
    }

    /// Looks a call up as one of the tenants.
    pub(crate) fn get_as(&self, tenant: usize, id: &str, lines: &[&str]) -> Response {
        self.connect().get(&format!("/v1/calls/{id}"), TOKENS[tenant], lines).read()
    }

    /// Asks the admin plane.
    pub(crate) fn admin(&self, path: &str) -> Response {
        Client::connect(self.admin).get(path, "", &[]).read()
    }

    /// Has the admin plane purge.
    pub(crate) fn delete(&self, path: &str) -> Response {
        Client::connect(self.admin).request("DELETE", path, "", &[]).read()
    }

    /// The value of a series, as `cache_requests_total{outcome="hit",tenant="alpha"}`.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let text = self.admin("/metrics").text();
        let value = value_in(&text, &format!("credira_gateway_{series}"));
        value.unwrap_or_else(|| panic!("no {series} in\n{text}"))
    }

    /// The value of a series that need not be there yet.
    pub(crate) fn metric_or_0(&self, series: &str) -> f64 {
        value_in(&self.admin("/metrics").text(), &format!("credira_gateway_{series}")).unwrap_or(0.0)
    }

    /// A `process_` metric, as `open_fds`.
    pub(crate) fn process_metric(&self, name: &str) -> f64 {
        value_in(&self.admin("/metrics").text(), &format!("process_{name}")).expect("there from the start")
    }

    /// The lookups of `alpha` with this outcome.
    pub(crate) fn outcomes(&self, outcome: &str) -> f64 {
        self.metric(&format!("cache_requests_total{{outcome=\"{outcome}\",tenant=\"alpha\"}}"))
    }
}

fn value_in(metrics: &str, series: &str) -> Option<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().expect("a number"))
}

/// Writes a configuration to a temporary file.
pub(crate) fn write_config(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().expect("a file");
    file.write_all(text.as_bytes()).expect("written");
    file
}

/// Waits for a listener of a plane, and returns its address.
pub(crate) fn listener(process: &Program, plane: &str) -> SocketAddr {
    let line = process.err_line("about a listener", |line| {
        line.contains("\"message\":\"listening\"") && line.contains(&format!("\"plane\":\"{plane}\""))
    });
    let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    line["address"].as_str().expect("an address").parse().expect("IP and port")
}
