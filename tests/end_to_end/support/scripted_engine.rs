//! An engine that answers some commands as a test says, and has a real one answer the others.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::Engine;
use super::gateway::Config;

/// What it does with a command.
#[derive(Debug, Clone)]
pub(crate) enum Retort {
    /// Has the real engine answer.
    Pass,
    /// Answers with these bytes.
    Bytes(Vec<u8>),
    /// Closes the connection.
    Close,
}

impl Retort {
    /// An error, as `"LOADING Redis is loading the dataset in memory"`.
    pub(crate) fn error(text: &str) -> Self {
        Self::Bytes(format!("-{text}\r\n").into_bytes())
    }
}

type Script = Arc<dyn Fn(&[String]) -> Retort + Send + Sync>;

/// The engine.
pub(crate) struct ScriptedEngine {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    commands: Arc<AtomicUsize>,
    section: String,
}

impl ScriptedEngine {
    /// In front of a real engine, which answers everything at first.
    pub(crate) fn before(engine: &Engine) -> Self {
        let listener = TcpListener::bind((own_ip(), 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(Arc::new(|_| Retort::Pass)));
        let commands = Arc::<AtomicUsize>::default();
        let (used, counted, socket) = (Arc::clone(&script), Arc::clone(&commands), engine.socket());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (script, commands) = (Arc::clone(&used), Arc::clone(&counted));
                // Without the real engine there is nothing to talk to.
                let Ok(real) = UnixStream::connect(&socket) else { continue };
                std::thread::spawn(move || talk(&client, &real, &script, &commands));
            }
        });
        let url = format!("unix:{}", engine.socket().display());
        let section = engine.section().replace(&url, &format!("redis://{address}"));
        Self { address, script, commands, section }
    }

    /// The smallest configuration of a gateway in its fleet.
    pub(crate) fn config(&self) -> Config {
        Config::default().with("shared", &self.section)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, does this with each command, of which it is given the words.
    pub(crate) fn now(&self, script: impl Fn(&[String]) -> Retort + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Arc::new(script);
    }

    /// From now on, does the same with all commands.
    pub(crate) fn always(&self, retort: Retort) {
        self.now(move |_| retort.clone());
    }

    /// The commands that it has received so far.
    pub(crate) fn commands(&self) -> usize {
        self.commands.load(Ordering::SeqCst)
    }
}

/// A loopback address that no other test has.
pub(crate) fn own_ip() -> Ipv4Addr {
    Ipv4Addr::new(127, fastrand::u8(16..), fastrand::u8(..), fastrand::u8(1..255))
}

/// Serves a connection to its end.
fn talk(client: &TcpStream, real: &UnixStream, script: &Mutex<Script>, commands: &AtomicUsize) {
    let _ = client.set_nodelay(true);
    let (mut asked, mut answered) = (BufReader::new(client), BufReader::new(real));
    while let Some((raw, words)) = read_command(&mut asked) {
        commands.fetch_add(1, Ordering::SeqCst);
        let script = Arc::clone(&script.lock().unwrap());
        let answer = match script(&words) {
            Retort::Bytes(bytes) => Some(bytes),
            Retort::Close => None,
            Retort::Pass => {
                let sent = (&*real).write_all(&raw);
                sent.ok().and_then(|()| copy_value(&mut answered))
            }
        };
        let Some(answer) = answer else { break };
        if (&*client).write_all(&answer).is_err() {
            break;
        }
    }
    let _ = client.shutdown(std::net::Shutdown::Both);
}

/// A command: its bytes, and its words.
fn read_command(reader: &mut impl BufRead) -> Option<(Vec<u8>, Vec<String>)> {
    let mut raw = Vec::new();
    reader.read_until(b'\n', &mut raw).ok()?;
    let count: usize = String::from_utf8_lossy(&raw).strip_prefix('*')?.trim_end().parse().ok()?;
    let mut words = Vec::new();
    for _ in 0..count {
        let begin = raw.len();
        reader.read_until(b'\n', &mut raw).ok()?;
        let length: usize =
            String::from_utf8_lossy(&raw[begin..]).strip_prefix('$')?.trim_end().parse().ok()?;
        let begin = raw.len();
        raw.resize(begin + length + 2, 0);
        reader.read_exact(&mut raw[begin..]).ok()?;
        words.push(String::from_utf8_lossy(&raw[begin..begin + length]).into_owned());
    }
    Some((raw, words))
}

/// The bytes of one value.
fn copy_value(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut raw = Vec::new();
    if reader.read_until(b'\n', &mut raw).ok()? == 0 {
        return None;
    }
    let length = || String::from_utf8_lossy(&raw[1..]).trim_end().parse::<i64>().ok();
    match raw[0] {
        b'$' => {
            if let Ok(length) = usize::try_from(length()?) {
                let begin = raw.len();
                raw.resize(begin + length + 2, 0);
                reader.read_exact(&mut raw[begin..]).ok()?;
            }
        }
        b'*' => {
            for _ in 0..length()? {
                raw.extend(copy_value(reader)?);
            }
        }
        _ => {}
    }
    Some(raw)
}
