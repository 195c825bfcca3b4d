//! The program in a terminal: colours, progress, Ctrl-C. Needs `script` of util-linux, which gives a command
//! a pseudo-terminal.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::support::{Config, Upstream, eventually, needed, program, write_config};

/// A command in a pseudo-terminal.
struct Terminal {
    script: Child,
    keyboard: ChildStdin,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// `None`, with a message, if `script` is missing.
    fn open(arguments: &[&str], environment: &[(&str, &str)]) -> Option<Self> {
        let quoted: Vec<_> = arguments.iter().map(|argument| format!("'{argument}'")).collect();
        let path = program(&[]).get_program().to_str().unwrap().to_owned();
        let mut command = Command::new("script");
        command.args(["--quiet", "--flush", "--return", "--command"]);
        // Where the tests run in the background, Ctrl-C is ignored.
        command.arg(format!("exec env --default-signal=INT '{path}' {}", quoted.join(" "))).arg("/dev/null");
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("TERM", "xterm-256color")
            .env("SHELL", "/bin/sh");
        command.envs(environment.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut script = needed("script", command.spawn())?;
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut screen, kept) = (script.stdout.take().unwrap(), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                kept.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        });
        let keyboard = script.stdin.take().unwrap();
        Some(Self { script, keyboard, shown })
    }

    /// The output so far.
    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    #[track_caller]
    fn wait_for(&self, text: &str) {
        eventually(&format!("{text} is shown"), || self.shown().contains(text));
    }

    /// Presses Ctrl-C, and returns the exit code and the whole output.
    fn interrupt(mut self) -> (Option<i32>, String) {
        self.keyboard.write_all(b"\x03").unwrap();
        let mut status = None;
        eventually("the command ends", || {
            status = self.script.try_wait().unwrap();
            status.is_some()
        });
        (status.unwrap().code(), self.shown())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Ctrl-C for the command, whose terminal would otherwise be gone before it.
        let _ = self.keyboard.write_all(b"\x03");
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

const ESCAPE: char = '\x1b';

fn text_config(upstream: &Upstream) -> tempfile::NamedTempFile {
    write_config(&Config::default().with("log", "format = \"text\"").text(upstream.address()))
}

#[test]
fn serve_logs_text_in_colour_to_a_terminal_and_ends_on_ctrl_c() {
    let upstream = Upstream::contract();
    let file = text_config(&upstream);
    let Some(terminal) = Terminal::open(&["serve", "-c", file.path().to_str().unwrap()], &[]) else { return };
    terminal.wait_for("admin");
    let (code, shown) = terminal.interrupt();
    let first = shown.lines().next().unwrap();
    assert!(first.contains("INFO") && first.contains("starting") && first.contains(ESCAPE), "{first:?}");
    assert!(!shown.contains("panicked") && !shown.contains("ansi"), "{shown}");
    assert!(shown.contains("SIGINT") && code == Some(0), "{code:?} {shown}");
}

#[test]
fn the_demo_runs_in_a_terminal_and_ends_on_ctrl_c() {
    let Some(terminal) = Terminal::open(&["demo"], &[]) else { return };
    terminal.wait_for("Ctrl-C ends the demo");
    let (code, shown) = terminal.interrupt();
    assert!(shown.trim_start().starts_with("credira-gateway demo"), "{shown:?}");
    assert!(!shown.contains("panicked") && !shown.contains("ansi"), "{shown}");
    assert!(shown.contains("The demo has ended.") && code == Some(0), "{code:?} {shown}");
}

#[test]
fn colour_is_left_out_where_it_is_unwanted_and_forced_where_asked_for() {
    let upstream = Upstream::contract();
    let file = text_config(&upstream);
    let path = file.path().to_str().unwrap();
    for (arguments, environment) in [
        (&["--color", "never", "serve", "-c", path][..], &[][..]),
        (&["serve", "-c", path], &[("NO_COLOR", "1")]),
        (&["serve", "-c", path], &[("TERM", "dumb")]),
    ] {
        let Some(terminal) = Terminal::open(arguments, environment) else { return };
        terminal.wait_for("admin");
        let (_, shown) = terminal.interrupt();
        assert!(!shown.contains(ESCAPE), "{arguments:?} {environment:?}: {shown:?}");
    }
    let forced = crate::support::Program::start(
        program(&["serve", "-c", path, "--color", "always"]).env("NO_COLOR", "1"),
    );
    assert!(forced.err_line("about the start", |line| line.contains("starting")).contains(ESCAPE));
}

#[test]
fn a_demo_with_load_shows_how_far_it_is_in_a_terminal() {
    let Some(terminal) = Terminal::open(&["demo", "--load"], &[]) else { return };
    terminal.wait_for("50 lookups, ");
    let (code, shown) = terminal.interrupt();
    assert!(shown.contains("% from the cache") && shown.contains("Dashboard: http://127.0.0.1:"), "{shown}");
    assert!(shown.contains("The demo has ended.") && code == Some(0), "{code:?} {shown}");
}

#[test]
fn watched_figures_are_written_over_in_a_terminal() {
    let upstream = Upstream::contract();
    let gateway = crate::support::Gateway::plain(&upstream);
    let address = gateway.admin.to_string();
    let Some(terminal) = Terminal::open(&["stats", "--watch", "--admin", &address], &[]) else { return };
    terminal.wait_for("no problems");
    gateway.get("call_1");
    terminal.wait_for("1 lookups");
    let (code, shown) = terminal.interrupt();
    assert!(shown.matches("\x1b[H\x1b[2J").count() >= 2, "{shown:?}");
    assert_eq!(code, Some(130), "as a shell reports SIGINT");
}
