//! Asking an admin listener, for the command line.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::config::Address;

/// The longest that an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer that is read.
const MAX_BYTES: usize = 64 << 20;

/// An answer.
#[derive(Debug)]
pub struct Asked {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
}

/// Why there is none.
#[derive(Debug)]
pub enum AskError {
    /// Nobody listens there.
    Unreachable(std::io::Error),
    /// Somebody does, but doesn't answer as an admin listener would.
    NoAnswer,
    /// It took too long.
    Timeout,
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => write!(f, "cannot connect: {error}"),
            Self::NoAnswer => f.write_str("no usable answer"),
            Self::Timeout => write!(f, "no answer within {} s", TIMEOUT.as_secs()),
        }
    }
}

impl std::error::Error for AskError {}

/// Asks the admin listener at `address`, with its token if it has one.
pub async fn ask(
    address: &Address,
    method: Method,
    path: &str,
    token: Option<&SecretString>,
) -> Result<Asked, AskError> {
    let asking = async {
        match address {
            Address::Tcp(socket) => {
                let stream = TcpStream::connect(socket).await.map_err(AskError::Unreachable)?;
                exchange(stream, method, path, token).await
            }
            Address::Unix(file) => {
                let stream = UnixStream::connect(file).await.map_err(AskError::Unreachable)?;
                exchange(stream, method, path, token).await
            }
        }
    };
    tokio::time::timeout(TIMEOUT, asking).await.map_err(|_| AskError::Timeout)?
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: Method,
    path: &str,
    token: Option<&SecretString>,
) -> Result<Asked, AskError> {
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|_| AskError::NoAnswer)?;
    let mut request =
        Request::builder().method(method).uri(path).header(HOST, HeaderValue::from_static("localhost"));
    if let Some(token) = token {
        let line = SecretString::from(format!("Bearer {}", token.expose_secret()));
        request = request.header(AUTHORIZATION, line.expose_secret());
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|_| AskError::NoAnswer)?;
    let asking = async {
        let response = sender.send_request(request).await.map_err(|_| AskError::NoAnswer)?;
        let (head, body) = response.into_parts();
        let body = read(Limited::new(body, MAX_BYTES)).await.ok_or(AskError::NoAnswer)?;
        Ok(Asked { status: head.status, body })
    };
    tokio::pin!(asking);
    tokio::select! {
        asked = &mut asking => asked,
        // The connection may end first, with the answer already here.
        _ = connection => asking.await,
    }
}

#[expect(clippy::disallowed_methods, reason = "the body is limited")]
async fn read<B: http_body::Body>(body: Limited<B>) -> Option<Bytes>
where
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    body.collect().await.ok().map(http_body_util::Collected::to_bytes)
}
