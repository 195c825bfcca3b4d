//! The command line's client of the admin plane.
//!
//! Knows how to reach a gateway, and no routes.

mod endpoint;
mod trust;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, ServerName};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

pub(crate) use self::endpoint::Endpoint;
use self::endpoint::{EndpointAddress, Scheme};
use crate::message::HttpVersion;

/// The time limit for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer that is accepted, in bytes.
const MAX_BYTES: usize = 64 << 20;

/// A gateway's answer.
#[derive(Debug)]
pub(crate) struct AdminReply {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum AskError {
    /// No connection.
    Unreachable(std::io::Error),
    /// The gateway's certificate is not trusted, or it speaks no TLS.
    Tls(std::io::Error),
    /// The peer is no admin plane.
    NoAnswer,
    Timeout,
    /// The admin token contains characters that cannot be sent.
    Token,
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => write!(f, "cannot connect: {error}"),
            Self::Tls(error) => write!(f, "no TLS connection, so nothing was sent: {error}"),
            Self::NoAnswer => f.write_str("no usable answer"),
            Self::Token => f.write_str("the admin token contains characters that no token may have"),
            Self::Timeout => write!(f, "no answer within {} s", TIMEOUT.as_secs()),
        }
    }
}

impl std::error::Error for AskError {}

pub(crate) struct AdminClient {
    endpoint: Endpoint,
    tls: Option<Arc<ClientConfig>>,
    token: Option<SecretString>,
}

/// A connection, opened by its first request.
pub(crate) struct AdminConnection<'a> {
    client: &'a AdminClient,
    version: HttpVersion,
    sender: Option<Sender>,
}

enum Sender {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

impl Sender {
    async fn is_open(&mut self) -> bool {
        match self {
            Self::Http1(sender) => sender.ready().await.is_ok(),
            Self::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    async fn send(&mut self, request: Request<Empty<Bytes>>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Http1(sender) => sender.send_request(request).await,
            Self::Http2(sender) => sender.send_request(request).await,
        }
    }
}

impl AdminClient {
    /// For the gateway at `endpoint`, whose certificate chain is `chain` if it speaks TLS.
    pub(crate) fn new(
        endpoint: Endpoint,
        chain: Option<&[CertificateDer<'static>]>,
        token: Option<SecretString>,
    ) -> Result<Self, rustls::Error> {
        let speaks_tls = match (endpoint.scheme, &endpoint.place) {
            // Unix sockets are always plaintext.
            (_, EndpointAddress::Unix(_)) | (Scheme::Http, EndpointAddress::Tcp { .. }) => false,
            (Scheme::Https, EndpointAddress::Tcp { .. }) => true,
            (Scheme::Unsaid, EndpointAddress::Tcp { .. }) => chain.is_some(),
        };
        let config = speaks_tls.then(|| trust::client_config(chain.unwrap_or_default())).transpose()?;
        Ok(Self { endpoint, tls: config.map(Arc::new), token })
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) const fn connection(&self, version: HttpVersion) -> AdminConnection<'_> {
        AdminConnection { client: self, version, sender: None }
    }

    async fn connect(&self, version: HttpVersion) -> Result<Sender, AskError> {
        match &self.endpoint.place {
            EndpointAddress::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(AskError::Unreachable)?;
                speak_http(stream, version).await
            }
            EndpointAddress::Tcp { host, port } => {
                let stream =
                    TcpStream::connect((host.as_str(), *port)).await.map_err(AskError::Unreachable)?;
                let Some(config) = &self.tls else { return speak_http(stream, version).await };
                let name = ServerName::try_from(host.clone()).map_err(|_| AskError::NoAnswer)?;
                let mut config = ClientConfig::clone(config);
                config.alpn_protocols = vec![match version {
                    HttpVersion::Http1 => b"http/1.1".to_vec(),
                    HttpVersion::Http2 => b"h2".to_vec(),
                }];
                let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
                speak_http(connected.map_err(AskError::Tls)?, version).await
            }
        }
    }

    fn request(
        &self,
        version: HttpVersion,
        method: &Method,
        path: &str,
        host: &str,
    ) -> Result<Request<Empty<Bytes>>, AskError> {
        let mut request = Request::builder().method(method);
        request = match version {
            HttpVersion::Http1 => request.uri(path).header(HOST, host),
            HttpVersion::Http2 => request.uri(format!("http://{host}{path}")),
        };
        if let Some(token) = &self.token {
            let line = SecretString::from(format!("Bearer {}", token.expose_secret()));
            let mut line = HeaderValue::try_from(line.expose_secret()).map_err(|_| AskError::Token)?;
            line.set_sensitive(true);
            request = request.header(AUTHORIZATION, line);
        }
        request.body(Empty::new()).map_err(|_| AskError::NoAnswer)
    }
}

impl AdminConnection<'_> {
    /// Shares the connection over HTTP/2; opens another one to the same gateway over HTTP/1.1.
    pub(crate) fn fork(&self) -> Self {
        let sender = match &self.sender {
            Some(Sender::Http2(sender)) => Some(Sender::Http2(sender.clone())),
            Some(Sender::Http1(_)) | None => None,
        };
        Self { client: self.client, version: self.version, sender }
    }

    /// Sends a request; any status is an answer.
    pub(crate) async fn ask(&mut self, method: &Method, path: &str) -> Result<AdminReply, AskError> {
        let host = self.client.endpoint.host();
        let asked = self.exchange(method, path, &host).await?;
        if asked.status != StatusCode::MISDIRECTED_REQUEST {
            return Ok(asked);
        }
        // The gate's check of `Host` protects browsers; the operator chose this address.
        self.exchange(method, path, "localhost").await
    }

    async fn exchange(&mut self, method: &Method, path: &str, host: &str) -> Result<AdminReply, AskError> {
        let exchange = async {
            let mut sender = match self.sender.take() {
                Some(mut sender) => match sender.is_open().await {
                    true => sender,
                    false => self.client.connect(self.version).await?,
                },
                None => self.client.connect(self.version).await?,
            };
            let request = self.client.request(self.version, method, path, host)?;
            let response = sender.send(request).await.map_err(|_| AskError::NoAnswer)?;
            let (head, body) = response.into_parts();
            let body = read(Limited::new(body, MAX_BYTES)).await.ok_or(AskError::NoAnswer)?;
            self.sender = Some(sender);
            Ok(AdminReply { status: head.status, body })
        };
        tokio::time::timeout(TIMEOUT, exchange).await.map_err(|_| AskError::Timeout)?
    }
}

#[expect(clippy::disallowed_methods, reason = "a command ends with its connections; nothing has to drain")]
async fn speak_http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    version: HttpVersion,
) -> Result<Sender, AskError> {
    let io = TokioIo::new(stream);
    // The sender notices the end of the connection.
    match version {
        HttpVersion::Http1 => {
            let (sender, connection) = http1::handshake(io).await.map_err(|_| AskError::NoAnswer)?;
            tokio::spawn(connection);
            Ok(Sender::Http1(sender))
        }
        HttpVersion::Http2 => {
            let handshake = http2::handshake(TokioExecutor::new(), io).await;
            let (sender, connection) = handshake.map_err(|_| AskError::NoAnswer)?;
            tokio::spawn(connection);
            Ok(Sender::Http2(sender))
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the body is limited")]
async fn read<B: http_body::Body>(body: Limited<B>) -> Option<Bytes>
where
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    body.collect().await.ok().map(http_body_util::Collected::to_bytes)
}
