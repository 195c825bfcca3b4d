//! An engine of the shared level: a `redis-server` on a Unix socket of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::gateway::{Config, Gateway};
use super::{eventually, needed};

/// The key of every fleet here.
pub(super) const FLEET_KEY: &str = "a-fleet-key-of-32-characters-or-more";

/// A running engine. Dropping it ends it.
pub(crate) struct Engine {
    process: Child,
    folder: tempfile::TempDir,
    arguments: Vec<String>,
}

impl Engine {
    /// `None`, after saying so, where there is no `redis-server`.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// The same, with further arguments.
    pub(crate) fn start_with(arguments: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a directory");
        let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
        let process = needed("redis-server", spawn(&folder, &arguments))?;
        let engine = Self { process, folder, arguments };
        engine.wait_until_ready();
        Some(engine)
    }

    fn wait_until_ready(&self) {
        eventually("the engine is ready", || UnixStream::connect(self.socket()).is_ok());
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("engine.sock")
    }

    /// The smallest configuration of a gateway in this engine's fleet.
    pub(crate) fn config(&self) -> Config {
        self.config_with("")
    }

    /// The same, with further lines of the section.
    pub(crate) fn config_with(&self, lines: &str) -> Config {
        Config::default().with("shared", &(self.section() + lines))
    }

    /// The lines of the section.
    pub(crate) fn section(&self) -> String {
        // A busy machine's engine is given time.
        let url = self.socket().display().to_string();
        format!("urls = [\"unix:{url}\"]\nkey = {{ value = \"{FLEET_KEY}\" }}\ntimeout = \"1s\"\n")
    }

    /// Has it execute a command, and returns the text of its answer.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        converse(&UnixStream::connect(self.socket()).expect("the engine listens"), words)
    }

    /// Ends it at once; what it held is lost.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it ran");
        self.process.wait().expect("its end is seen");
        let _ = std::fs::remove_file(self.socket());
    }

    /// Starts it again, empty.
    pub(crate) fn restart(&mut self) {
        self.process = spawn(&self.folder, &self.arguments).expect("it was here before");
        self.wait_until_ready();
    }

    /// Stops it, or lets it go on, by a signal's name.
    pub(crate) fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args([&format!("-{name}"), &self.process.id().to_string()]).status();
        assert!(status.expect("kill").success());
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(folder: &tempfile::TempDir, arguments: &[String]) -> std::io::Result<Child> {
    let socket = folder.path().join("engine.sock");
    Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--appendonly", "no", "--dir"])
        .arg(folder.path())
        .arg("--unixsocket")
        .arg(socket)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

/// Sends a command over a connection, and returns the text of its answer.
pub(super) fn converse<'a, S>(stream: &'a S, words: &[&str]) -> String
where
    &'a S: Read + Write,
{
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        text += &format!("${}\r\n{word}\r\n", word.len());
    }
    let mut writer = stream;
    writer.write_all(text.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    read_value(&mut BufReader::new(stream), &mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads one value of the engine's protocol; the texts in it are appended, a line each.
fn read_value(reader: &mut impl BufRead, texts: &mut Vec<u8>) {
    let mut line = String::new();
    reader.read_line(&mut line).expect("an answer");
    let (kind, rest) = line.trim_end().split_at(1);
    let length = || rest.parse::<i64>().expect("a length");
    match kind {
        "$" => {
            let Ok(length) = usize::try_from(length()) else { return };
            let mut text = vec![0; length + 2];
            reader.read_exact(&mut text).expect("a text");
            texts.extend_from_slice(text.strip_suffix(b"\r\n").expect("its end"));
            texts.push(b'\n');
        }
        "*" => (0..length()).for_each(|_| read_value(reader, texts)),
        _ => {
            texts.extend_from_slice(rest.as_bytes());
            texts.push(b'\n');
        }
    }
}

impl Gateway {
    /// The lookups of `alpha` that asked the shared level with this result.
    pub(crate) fn asked_fleet(&self, result: &str) -> f64 {
        self.metric(&format!("level_requests_total{{level=\"shared\",result=\"{result}\",tenant=\"alpha\"}}"))
    }

    /// Waits until so many calls of `alpha` were written to the shared level.
    pub(crate) fn wait_for_shared(&self, calls: usize) {
        let series = "level_writes_total{level=\"shared\",result=\"stored\",tenant=\"alpha\"}";
        eventually("calls are written to the engine", || self.metric(series) >= calls as f64);
    }

    /// Waits until it is one of so many gateways of a fleet that is in use.
    pub(crate) fn wait_for_fleet(&self, gateways: usize) {
        eventually("the fleet is complete", || {
            self.metric("fleet_gateways") == gateways as f64
                && self.metric("level_up{level=\"shared\"}") == 1.0
        });
    }
}
