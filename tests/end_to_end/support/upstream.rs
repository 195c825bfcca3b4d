//! An upstream that is scripted byte by byte, and records what it receives.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use credira_gateway::mock::Contract;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{PATIENCE, eventually};

/// A received request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub method: String,
    pub target: String,
    /// In order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The number of its connection, from 0.
    pub connection: usize,
    /// Its own number, from 0.
    pub number: usize,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    /// The ID of the requested call.
    pub(crate) fn id(&self) -> &str {
        self.target.strip_prefix("/v1/calls/").unwrap_or_default()
    }
}

/// One action on a connection.
#[derive(Clone)]
pub(crate) enum Act {
    Send(Vec<u8>),
    Sleep(Duration),
    Wait(Gate),
    /// Closes the connection cleanly.
    Close,
    /// Resets the connection.
    Reset,
}

/// Blocks everything that waits for it until it is opened.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        let open = self.0.0.lock().unwrap();
        drop(self.0.1.wait_timeout_while(open, PATIENCE, |open| !*open).unwrap());
    }
}

type Script = dyn Fn(&Seen) -> Vec<Act> + Send + Sync;

/// The upstream.
pub(crate) struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    script: Mutex<Arc<Script>>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
}

/// A whole response: a status line's tail, as `200 OK`, header lines, a body with its length.
pub(crate) fn reply(status: &str, lines: &[&str], body: &str) -> Vec<Act> {
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for line in lines {
        head += line;
        head += "\r\n";
    }
    vec![Act::Send((head + "\r\n" + body).into_bytes())]
}

/// The body of a completed call.
pub(crate) fn call(id: &str) -> String {
    let now = "2024-06-01T12:00:00Z".parse().unwrap();
    Contract::default().answer("GET", &format!("/v1/calls/{id}"), Some("Bearer x"), now, 0).body
}

/// The response for a completed call, with further header lines.
pub(crate) fn call_reply(id: &str, lines: &[&str]) -> Vec<Act> {
    let mut all = vec!["Content-Type: application/json"];
    all.extend_from_slice(lines);
    reply("200 OK", &all, &call(id))
}

impl Upstream {
    /// Answers by the contract.
    pub(crate) fn contract() -> Self {
        Self::scripted(|seen| {
            let now = "2024-06-01T12:00:00Z".parse().unwrap();
            let answer = Contract::default().answer(
                &seen.method,
                &seen.target,
                seen.header("authorization"),
                now,
                seen.number as u64,
            );
            reply(&format!("{} X", answer.status), &["Content-Type: application/json"], &answer.body)
        })
    }

    /// Answers every request with the same.
    pub(crate) fn always(acts: Vec<Act>) -> Self {
        Self::scripted(move |_| acts.clone())
    }

    /// Answers lookups with completed calls, once the gate is open.
    pub(crate) fn gated(gate: &Gate) -> Self {
        let gate = gate.clone();
        Self::scripted(move |seen| [vec![Act::Wait(gate.clone())], call_reply(seen.id(), &[])].concat())
    }

    pub(crate) fn scripted(script: impl Fn(&Seen) -> Vec<Act> + Send + Sync + 'static) -> Self {
        Self::start(None, script)
    }

    /// As [`contract`](Self::contract), over TLS.
    pub(crate) fn over_tls(tls: Arc<ServerConfig>) -> Self {
        Self::start(Some(tls), |seen| call_reply(seen.id(), &[]))
    }

    fn start(
        tls: Option<Arc<ServerConfig>>,
        script: impl Fn(&Seen) -> Vec<Act> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            script: Mutex::new(Arc::new(script)),
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&accepting);
                let connection = shared.connections.fetch_add(1, Ordering::SeqCst);
                let tls = tls.clone();
                std::thread::spawn(move || {
                    let _ = stream.set_nodelay(true);
                    match tls {
                        None => serve(&shared, &stream, &stream, connection),
                        Some(tls) => {
                            let session = ServerConnection::new(tls).expect("TLS");
                            let sealed = StreamOwned::new(session, &stream);
                            serve(&shared, sealed, &stream, connection);
                        }
                    }
                });
            }
        });
        Self { address, shared }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces the script from now on.
    pub(crate) fn now(&self, script: impl Fn(&Seen) -> Vec<Act> + Send + Sync + 'static) {
        *self.shared.script.lock().unwrap() = Arc::new(script);
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// How many requests have arrived.
    pub(crate) fn count(&self) -> usize {
        self.shared.seen.lock().unwrap().len()
    }

    /// How many connections were accepted.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Waits until this many requests have arrived.
    pub(crate) fn wait_for(&self, requests: usize) {
        eventually("requests reach the upstream", || self.count() >= requests);
    }
}

fn serve(shared: &Shared, stream: impl Read + Write, socket: &TcpStream, connection: usize) {
    let mut reader = BufReader::new(stream);
    while let Some((method, target, headers)) = read_head(&mut reader) {
        let seen = {
            let mut all = shared.seen.lock().unwrap();
            let seen = Seen { method, target, headers, connection, number: all.len() };
            all.push(seen.clone());
            seen
        };
        let script = Arc::clone(&shared.script.lock().unwrap());
        for act in script(&seen) {
            match act {
                Act::Send(bytes) => {
                    if reader.get_mut().write_all(&bytes).is_err() {
                        return;
                    }
                }
                Act::Sleep(time) => std::thread::sleep(time),
                Act::Wait(gate) => gate.wait(),
                Act::Close => return,
                Act::Reset => {
                    let socket = socket2::SockRef::from(socket);
                    let _ = socket.set_linger(Some(Duration::ZERO));
                    return;
                }
            }
        }
    }
}

type Head = (String, String, Vec<(String, String)>);

fn read_head(reader: &mut impl BufRead) -> Option<Head> {
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        Some(line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    loop {
        let field = line()?;
        if field.is_empty() {
            return Some((method, target, headers));
        }
        let (name, value) = field.split_once(':')?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}
