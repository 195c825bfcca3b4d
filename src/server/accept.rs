//! The accept loop: as many connections as there are permits.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::connection::{Handler, Protocol};
use super::drain::DrainWatch;
use super::listener::{Listener, Loose, Peer, Plain};
use super::workers::Workers;
use crate::telemetry::Gauge;

/// How long to wait when the process has no descriptors left: others must close theirs first.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// A server: listeners that share connection permits and a handler.
pub struct Server<H> {
    /// How new connections are served; may be replaced at any time.
    pub serving: ArcSwap<Serving>,
    /// One permit a connection.
    pub permits: Arc<Semaphore>,
    /// Who serves connections.
    pub workers: Arc<Workers>,
    /// What answers.
    pub handler: Arc<H>,
    /// Open connections.
    pub connections: Arc<Gauge>,
}

/// How connections are served.
pub struct Serving {
    /// How they speak HTTP.
    pub protocol: Protocol,
    /// How they speak TLS, if they do.
    pub tls: Option<Arc<ServerConfig>>,
}

/// Counts a connection while it is open.
struct Open(Arc<Gauge>);

impl Open {
    fn count(connections: &Arc<Gauge>) -> Self {
        connections.raise();
        Self(Arc::clone(connections))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.lower();
    }
}

impl<H: Handler> Server<H> {
    /// Accepts until the drain begins. At the cap, further clients wait in the kernel's queue.
    pub async fn run(self: Arc<Self>, listener: Listener, drain: DrainWatch) {
        let mut end = drain.clone();
        tokio::select! {
            biased;
            () = end.due() => {}
            () = self.accept_all(&listener, &drain) => {}
        }
    }

    async fn accept_all(self: &Arc<Self>, listener: &Listener, drain: &DrainWatch) {
        // The semaphore is never closed.
        while let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let held = (permit, Open::count(&self.connections));
                    self.hand_over(stream, peer, held, drain);
                }
                Err(error) if is_clients(&error) => {}
                Err(error) => {
                    tracing::warn!(
                        %error,
                        "cannot accept connections now; trying again. Raise the limit of open files if this lasts"
                    );
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
    }
}

impl<H: Handler> Server<H> {
    /// Has a connection served by the thread whose turn it is. What is `held` ends with it.
    fn hand_over(self: &Arc<Self>, stream: Plain, peer: Peer, held: impl Send + 'static, drain: &DrainWatch) {
        let (server, watch) = (Arc::clone(self), drain.clone());
        let Some(worker) = self.workers.next() else {
            return drain.spawn(async move {
                let _held = held;
                server.serve(stream, peer, watch).await;
            });
        };
        // A socket that can't change runtimes is lost, as one that the kernel had no room for.
        let Ok(loose) = Loose::from(stream) else { return };
        drain.spawn_on(worker, async move {
            let _held = held;
            if let Ok(stream) = loose.settle() {
                server.serve(stream, peer, watch).await;
            }
        });
    }

    async fn serve(&self, stream: Plain, peer: Peer, drain: DrainWatch) {
        let serving = self.serving.load_full();
        let handler = Arc::clone(&self.handler);
        match &serving.tls {
            None => serving.protocol.serve(stream, peer, handler, drain).await,
            // Boxed, so that plain connections don't have its size.
            Some(tls) => Box::pin(serving.secure(tls, stream, peer, handler, drain)).await,
        }
    }
}

impl Serving {
    async fn secure<H: Handler>(
        &self,
        tls: &Arc<ServerConfig>,
        stream: Plain,
        peer: Peer,
        handler: Arc<H>,
        drain: DrainWatch,
    ) {
        let handshake = TlsAcceptor::from(Arc::clone(tls)).accept(stream);
        match tokio::time::timeout(self.protocol.head_timeout(), handshake).await {
            Ok(Ok(stream)) => self.protocol.serve(stream, peer, handler, drain).await,
            // The error may quote what the client sent; its kind is enough.
            Ok(Err(error)) => tracing::debug!(error = %error.kind(), "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }
}

/// Whether accepting failed for one client only, who has gone.
fn is_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Full;
    use hyper::body::Incoming;
    use tokio::net::UnixStream;
    use tokio_util::either::Either;

    use super::*;
    use crate::server::{Answering, Drain, Timeouts};

    struct Empty;

    impl Handler for Empty {
        type Body = Full<Bytes>;

        fn answer(self: &Arc<Self>, _: Peer, _: Request<Incoming>) -> Answering<Full<Bytes>> {
            Answering::ready(Response::new(Full::default()))
        }
    }

    #[tokio::test]
    async fn a_connections_task_is_small_because_what_is_rare_is_boxed() {
        let timeouts = Timeouts { head: Duration::from_secs(5), idle: Duration::from_secs(60) };
        let serving = Serving { protocol: Protocol::new(timeouts, 16 << 10), tls: None };
        let server = Server {
            serving: ArcSwap::from_pointee(serving),
            permits: Arc::new(Semaphore::new(1)),
            workers: Workers::none(),
            handler: Arc::new(Empty),
            connections: Arc::default(),
        };
        let (stream, _client) = UnixStream::pair().unwrap();
        let task = server.serve(Either::Right(stream), Peer(None), Drain::new().watch());
        assert!(size_of_val(&task) <= 1664, "{} bytes", size_of_val(&task));
    }
}
