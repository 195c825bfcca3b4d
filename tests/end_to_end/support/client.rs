//! A client that sends bytes as they are and reads whole responses.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::PATIENCE;

/// A connection.
pub(crate) struct Client {
    reader: BufReader<Box<dyn Stream>>,
}

/// The transport of a client.
trait Stream: Read + Write + Send {
    fn leave(&self);
}

impl Stream for TcpStream {
    fn leave(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }
}

impl Stream for UnixStream {
    fn leave(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }
}

impl Stream for StreamOwned<ClientConnection, TcpStream> {
    fn leave(&self) {
        self.sock.leave();
    }
}

/// A response, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub status: u16,
    /// In order, names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("connect")
    }

    /// `None` if there is no listener.
    pub(crate) fn try_connect(address: SocketAddr) -> Option<Self> {
        tcp(address).map(Self::over).ok()
    }

    /// Over a Unix socket.
    pub(crate) fn unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self::over(stream)
    }

    /// Over TLS, to a server of this name. The error is the handshake's.
    pub(crate) fn tls(
        address: SocketAddr,
        config: Arc<ClientConfig>,
        name: &'static str,
    ) -> std::io::Result<Self> {
        let connection = ClientConnection::new(config, name.try_into().expect("a name")).expect("TLS");
        let mut stream = StreamOwned::new(connection, tcp(address)?);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self::over(stream))
    }

    fn over(stream: impl Stream + 'static) -> Self {
        Self { reader: BufReader::new(Box::new(stream)) }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.reader.get_mut().write_all(bytes.as_ref()).expect("send");
        self
    }

    /// Sends bytes that may be rejected before they are read in full.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.reader.get_mut().write_all(bytes.as_ref());
        self
    }

    /// Sends a plain `GET` with a token and further header lines.
    pub(crate) fn get(&mut self, path: &str, token: &str, lines: &[&str]) -> &mut Self {
        self.request("GET", path, token, lines)
    }

    pub(crate) fn request(&mut self, method: &str, path: &str, token: &str, lines: &[&str]) -> &mut Self {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n");
        if !token.is_empty() {
            head += &format!("Authorization: Bearer {token}\r\n");
        }
        for line in lines {
            head += line;
            head += "\r\n";
        }
        head += "\r\n";
        self.send(head)
    }

    /// Reads the response to a request other than `HEAD`.
    #[track_caller]
    pub(crate) fn read(&mut self) -> Response {
        self.try_read().expect("a response")
    }

    /// `None` if the connection ends before a whole response.
    pub(crate) fn try_read(&mut self) -> Option<Response> {
        let head = self.read_head()?;
        self.try_read_body_of(head)
    }

    /// Reads the body that follows a head.
    #[track_caller]
    pub(crate) fn read_body_of(&mut self, head: Response) -> Response {
        self.try_read_body_of(head).expect("a whole body")
    }

    fn try_read_body_of(&mut self, mut response: Response) -> Option<Response> {
        if response.status == 304 || response.status == 204 || (100..200).contains(&response.status) {
            return Some(response);
        }
        let length: usize = response.header("content-length")?.parse().ok()?;
        response.body = vec![0; length];
        self.reader.read_exact(&mut response.body).ok()?;
        Some(response)
    }

    /// Reads only the head of a response.
    pub(crate) fn read_head(&mut self) -> Option<Response> {
        let status = self.line()?;
        let status = status.split(' ').nth(1)?.parse().ok()?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Some(Response { status, headers, body: Vec::new() });
            }
            let (name, value) = line.split_once(':').expect("a field");
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line).ok()?;
        line.strip_suffix("\r\n").map(str::to_owned)
    }

    /// Reads this many bytes.
    #[track_caller]
    pub(crate) fn read_bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).expect("so many bytes");
        bytes
    }

    /// Whether the other side closes the connection without another byte.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        // A reset is an end, too.
        self.reader.read_to_end(&mut rest).map_or(true, |_| rest.is_empty())
    }

    /// Everything until the other side closes.
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.reader.read_to_end(&mut rest);
        rest
    }

    /// Disconnects.
    pub(crate) fn leave(self) {
        self.reader.get_ref().leave();
    }
}

fn tcp(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

impl Response {
    /// The only value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.all(name);
        let first = values.next();
        assert!(values.next().is_none(), "{name} twice: {:?}", self.headers);
        first
    }

    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(move |(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    /// `Cache-Status` without our name.
    #[track_caller]
    pub(crate) fn cache_status(&self) -> &str {
        let line = self.header("cache-status").expect("Cache-Status");
        line.rsplit("credira-gateway; ").next().expect("our member")
    }

    /// `Cache-Status` without our name and the number behind `ttl=`.
    #[track_caller]
    pub(crate) fn story(&self) -> String {
        let parts = self.cache_status().split("; ");
        parts.map(|part| if part.starts_with("ttl=") { "ttl" } else { part }).collect::<Vec<_>>().join("; ")
    }

    /// The number behind `ttl=`.
    #[track_caller]
    pub(crate) fn ttl(&self) -> i64 {
        let ttl = self.cache_status().split("; ").find_map(|part| part.strip_prefix("ttl="));
        ttl.expect("a ttl").parse().expect("a number")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The envelope's `error.code`.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().expect("a code").to_owned()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
