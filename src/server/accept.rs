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
use super::listener::{Listener, Peer, Plain};
use crate::telemetry::Gauge;

/// How long to wait when the process has no descriptors left: others must close theirs first.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// A server: listeners that share connection permits and a handler.
pub struct Server<H> {
    /// How new connections are served; may be replaced at any time.
    pub serving: ArcSwap<Serving>,
    /// One permit a connection.
    pub permits: Arc<Semaphore>,
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
                    let (server, watch) = (Arc::clone(self), drain.clone());
                    let open = Open::count(&self.connections);
                    drain.spawn(async move {
                        let _held = (permit, open);
                        server.serve(stream, peer, watch).await;
                    });
                }
                Err(error) if is_clients(&error) => {}
                Err(error) => {
                    tracing::warn!(
                        error = %error.kind(),
                        "cannot accept connections now; trying again. Raise the limit of open files if this lasts"
                    );
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
    }
}

impl<H: Handler> Server<H> {
    async fn serve(&self, stream: Plain, peer: Peer, drain: DrainWatch) {
        let serving = self.serving.load_full();
        let handler = Arc::clone(&self.handler);
        let Some(tls) = &serving.tls else {
            return serving.protocol.serve(stream, peer, handler, drain).await;
        };
        let handshake = TlsAcceptor::from(Arc::clone(tls)).accept(stream);
        match tokio::time::timeout(serving.protocol.head_timeout(), handshake).await {
            Ok(Ok(stream)) => serving.protocol.serve(stream, peer, handler, drain).await,
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
