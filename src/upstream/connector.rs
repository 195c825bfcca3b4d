//! Connections to the upstream: TCP, and TLS that is always verified.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
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

use super::resolver::Resolver;
use super::traffic::{FrameWatch, Traffic};
use super::unreachable::{ProxyMode, Purpose, Unreachable, chain};
use crate::clock;
use crate::config::{MediaSettings, Proxy, UpstreamSettings};
use crate::message::HttpVersion;
use crate::telemetry::LogThrottle;

/// The maximum age of a connection: a change of the name's address takes effect within this time, even if the old
/// address still answers.
const LIFETIME: Duration = Duration::from_secs(60);

/// Opens connections. The request, and the key in it, is sent only after the handshake was verified.
#[derive(Clone)]
pub(crate) struct Connector {
    way: ProxyRoute,
    tls: Option<TlsConnector>,
    timeout: Duration,
    lifetime: Duration,
    throttle: Arc<LogThrottle<Unreachable>>,
    purpose: Purpose,
    /// One permit for each connection that may be open.
    places: Arc<Semaphore>,
}

/// How bytes reach the upstream.
#[derive(Clone)]
enum ProxyRoute {
    Direct(HttpConnector<Resolver>),
    /// Through a proxy, by `CONNECT`.
    Tunnel(Tunnel<HttpConnector<Resolver>>),
}

impl ProxyRoute {
    const fn leads_through(&self) -> ProxyMode {
        match self {
            Self::Direct(_) => ProxyMode::Direct,
            Self::Tunnel(_) => ProxyMode::Tunnel,
        }
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// It took too long.
    Timeout,
    /// It failed. The cause contains no secrets, but names hosts, and is for debug lines only.
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

/// Any error of a step, to be converted into a [`ConnectError`].
struct Failed(Box<dyn std::error::Error + Send + Sync>);

impl Connector {
    /// A connector for an upstream. TLS is set up only if used: it costs startup time and memory.
    pub(crate) fn new(settings: &UpstreamSettings) -> Result<Self, rustls::Error> {
        Self::with(settings, Resolver::of_system())
    }

    /// For media: HTTP/1.1, to the upstream and perhaps to other hosts.
    pub(crate) fn for_media(
        settings: &UpstreamSettings,
        media: &MediaSettings,
    ) -> Result<Self, rustls::Error> {
        let needs_tls = !settings.base_url.is_plaintext() || !media.hosts.is_empty();
        let tls = if needs_tls { Some(verifying(settings, &[b"http/1.1"])?) } else { None };
        Ok(Self::over(settings, Resolver::of_system(), tls, Purpose::Media))
    }

    /// Whether connections lead through a proxy.
    pub(super) const fn proxy_mode(&self) -> ProxyMode {
        self.way.leads_through()
    }

    /// Limits the age of its connections.
    #[cfg(test)]
    pub(super) fn living(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    pub(super) fn with(settings: &UpstreamSettings, resolver: Resolver) -> Result<Self, rustls::Error> {
        let tls = if settings.base_url.is_plaintext() {
            None
        } else {
            Some(verifying(settings, &[b"h2", b"http/1.1"])?)
        };
        Ok(Self::over(settings, resolver, tls, Purpose::Calls))
    }

    fn over(
        settings: &UpstreamSettings,
        resolver: Resolver,
        tls: Option<TlsConnector>,
        purpose: Purpose,
    ) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Divided among the addresses of a name, so that an unresponsive one leaves time for the next.
        tcp.set_connect_timeout(Some(settings.connect_timeout));
        let way = match &settings.proxy {
            None => ProxyRoute::Direct(tcp),
            Some(Proxy { uri, authorization }) => {
                let tunnel = Tunnel::new(uri.clone(), tcp);
                ProxyRoute::Tunnel(match authorization {
                    Some(authorization) => tunnel.with_auth(authorization.clone()),
                    None => tunnel,
                })
            }
        };
        Self {
            way,
            tls,
            timeout: settings.connect_timeout,
            lifetime: LIFETIME,
            throttle: Arc::default(),
            purpose,
            places: Arc::new(Semaphore::new(settings.max_connections)),
        }
    }

    /// The same with its own limit of connections.
    ///
    /// Requests are limited elsewhere, but a connection returns to the pool only a moment after its request has
    /// ended: the next request, which begins at once, must wait for it instead of opening another.
    pub(crate) fn with_places(mut self, most: usize) -> Self {
        self.places = Arc::new(Semaphore::new(most));
        self
    }

    async fn open(way: ProxyRoute, tls: Option<TlsConnector>, target: Uri) -> Result<Stream, Failed> {
        let secure = target.scheme() == Some(&Scheme::HTTPS);
        let host = target.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let stream = match way {
            ProxyRoute::Direct(mut tcp) => tcp.call(target).await?.into_inner(),
            ProxyRoute::Tunnel(mut tunnel) => tunnel.call(target).await?.into_inner(),
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
    type Response = TokioIo<WatchedConnection>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        match &mut self.way {
            ProxyRoute::Direct(tcp) => tcp.poll_ready(cx).map_err(|error| ConnectError::Failed(error.into())),
            ProxyRoute::Tunnel(tunnel) => {
                tunnel.poll_ready(cx).map_err(|error| ConnectError::Failed(error.into()))
            }
        }
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let opening = Self::open(self.way.clone(), self.tls.clone(), target);
        let Self { timeout, lifetime, .. } = *self;
        let (throttle, through, purpose) = (self.throttle.clone(), self.way.leads_through(), self.purpose);
        let place = Arc::clone(&self.places).acquire_owned();
        Box::pin(async move {
            let Ok(Ok(place)) = clock::within(timeout, place).await else {
                return Err(ConnectError::Timeout);
            };
            let Failed(cause) = match clock::within(timeout, opening).await {
                Ok(Ok(stream)) => return Ok(TokioIo::new(WatchedConnection::new(stream, lifetime, place))),
                Ok(Err(failed)) => failed,
                Err(_) => Failed(io::Error::from(io::ErrorKind::TimedOut).into()),
            };
            tracing::debug!(error = chain(&*cause), "cannot connect to the upstream");
            let why = Unreachable::of(&*cause, through);
            if throttle.allows(why, clock::now()) {
                why.log(purpose);
            }
            // Either one address has timed out, or connecting as a whole.
            if why == Unreachable::Silent {
                Err(ConnectError::Timeout)
            } else {
                Err(ConnectError::Failed(cause))
            }
        })
    }
}

/// Trusts the public roots and those of the configuration; offers these protocols.
fn verifying(settings: &UpstreamSettings, protocols: &[&[u8]]) -> Result<TlsConnector, rustls::Error> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(extra) = &settings.extra_roots {
        roots.roots.extend(extra.roots.roots.iter().cloned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = versions.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// An open connection.
type Stream = Either<TcpStream, TlsStream<TcpStream>>;

/// A connection that watches its traffic.
pub(crate) struct WatchedConnection {
    stream: Stream,
    traffic: Traffic,
    /// Of HTTP/2.
    frames: Option<FrameWatch>,
    /// Released when the connection is closed.
    _place: OwnedSemaphorePermit,
}

impl WatchedConnection {
    fn new(stream: Stream, lifetime: Duration, place: OwnedSemaphorePermit) -> Self {
        let version = match &stream {
            Either::Right(tls) if tls.get_ref().1.alpn_protocol() == Some(b"h2") => HttpVersion::Http2,
            Either::Right(_) | Either::Left(_) => HttpVersion::Http1,
        };
        let frames = (version == HttpVersion::Http2).then(FrameWatch::default);
        Self { stream, traffic: Traffic::new(version, lifetime), frames, _place: place }
    }
}

impl Connection for WatchedConnection {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(self.traffic.clone());
        match self.traffic.version() {
            HttpVersion::Http2 => connected.negotiated_h2(),
            HttpVersion::Http1 => connected,
        }
    }
}

impl AsyncRead for WatchedConnection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.traffic.seen().flooded {
            return Poll::Ready(Err(io::Error::other("too many interim responses")));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let new = buf.filled().get(before..).unwrap_or_default();
        if !new.is_empty() {
            this.traffic.note_read();
        }
        if this.frames.as_mut().is_some_and(|frames| frames.is_flooded_by(new)) {
            this.traffic.note_flood();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WatchedConnection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.traffic.note_write();
        Pin::new(&mut this.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.traffic.note_write();
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
