//! The program as a process: starts it, reads its output, ends it.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::{PATIENCE, eventually};

/// A command of the program, with a clean environment.
pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_credira-gateway"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

/// As [`program`], but started through another program that executes it, if one is given.
pub(crate) fn program_under(starter: &[String], arguments: &[&str]) -> Command {
    let own = program(arguments);
    let Some((first, rest)) = starter.split_first() else { return own };
    let mut command = Command::new(first);
    command.args(rest).arg(own.get_program()).args(arguments);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
    command
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Finished {
    /// Runs a command to its end.
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().expect("runs");
        Self {
            code: output.status.code().expect("no signal"),
            out: String::from_utf8(output.stdout).expect("UTF-8"),
            err: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

/// A process that runs until it is ended or dropped.
pub(crate) struct Program {
    child: Child,
    out: Lines,
    err: Lines,
}

/// The lines written to one stream so far.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn collect(&self, stream: impl Read + Send + 'static) {
        let lines = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                lines.0.lock().unwrap().push(line);
            }
        });
    }

    fn get(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Program {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        let (out, err) = (Lines::default(), Lines::default());
        out.collect(child.stdout.take().expect("piped"));
        err.collect(child.stderr.take().expect("piped"));
        Self { child, out, err }
    }

    /// Starts with the command's own standard output.
    pub(crate) fn start_over(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("starts");
        let err = Lines::default();
        err.collect(child.stderr.take().expect("piped"));
        Self { child, out: Lines::default(), err }
    }

    /// Starts without reading what it writes on standard error.
    pub(crate) fn start_unread(command: &mut Command) -> (Self, std::process::ChildStderr) {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        let out = Lines::default();
        out.collect(child.stdout.take().expect("piped"));
        let unread = child.stderr.take().expect("piped");
        (Self { child, out, err: Lines::default() }, unread)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn out(&self) -> Vec<String> {
        self.out.get()
    }

    pub(crate) fn err(&self) -> Vec<String> {
        self.err.get()
    }

    /// Waits for a line on standard error, and returns it.
    pub(crate) fn err_line(&self, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        let mut found = None;
        let start = Instant::now();
        while found.is_none() {
            found = self.err().into_iter().find(|line| is_it(line));
            assert!(start.elapsed() < PATIENCE, "no line {what} in:\n{}", self.err().join("\n"));
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        found.expect("found")
    }

    /// Sends a signal by name, as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status();
        assert!(sent.expect("kill").success());
    }

    /// Seconds of processor that it has used so far, from the hundredths that the kernel counts.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("it runs");
        // Behind the name in brackets: the state is the third field, user and system time the 14th and 15th.
        let fields = stat.rsplit(')').next().expect("a name").split_whitespace();
        fields.skip(11).take(2).map(|time| time.parse::<f64>().expect("a number") / 100.0).sum()
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the process ends", || {
            status = self.child.try_wait().expect("wait");
            status.is_some()
        });
        status.expect("ended")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "--- the program's log ---\n{}", self.err().join("\n"));
        }
    }
}
