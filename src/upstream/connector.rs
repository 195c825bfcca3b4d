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
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use tower::Service;

use super::names::Names;
use super::unreachable::{Teller, Through, Unreachable, chain};
use crate::clock::{self, Instant};
use crate::config::{Proxy, Upstream as Settings};

/// How long a connection is used at most: a name that was given another address is followed within so
/// long, even if the old one still answers.
const LIFETIME: Duration = Duration::from_secs(60);
/// The share of it that differs, so that connections that were opened together aren't all replaced
/// together.
const LIFETIME_JITTER: f64 = 0.25;

/// Opens connections. The request, and the key in it, is sent only after the handshake was verified.
#[derive(Clone)]
pub struct Connector {
    way: Way,
    tls: Option<TlsConnector>,
    timeout: Duration,
    lifetime: Duration,
    teller: Teller,
    /// One for each connection that may be open.
    places: Arc<Semaphore>,
}

/// How bytes reach the upstream.
#[derive(Clone)]
enum Way {
    Direct(HttpConnector<Names>),
    /// Through a proxy that was asked to `CONNECT`.
    Tunnel(Tunnel<HttpConnector<Names>>),
}

impl Way {
    const fn leads_through(&self) -> Through {
        match self {
            Self::Direct(_) => Through::Nobody,
            Self::Tunnel(_) => Through::Proxy,
        }
    }
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
    /// For an upstream. TLS is set up only where it is used: it costs start-up time and memory.
    pub fn new(settings: &Settings) -> Result<Self, rustls::Error> {
        Self::with(settings, Names::of_system())
    }

    /// Whose connections are used only so long.
    #[cfg(test)]
    pub(super) fn living(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    pub(super) fn with(settings: &Settings, names: Names) -> Result<Self, rustls::Error> {
        let mut tcp = HttpConnector::new_with_resolver(names);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Shared out among the addresses of a name, so that one that doesn't answer leaves time for the
        // next.
        tcp.set_connect_timeout(Some(settings.connect_timeout));
        let way = match &settings.proxy {
            None => Way::Direct(tcp),
            Some(Proxy { uri, authorization }) => {
                let tunnel = Tunnel::new(uri.clone(), tcp);
                Way::Tunnel(match authorization {
                    Some(authorization) => tunnel.with_auth(authorization.clone()),
                    None => tunnel,
                })
            }
        };
        let tls = if settings.base_url.is_plaintext() { None } else { Some(verifying(settings)?) };
        Ok(Self {
            way,
            tls,
            timeout: settings.connect_timeout,
            lifetime: LIFETIME,
            teller: Teller::default(),
            places: Arc::new(Semaphore::new(settings.max_connections)),
        })
    }

    /// The same with room for so many connections of its own.
    ///
    /// Requests are bounded elsewhere, but a connection is back in the pool only a moment after its
    /// request has ended: the next request, which begins at once, must wait for it instead of opening
    /// another.
    pub(super) fn with_places(mut self, most: usize) -> Self {
        self.places = Arc::new(Semaphore::new(most));
        self
    }

    async fn open(way: Way, tls: Option<TlsConnector>, target: Uri) -> Result<Stream, Failed> {
        let secure = target.scheme() == Some(&Scheme::HTTPS);
        let host = target.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let stream = match way {
            Way::Direct(mut tcp) => tcp.call(target).await?.into_inner(),
            Way::Tunnel(mut tunnel) => tunnel.call(target).await?.into_inner(),
        };
        if !secure {
            return Ok(Either::Left(stream));
        }
        let tls = tls.ok_or("https without TLS")?;
        let name = ServerName::try_from(host)?;
        Ok(Either::Right(tls.connect(name, stream).await?))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Watched>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        match &mut self.way {
            Way::Direct(tcp) => tcp.poll_ready(cx).map_err(|error| ConnectError::Failed(error.into())),
            Way::Tunnel(tunnel) => tunnel.poll_ready(cx).map_err(|error| ConnectError::Failed(error.into())),
        }
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let opening = Self::open(self.way.clone(), self.tls.clone(), target);
        let Self { timeout, lifetime, .. } = *self;
        let (teller, through) = (self.teller.clone(), self.way.leads_through());
        let place = Arc::clone(&self.places).acquire_owned();
        Box::pin(async move {
            let Ok(Ok(place)) = tokio::time::timeout(timeout, place).await else {
                return Err(ConnectError::Timeout);
            };
            let Failed(cause) = match tokio::time::timeout(timeout, opening).await {
                Ok(Ok(stream)) => {
                    let traffic = Traffic::new(lifetime);
                    return Ok(TokioIo::new(Watched { stream, traffic, _place: place }));
                }
                Ok(Err(failed)) => failed,
                Err(_) => Failed(io::Error::from(io::ErrorKind::TimedOut).into()),
            };
            tracing::debug!(error = chain(&*cause), "cannot connect to the upstream");
            let why = Unreachable::of(&*cause, through);
            teller.tell(why);
            // One address may have taken too long, or all of connecting.
            if why == Unreachable::Silent {
                Err(ConnectError::Timeout)
            } else {
                Err(ConnectError::Failed(cause))
            }
        })
    }
}

/// Trusts what browsers trust, and the configuration's own roots; offers HTTP/2 and HTTP/1.1.
fn verifying(settings: &Settings) -> Result<TlsConnector, rustls::Error> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(extra) = &settings.extra_roots {
        roots.roots.extend(extra.roots.roots.iter().cloned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = versions.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// An open connection.
type Stream = Either<TcpStream, TlsStream<TcpStream>>;

/// What has come on a connection, so that a broken one can tell whether a request may be repeated, and
/// how long it may be used.
#[derive(Debug, Clone)]
pub struct Traffic(Arc<Bytes>);

#[derive(Debug)]
struct Bytes {
    /// When it has been used long enough.
    retires: Instant,
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
    /// Of a connection that was opened just now.
    fn new(lifetime: Duration) -> Self {
        let retires = clock::now() + lifetime.mul_f64(1.0 - LIFETIME_JITTER * fastrand::f64());
        Self(Arc::new(Bytes { retires, current: AtomicBool::new(false), earlier: AtomicBool::new(false) }))
    }

    /// Whether no further request may be sent.
    pub fn is_over(&self, now: Instant) -> bool {
        now >= self.0.retires
    }

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
    /// Given back when the connection is closed.
    _place: OwnedSemaphorePermit,
}

impl Connection for Watched {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(self.traffic.clone());
        match &self.stream {
            Either::Right(tls) if tls.get_ref().1.alpn_protocol() == Some(b"h2") => connected.negotiated_h2(),
            Either::Right(_) | Either::Left(_) => connected,
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
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
        Pin::new(&mut this.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.traffic.wrote();
        Pin::new(&mut this.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
