//! Resolves the upstream's name for each new connection. Neither addresses nor failures are cached here; the system's
//! own resolver may do so.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::Name;
use tokio::sync::Semaphore;
use tower::Service;

/// The maximum number of concurrent queries. While a name server is silent, each occupies a thread of the runtime's
/// blocking pool for half a minute, and reloads need that pool, too.
const MOST_AT_ONCE: usize = 8;

/// A name has no address, or could not be resolved.
#[derive(Debug)]
pub(super) struct NoAddress(pub io::Error);

impl fmt::Display for NoAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for NoAddress {}

/// Resolves host names.
#[derive(Clone)]
pub(super) struct Resolver {
    look_up: Arc<LookUp>,
    turns: Arc<Semaphore>,
}

/// Blocks until a host is resolved.
type LookUp = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

impl Resolver {
    /// The system's resolver.
    pub(super) fn of_system() -> Self {
        Self::with(|host| (host, 0).to_socket_addrs().map(Iterator::collect))
    }

    fn with(look_up: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        Self { look_up: Arc::new(look_up), turns: Arc::new(Semaphore::new(MOST_AT_ONCE)) }
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = NoAddress;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, NoAddress>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NoAddress>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, host: Name) -> Self::Future {
        let Self { look_up, turns } = self.clone();
        Box::pin(async move {
            // The semaphore is never closed.
            let turn = turns.acquire_owned().await.map_err(io::Error::other).map_err(NoAddress)?;
            let looking = tokio::task::spawn_blocking(move || {
                // Held until the thread is free again, even if the request was dropped.
                let _turn = turn;
                look_up(host.as_str())
            });
            let found = looking.await.map_err(io::Error::other).and_then(|found| found);
            Ok(found.map_err(NoAddress)?.into_iter())
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// A resolver defined by a test.
    pub(crate) fn made_up(
        look_up: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Resolver {
        Resolver::with(look_up)
    }

    fn name() -> Name {
        "upstream.test".parse().unwrap()
    }

    #[tokio::test]
    async fn every_name_is_resolved_anew() {
        let asked = AtomicUsize::new(0);
        let mut resolver = Resolver::with(move |host| {
            assert_eq!(host, "upstream.test");
            match asked.fetch_add(1, Ordering::SeqCst) {
                0 => Err(io::ErrorKind::NotFound.into()),
                n => Ok(vec![SocketAddr::from(([127, 0, 0, u8::try_from(n).unwrap()], 0))]),
            }
        });
        assert!(resolver.call(name()).await.is_err());
        for last in 1..3 {
            let found: Vec<_> = resolver.call(name()).await.unwrap().collect();
            assert_eq!(found, [SocketAddr::from(([127, 0, 0, last], 0))]);
        }
    }

    // F14.
    #[tokio::test]
    async fn a_silent_name_server_holds_only_so_many_threads() {
        let (begun, begins) = mpsc::channel();
        let (answer, answers) = mpsc::channel::<()>();
        let answers = std::sync::Mutex::new(answers);
        let mut resolver = Resolver::with(move |_| {
            begun.send(()).unwrap();
            let _ = answers.lock().unwrap().recv();
            Ok(Vec::new())
        });
        for _ in 0..3 * MOST_AT_ONCE {
            let given_up = tokio::time::timeout(Duration::from_millis(1), resolver.call(name())).await;
            assert!(given_up.is_err(), "it waits off the runtime");
        }
        for _ in 0..MOST_AT_ONCE {
            begins.recv_timeout(Duration::from_secs(10)).unwrap();
        }
        assert!(begins.recv_timeout(Duration::from_millis(50)).is_err(), "one thread too many");
        drop(answer);
        assert!(resolver.call(name()).await.is_ok());
    }
}
