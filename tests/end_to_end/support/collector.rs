//! A collector of traces: accepts OTLP over HTTP, and decodes the protobuf that this needs.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::eventually;

/// A collector.
pub(crate) struct Collector {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    status: AtomicU16,
    batches: Mutex<Vec<Batch>>,
}

#[derive(Clone)]
struct Batch {
    status: u16,
    head: String,
    body: Vec<u8>,
}

/// A received span.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub trace_id: String,
    pub id: String,
    /// Empty for the first of a trace.
    pub parent_id: String,
    pub state: String,
    pub name: String,
    /// 2 a server's, 3 a client's.
    pub kind: u64,
    /// 0 unset, 2 an error.
    pub status: u64,
    pub took_nanos: u64,
    pub attributes: BTreeMap<String, String>,
    /// The attributes of the process.
    pub resource: BTreeMap<String, String>,
}

impl Collector {
    pub(crate) fn start() -> Self {
        Self::speaking(None)
    }

    pub(crate) fn over_tls(tls: Arc<ServerConfig>) -> Self {
        Self::speaking(Some(tls))
    }

    fn speaking(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { status: AtomicU16::new(200), batches: Mutex::default() });
        let taking = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (shared, tls) = (Arc::clone(&taking), tls.clone());
                std::thread::spawn(move || match tls {
                    None => serve(&shared, stream),
                    Some(tls) => {
                        serve(&shared, StreamOwned::new(ServerConnection::new(tls).unwrap(), stream))
                    }
                });
            }
        });
        Self { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Answers with this status from now on.
    pub(crate) fn answer(&self, status: u16) {
        self.shared.status.store(status, Ordering::SeqCst);
    }

    /// Heads of the received requests.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.shared.batches.lock().unwrap().iter().map(|batch| batch.head.clone()).collect()
    }

    /// Every received byte.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let batches = self.shared.batches.lock().unwrap();
        batches.iter().flat_map(|batch| batch.head.bytes().chain(batch.body.iter().copied())).collect()
    }

    /// The accepted spans.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let batches = self.shared.batches.lock().unwrap().clone();
        batches.iter().filter(|batch| batch.status == 200).flat_map(|batch| spans(&batch.body)).collect()
    }

    /// Waits for this many spans of this name, and returns all of them.
    pub(crate) fn wait_for(&self, count: usize, name: &str) -> Vec<Span> {
        let named = || self.spans().into_iter().filter(|span| span.name == name).collect::<Vec<_>>();
        eventually(name, || named().len() >= count);
        named()
    }
}

fn serve(shared: &Shared, stream: impl Read + Write) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if !reader.read_line(&mut head).is_ok_and(|read| read > 0) {
                return;
            }
        }
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse().ok())?
        });
        let mut body = vec![0; length.unwrap_or(0)];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let status = shared.status.load(Ordering::SeqCst);
        shared.batches.lock().unwrap().push(Batch { status, head, body });
        let _ = write!(reader.get_mut(), "HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
        let _ = reader.get_mut().flush();
    }
}

/// A field of a protobuf message.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(_) => panic!("a number where bytes belong"),
        }
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes().to_vec()).unwrap()
    }

    fn hex(&self) -> String {
        self.bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn number(&self) -> u64 {
        match self {
            Self::Number(number) => *number,
            Self::Bytes(_) => panic!("bytes where a number belongs"),
        }
    }
}

/// The fields of a message, by their numbers (protobuf's "Encoding").
fn fields(mut rest: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let key = varint(&mut rest);
        let field = match key & 7 {
            0 => Field::Number(varint(&mut rest)),
            1 => Field::Number(u64::from_le_bytes(take(&mut rest, 8).try_into().unwrap())),
            2 => {
                let length = usize::try_from(varint(&mut rest)).unwrap();
                Field::Bytes(take(&mut rest, length))
            }
            5 => Field::Number(u32::from_le_bytes(take(&mut rest, 4).try_into().unwrap()).into()),
            kind => panic!("no such wire type: {kind}"),
        };
        fields.push((key >> 3, field));
    }
    fields
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, left) = rest.split_at(length);
    *rest = left;
    taken
}

fn varint(rest: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..).step_by(7) {
        let byte = take(rest, 1)[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    number
}

fn all<'a>(message: &'a [u8], number: u64) -> impl Iterator<Item = Field<'a>> {
    fields(message).into_iter().filter(move |(have, _)| *have == number).map(|(_, field)| field)
}

/// An `ExportTraceServiceRequest`.
fn spans(request: &[u8]) -> Vec<Span> {
    let mut found = Vec::new();
    for of_resource in all(request, 1) {
        let resource =
            all(of_resource.bytes(), 1).flat_map(|resource| attributes(resource.bytes(), 1)).collect();
        for of_scope in all(of_resource.bytes(), 2) {
            found.extend(all(of_scope.bytes(), 2).map(|one| span(one.bytes(), &resource)));
        }
    }
    found
}

fn span(message: &[u8], resource: &BTreeMap<String, String>) -> Span {
    let one = |number| all(message, number).next();
    let hex = |number| one(number).map(|field| field.hex()).unwrap_or_default();
    let text = |number| one(number).map(|field| field.text()).unwrap_or_default();
    let number = |place| one(place).map_or(0, |field| field.number());
    let status = one(15).and_then(|status| all(status.bytes(), 3).next()).map_or(0, |code| code.number());
    Span {
        trace_id: hex(1),
        id: hex(2),
        parent_id: hex(4),
        state: text(3),
        name: text(5),
        kind: number(6),
        status,
        took_nanos: number(8) - number(7),
        attributes: attributes(message, 9).into_iter().collect(),
        resource: resource.clone(),
    }
}

/// The `KeyValue`s in a field.
fn attributes(message: &[u8], number: u64) -> Vec<(String, String)> {
    all(message, number)
        .map(|pair| {
            let key = all(pair.bytes(), 1).next().unwrap().text();
            let value = all(pair.bytes(), 2).next().map(|value| {
                let (kind, value) = fields(value.bytes()).pop().unwrap();
                if kind == 1 { value.text() } else { value.number().to_string() }
            });
            (key, value.unwrap_or_default())
        })
        .collect()
}
