//! Runs the `sh` blocks of README.md in order, in one shell, in an empty folder, and compares their output with the
//! `text` blocks.
//!
//! Nothing is skipped or changed silently. On standard error the test reports
//!
//! - which commands it leaves to CI, because they build the program or run this very test,
//! - which addresses it replaces by free ones, since others may use the ports of the page.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test that fails must stop, and tests may read the clock"
)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Commands that CI runs by themselves. What the first prints is tried by the black-box test
/// `the_demo_shows_a_miss_a_hit_an_isolation_a_refusal_and_the_metrics`.
const LEFT_TO_CI: [&str; 2] = ["cargo run --release -- demo", "cargo test"];

/// The longest that the whole page may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A fenced block.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    language: String,
    /// Of its first line.
    line: usize,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in page.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some(Block { language: language.into(), line: number + 2, text: String::new() });
            }
            (Some(_), Some("")) => found.extend(open.take()),
            (Some(block), _) => block.text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block has no end");
    found
}

/// Not `eprintln!`, which the test harness would swallow.
fn say(what: &str) {
    let _ = writeln!(std::io::stderr(), "README.md: {what}");
}

/// The page's loopback addresses, each with a free one in its place.
fn free_addresses(text: &str) -> BTreeMap<String, SocketAddr> {
    let mut taken = Vec::new();
    let mut found = BTreeMap::new();
    for (at, start) in text.match_indices("127.0.0.1:") {
        let port: String =
            text.get(at + start.len()..).unwrap().chars().take_while(char::is_ascii_digit).collect();
        found.entry(format!("{start}{port}")).or_insert_with(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            taken.push(listener);
            address
        });
    }
    found
}

/// A shell and all that it started, ended together.
struct Session(Child);

impl Session {
    fn start(script: &str, folder: &Path) -> std::io::Result<Self> {
        let program = Path::new(env!("CARGO_BIN_EXE_credira-gateway")).parent().unwrap();
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("bash");
        command.args(["-c", script]).current_dir(folder).env_clear().env("PATH", path).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map(Self)
    }

    /// Waits for its end. Returns whether it went well, and what was written.
    fn finish(mut self) -> (bool, String, String) {
        let read = |stream: Option<Box<dyn Read + Send>>| {
            let mut stream = stream.expect("piped");
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes).unwrap();
                String::from_utf8_lossy(&bytes).into_owned()
            })
        };
        let out = read(self.0.stdout.take().map(|stream| Box::new(stream) as _));
        let err = read(self.0.stderr.take().map(|stream| Box::new(stream) as _));
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                break Some(status);
            }
            if start.elapsed() > PATIENCE {
                break None;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        // What it left running would hold the streams open.
        drop(self);
        (status.is_some_and(|status| status.success()), out.join().unwrap(), err.join().unwrap())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.0.wait();
    }
}

/// As it may be compared: figures and white space differ from run to run.
fn plain(line: &str) -> String {
    let mut text = String::new();
    for c in line.split_whitespace().collect::<Vec<_>>().join(" ").chars() {
        match c {
            '0'..='9' if text.ends_with('N') => {}
            '0'..='9' => text.push('N'),
            _ => text.push(c),
        }
    }
    text
}

/// Needs bash and curl.
#[test]
fn the_commands_of_the_readme_do_what_it_says() {
    for tool in ["bash", "curl"] {
        if let Err(error) = Command::new(tool).arg("--version").output() {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{tool} is needed: {error}");
            return say(&format!("SKIPPED: {tool} is not here: {error}"));
        }
    }
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let blocks = blocks(&page);
    let (left, run): (Vec<_>, Vec<_>) = blocks
        .iter()
        .filter(|block| block.language == "sh")
        .partition(|b| LEFT_TO_CI.contains(&b.text.trim()));
    assert_eq!(left.len(), LEFT_TO_CI.len(), "each of these stands in a block of its own: {LEFT_TO_CI:?}");
    for block in &left {
        say(&format!("line {}: left to CI: {}", block.line, block.text.trim()));
    }
    let mut script = String::from("set -euo pipefail\n");
    for block in &run {
        // Tells, in the output, where each begins.
        script += &format!("echo '# line {}' >&2\n{}\n", block.line, block.text);
    }
    for (written, free) in free_addresses(&script) {
        say(&format!("{written} is {free} here"));
        script = script.replace(&written, &free.to_string());
    }
    let folder = tempfile::tempdir().unwrap();
    let (is_good, out, err) = Session::start(&script, folder.path()).unwrap().finish();
    let log = std::fs::read_to_string(folder.path().join("gateway.log")).unwrap_or_default();
    assert!(is_good, "--- out\n{out}\n--- err\n{err}\n--- the gateway's log\n{log}");

    let printed: Vec<String> = out.lines().map(plain).collect();
    let mut shown = 0;
    for block in blocks.iter().filter(|block| block.language == "text") {
        for line in block.text.lines() {
            assert!(printed.contains(&plain(line)), "line {}: not printed: {line}\n{out}", block.line);
            shown += 1;
        }
    }
    assert!(run.len() >= 4 && shown >= 9, "{} blocks, {shown} lines of output: were they found?", run.len());
}

#[test]
fn fences_are_read_as_they_are_written() {
    let page = "a\n```sh\nb\n\nc\n```\n```text\nd\n```\n";
    let block =
        |language: &str, line, text: &str| Block { language: language.into(), line, text: text.into() };
    assert_eq!(blocks(page), [block("sh", 3, "b\n\nc\n"), block("text", 8, "d\n")]);
    assert_eq!(plain("  ttl=83102;  age 4"), "ttl=N; age N");
}
