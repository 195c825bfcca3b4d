//! Connections to the upstream: TCP, and TLS that is always verified.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower::Service;

/// Opens connections. The request, and the key in it, is sent only after the handshake was verified.
#[derive(Clone)]
pub struct Connector {
    tcp: HttpConnector,
    tls: Option<TlsConnector>,
    timeout: Duration,
}

/// Why there is no connection.
#[derive(Debug)]
pub enum ConnectError {
    /// It took too long.
    Timeout,
    /// It failed. The cause names no secret, but hosts, and is for debug lines only.
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("timed out"),
            Self::Failed(cause) => fmt::Display::fmt(cause, f),
        }
    }
}

impl std::error::Error for ConnectError {}

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for Failed {
    fn from(cause: E) -> Self {
        Self(cause.into())
    }
}

/// Any error of a step, on its way to becoming a [`ConnectError`].
struct Failed(Box<dyn std::error::Error + Send + Sync>);

impl Connector {
    /// For plain HTTP.
    pub fn plain(timeout: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        Self { tcp, tls: None, timeout }
    }

    /// For HTTPS; offers HTTP/2 and HTTP/1.1.
    pub fn verified(timeout: Duration, roots: RootCertStore) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = versions.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { tls: Some(TlsConnector::from(Arc::new(config))), ..Self::plain(timeout) })
    }

    /// The roots that browsers trust.
    pub fn public_roots() -> RootCertStore {
        RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
    }

    async fn open(mut tcp: HttpConnector, tls: Option<TlsConnector>, target: Uri) -> Result<Stream, Failed> {
        let secure = target.scheme() == Some(&Scheme::HTTPS);
        let host = target.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let stream = tcp.call(target).await?.into_inner();
        if !secure {
            return Ok(Stream::Plain(stream));
        }
        let tls = tls.ok_or("https without TLS")?;
        let name = ServerName::try_from(host)?;
        Ok(Stream::Tls(Box::new(tls.connect(name, stream).await?)))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Watched>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        self.tcp.poll_ready(cx).map_err(|error| ConnectError::Failed(error.into()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let opening = Self::open(self.tcp.clone(), self.tls.clone(), target);
        let timeout = self.timeout;
        Box::pin(async move {
            match tokio::time::timeout(timeout, opening).await {
                Ok(Ok(stream)) => Ok(TokioIo::new(Watched { stream, traffic: Traffic::default() })),
                Ok(Err(Failed(cause))) => {
                    tracing::debug!(error = %cause, "cannot connect to the upstream");
                    Err(ConnectError::Failed(cause))
                }
                Err(_) => Err(ConnectError::Timeout),
            }
        })
    }
}

/// An open connection.
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What has come on a connection, so that a broken one can tell whether a request may be repeated.
#[derive(Debug, Clone, Default)]
pub struct Traffic(Arc<Bytes>);

#[derive(Debug, Default)]
struct Bytes {
    /// Something came since the last request was written.
    current: AtomicBool,
    /// Something came before that.
    earlier: AtomicBool,
}

/// A reading of [`Traffic`].
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// A byte of the current response came.
    pub in_this_exchange: bool,
    /// An earlier response came on this connection.
    pub in_earlier_ones: bool,
}

impl Traffic {
    /// What has come so far.
    pub fn seen(&self) -> Seen {
        Seen { in_this_exchange: self.0.current.load(Relaxed), in_earlier_ones: self.0.earlier.load(Relaxed) }
    }

    fn read(&self) {
        self.0.current.store(true, Relaxed);
    }

    fn wrote(&self) {
        if self.0.current.swap(false, Relaxed) {
            self.0.earlier.store(true, Relaxed);
        }
    }
}

/// A connection that watches its traffic.
pub struct Watched {
    stream: Stream,
    traffic: Traffic,
}

impl Connection for Watched {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(self.traffic.clone());
        match &self.stream {
            Stream::Tls(tls) if tls.get_ref().1.alpn_protocol() == Some(b"h2") => connected.negotiated_h2(),
            Stream::Tls(_) | Stream::Plain(_) => connected,
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        })?;
        if buf.filled().len() > before {
            this.traffic.read();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.traffic.wrote();
        match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.traffic.wrote();
        match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
