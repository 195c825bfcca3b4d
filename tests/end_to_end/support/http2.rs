//! HTTP/2 on both sides: a client's request over any stream, and an upstream that speaks it by ALPN.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;

use super::{PATIENCE, upstream::call};

/// Runs a test's futures.
pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Looks calls up over one HTTP/2 connection, concurrently; returns their statuses and headers.
pub(crate) async fn look_up_at_once<S>(stream: S, token: &str, ids: &[&str]) -> Vec<(u16, HeaderMap)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = tokio::time::timeout(PATIENCE, handshake).await.unwrap().unwrap();
    tokio::spawn(connection);
    let mut asking = Vec::new();
    for id in ids {
        let request = Request::get(format!("http://gateway.test/v1/calls/{id}"))
            .header("authorization", format!("Bearer {token}"))
            .body(Empty::<Bytes>::new())
            .unwrap();
        asking.push(tokio::spawn(sender.clone().send_request(request)));
    }
    let mut answers = Vec::new();
    for answer in asking {
        let answer = tokio::time::timeout(PATIENCE, answer).await.unwrap().unwrap().unwrap();
        let (head, body) = answer.into_parts();
        assert!(!body.collect().await.unwrap().to_bytes().is_empty());
        answers.push((head.status.as_u16(), head.headers));
    }
    answers
}

/// An upstream that speaks HTTP/2 over TLS, and nothing else. It never answers a lookup of
/// `call_silence`, and refuses the first stream for each call whose ID begins with `call_refused`.
pub(crate) struct Http2Upstream {
    pub address: SocketAddr,
    connections: Arc<Mutex<Vec<u32>>>,
    _runtime: Runtime,
}

impl Http2Upstream {
    pub(crate) fn start(tls: Arc<rustls::ServerConfig>) -> Self {
        let runtime = runtime();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let counts = Arc::clone(&connections);
        let refused = Arc::new(Mutex::new(HashSet::new()));
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, counts) = (tokio_rustls::TlsAcceptor::from(Arc::clone(&tls)), Arc::clone(&counts));
                let refused = Arc::clone(&refused);
                tokio::spawn(async move {
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let place = {
                        let mut counts = counts.lock().unwrap();
                        counts.push(0);
                        counts.len() - 1
                    };
                    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                        counts.lock().unwrap()[place] += 1;
                        let id = request.uri().path().rsplit('/').next().unwrap().to_owned();
                        let silent = id == "call_silence";
                        let refuses =
                            id.starts_with("call_refused") && refused.lock().unwrap().insert(id.clone());
                        let body = Full::new(Bytes::from(call(&id)));
                        let response =
                            Response::builder().header("content-type", "application/json").body(body);
                        async move {
                            if silent {
                                std::future::pending::<()>().await;
                            }
                            if refuses {
                                return Err(h2::Error::from(h2::Reason::REFUSED_STREAM));
                            }
                            Ok(response.unwrap())
                        }
                    });
                    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, connections, _runtime: runtime }
    }

    /// The number of requests on each connection.
    pub(crate) fn requests(&self) -> Vec<u32> {
        self.connections.lock().unwrap().clone()
    }
}
