//! The stand-in as a server.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RANGE};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::contract::{Contract, Reply};
use super::links::MockLinks;
use super::media::{self, Host, KeyShown, MediaAsked, MediaReply};
use super::reply_body::ReplyBody;
use crate::clock::WallClock;

/// How the stand-in behaves.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Accepted keys; any, if there are none.
    pub api_keys: Vec<String>,
    /// How long each answer takes.
    pub latency: Duration,
    /// The share of requests that get a 500: 0 to 1.
    pub error_rate: f64,
}

/// A listening stand-in. Dropping it lets open connections end by themselves.
pub struct Mock {
    address: SocketAddr,
    media_address: SocketAddr,
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
        // Media come from a host of their own, too.
        let media_listener = TcpListener::bind(SocketAddr::new(address.ip(), 0)).await?;
        let media_address = media_listener.local_addr()?;
        let links = MockLinks {
            base: format!("http://{address}"),
            media_host: format!("http://{media_address}"),
            secret: fastrand::u64(..),
        };
        let answered = Arc::new(AtomicU64::new(0));
        let behaviour = Arc::new(Behaviour {
            contract: Contract::new(options.api_keys).linking(links),
            latency: options.latency,
            error_rate: options.error_rate,
            answered: Arc::clone(&answered),
        });
        let tasks = TaskTracker::new();
        tasks.spawn(accept(listener, Host::Api, Arc::clone(&behaviour), tasks.clone()));
        tasks.spawn(accept(media_listener, Host::Media, behaviour, tasks.clone()));
        Ok(Self { address, media_address, answered, tasks })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its media host listens.
    pub const fn media_address(&self) -> SocketAddr {
        self.media_address
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

async fn accept(listener: TcpListener, host: Host, behaviour: Arc<Behaviour>, tasks: TaskTracker) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // Otherwise a small answer may wait for the acknowledgement of the previous one.
        let _ = stream.set_nodelay(true);
        let behaviour = Arc::clone(&behaviour);
        tasks.spawn(async move {
            let service = service_fn(move |request| {
                let behaviour = Arc::clone(&behaviour);
                async move { Ok::<_, Infallible>(behaviour.answer(host, &request).await) }
            });
            // Clients may disconnect at any time.
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

impl Behaviour {
    async fn answer(&self, host: Host, request: &Request<Incoming>) -> Response<ReplyBody> {
        let number = self.answered.fetch_add(1, Ordering::Relaxed);
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
        let now = WallClock::system().now();
        let authorization = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        if let Some(reply) = self.media(host, request) {
            return reply;
        }
        let reply = if host == Host::Media {
            Reply { status: 404, body: "{}".into() }
        } else if fastrand::f64() < self.error_rate {
            let body = r#"{"success":false,"error":{"code":"INTERNAL_ERROR","message":"Made-up failure"},"meta":{}}"#;
            Reply { status: 500, body: body.into() }
        } else {
            self.contract.answer(request.method().as_str(), target, authorization, now, number)
        };
        let mut response = Response::new(ReplyBody::whole(Bytes::from(reply.body)));
        *response.status_mut() =
            StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(id) = HeaderValue::try_from(format!("req_{number:09}")) {
            headers.insert("x-request-id", id);
        }
        response
    }

    /// The answer to a request for a recording or transcription.
    fn media(&self, host: Host, request: &Request<Incoming>) -> Option<Response<ReplyBody>> {
        let authorization = request.headers().get(AUTHORIZATION).map(|value| value.to_str().ok());
        let key = match authorization {
            None => KeyShown::None,
            Some(shown) if self.contract.takes(shown) => KeyShown::Right,
            Some(_) => KeyShown::Wrong,
        };
        let uri = request.uri();
        let range = request.headers().get(RANGE).map(HeaderValue::as_bytes);
        let asked = MediaAsked { path: uri.path(), query: uri.query(), range, key };
        let reply = media::answer(host, self.contract.links()?, asked, WallClock::system().now())?;
        let MediaReply { status, fields, body, breaks_after } = reply;
        let mut response = Response::new(ReplyBody::breaking(body, breaks_after));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in fields {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(name, value);
            }
        }
        Some(response)
    }
}
