//! Servers that do exactly what a test says and record every byte received: one that sends garbage or nothing, and a
//! proxy for `CONNECT`.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::PATIENCE;

/// All received bytes, of all connections.
#[derive(Clone, Default)]
pub(crate) struct Bytes(Arc<Mutex<Vec<u8>>>);

impl Bytes {
    fn add(&self, bytes: &[u8]) {
        self.0.lock().unwrap().extend_from_slice(bytes);
    }

    pub(crate) fn contain(&self, text: &str) -> bool {
        self.0.lock().unwrap().windows(text.len()).any(|window| window == text.as_bytes())
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// Sends one message on every connection, once something was received, then reads until the other side disconnects.
pub(crate) struct Says {
    pub address: SocketAddr,
    pub heard: Bytes,
    connections: Arc<AtomicUsize>,
}

impl Says {
    pub(crate) fn this(words: &[u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (heard, connections) = (Bytes::default(), Arc::new(AtomicUsize::new(0)));
        let (hears, counts, words) = (heard.clone(), Arc::clone(&connections), words.to_vec());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                counts.fetch_add(1, Ordering::SeqCst);
                let (hears, words) = (hears.clone(), words.clone());
                std::thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    let mut said = false;
                    while let Ok(read @ 1..) = stream.read(&mut buffer) {
                        hears.add(&buffer[..read]);
                        if !said {
                            let _ = stream.write_all(&words);
                            said = true;
                        }
                    }
                });
            }
        });
        Self { address, heard, connections }
    }

    /// Sends nothing.
    pub(crate) fn nothing() -> Self {
        Self::this(b"")
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// An HTTP proxy that connects every client to one address, whatever name was requested.
pub(crate) struct Proxy {
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    /// The bytes that it forwarded from clients.
    pub passed: Bytes,
}

impl Proxy {
    /// Connects to `target`.
    pub(crate) fn to(target: SocketAddr) -> Self {
        Self::start(move |mut client, passed| {
            let _ = client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n");
            let server = TcpStream::connect(target).unwrap();
            let (mut from_server, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_server, &mut to_client);
                let _ = to_client.shutdown(Shutdown::Both);
            });
            relay(client, server, &passed);
        })
    }

    /// Answers with these bytes, and no more.
    pub(crate) fn saying(words: &'static [u8]) -> Self {
        Self::start(move |mut client, passed| {
            let _ = client.write_all(words);
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = client.read(&mut buffer) {
                passed.add(&buffer[..read]);
            }
        })
    }

    fn start(serve: impl Fn(TcpStream, Bytes) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (heads, passed, serve) = (Arc::new(Mutex::new(Vec::new())), Bytes::default(), Arc::new(serve));
        let (noted, passing) = (Arc::clone(&heads), passed.clone());
        std::thread::spawn(move || {
            for mut client in listener.incoming().map_while(Result::ok) {
                let (noted, passing, serve) = (Arc::clone(&noted), passing.clone(), Arc::clone(&serve));
                std::thread::spawn(move || {
                    client.set_read_timeout(Some(PATIENCE)).unwrap();
                    let Some(head) = read_head(&mut client) else { return };
                    noted.lock().unwrap().push(head);
                    serve(client, passing);
                });
            }
        });
        Self { address, heads, passed }
    }

    /// The heads of the received requests.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn relay(mut client: TcpStream, mut server: TcpStream, passed: &Bytes) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = client.read(&mut buffer) {
        passed.add(&buffer[..read]);
        if server.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}

/// Up to the empty line, byte by byte: what follows is not the proxy's.
fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}
