//! The stand-in as a server.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::contract::{Contract, Reply};
use crate::clock::WallClock;

/// How the stand-in behaves.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Keys that it takes; none: any.
    pub api_keys: Vec<String>,
    /// How long each answer takes.
    pub latency: Duration,
    /// The share of requests that get a 500: 0 to 1.
    pub error_rate: f64,
}

/// A stand-in that listens. Dropping it leaves its connections to end by themselves.
pub struct Mock {
    address: SocketAddr,
    answered: Arc<AtomicU64>,
    tasks: TaskTracker,
}

struct Behaviour {
    contract: Contract,
    latency: Duration,
    error_rate: f64,
    answered: Arc<AtomicU64>,
}

impl Mock {
    /// Binds and starts to serve on the current runtime.
    pub async fn start(address: SocketAddr, options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let answered = Arc::new(AtomicU64::new(0));
        let behaviour = Arc::new(Behaviour {
            contract: Contract::new(options.api_keys),
            latency: options.latency,
            error_rate: options.error_rate,
            answered: Arc::clone(&answered),
        });
        let tasks = TaskTracker::new();
        tasks.spawn(accept(listener, behaviour, tasks.clone()));
        Ok(Self { address, answered, tasks })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests it has answered.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Serves until the process ends.
    pub async fn serve_forever(self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn accept(listener: TcpListener, behaviour: Arc<Behaviour>, tasks: TaskTracker) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // Without it a small answer may wait for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        let behaviour = Arc::clone(&behaviour);
        tasks.spawn(async move {
            let service = service_fn(move |request| {
                let behaviour = Arc::clone(&behaviour);
                async move { Ok::<_, Infallible>(behaviour.answer(&request).await) }
            });
            // A client that breaks off is its own affair.
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

impl Behaviour {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let number = self.answered.fetch_add(1, Ordering::Relaxed);
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
        let now = WallClock::system().now();
        let authorization = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let reply = if fastrand::f64() < self.error_rate {
            let body = r#"{"success":false,"error":{"code":"INTERNAL_ERROR","message":"Made-up failure"},"meta":{}}"#;
            Reply { status: 500, body: body.into() }
        } else {
            self.contract.answer(request.method().as_str(), target, authorization, now, number)
        };
        let mut response = Response::new(Full::new(Bytes::from(reply.body)));
        *response.status_mut() =
            StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(id) = HeaderValue::try_from(format!("req_{number:09}")) {
            headers.insert("x-request-id", id);
        }
        response
    }
}
