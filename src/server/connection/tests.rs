#![expect(clippy::disallowed_methods, reason = "what these bodies hold is bounded by the tests")]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::Response;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Sleep;
use tokio_util::task::TaskTracker;

use super::super::activity::SlotKind;
use super::super::answering::Caller;
use super::super::drain::Drain;
use super::super::outgoing_body::{BodyError, Extent};
use super::*;

const IDLE: Duration = Duration::from_secs(60);
const TIMEOUTS: Timeouts = Timeouts { head: Duration::from_secs(5), idle: IDLE };

/// The next step of a streamed body.
enum Step {
    Send(usize),
    Wait(Duration),
    Fail,
}

/// A body of these steps, which claims to be long.
struct Script {
    steps: VecDeque<Step>,
    sleep: Option<Pin<Box<Sleep>>>,
    length: Option<u64>,
    extent: Extent,
    taken: Arc<AtomicUsize>,
}

impl http_body::Body for Script {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                std::task::ready!(sleep.as_mut().poll(cx));
                self.sleep = None;
            }
            match self.steps.pop_front() {
                None => return Poll::Ready(None),
                Some(Step::Send(bytes)) => {
                    self.taken.fetch_add(bytes, Ordering::Relaxed);
                    self.length = self.length.map(|length| length - bytes as u64);
                    return Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'x'; bytes])))));
                }
                Some(Step::Wait(time)) => self.sleep = Some(Box::pin(tokio::time::sleep(time))),
                Some(Step::Fail) => return Poll::Ready(Some(Err("the upstream is gone".into()))),
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map(SizeHint::with_exact).unwrap_or_default()
    }
}

impl OutgoingBody for Script {
    fn extent(&self) -> Extent {
        self.extent
    }
}

/// Answers by the path.
#[derive(Default)]
struct Scripted {
    /// Bytes that were taken from its answers.
    taken: Arc<AtomicUsize>,
}

impl Handler for Scripted {
    type Body = Script;

    fn answer(self: &Arc<Self>, _: Peer, request: Request<RequestBody>) -> Answering<Script> {
        let pauses = || (0..10).flat_map(|_| [Step::Send(10), Step::Wait(IDLE / 2)]);
        let partial = Extent::Partial(0);
        let (steps, length, extent): (VecDeque<_>, _, _) = match request.uri().path() {
            "/flow" => (pauses().collect(), None, partial),
            "/fail" => ([Step::Send(10), Step::Wait(IDLE / 2), Step::Fail].into(), Some(1 << 30), partial),
            "/huge" => ((0..10).map(|_| Step::Send(64 << 10)).collect(), Some(1 << 30), partial),
            "/whole" => ([Step::Send(900_000)].into(), Some(900_000), Extent::Whole),
            _ => ([Step::Send(1)].into(), Some(1), Extent::Whole),
        };
        let taken = Arc::clone(&self.taken);
        Answering::ready(Caller::Known, Response::new(Script { steps, sleep: None, length, extent, taken }))
    }
}

/// Serves one connection and returns its other end.
fn served() -> DuplexStream {
    served_by(Scripted::default(), 1 << 20)
}

/// The same, through a socket that holds so many bytes.
fn served_by(handler: Scripted, socket: usize) -> DuplexStream {
    let (client, server) = tokio::io::duplex(socket);
    TaskTracker::new().spawn(async move {
        let drain = Drain::new();
        let activity = Activity::new(drain.watch().close_signal(), SlotKind::Ordinary);
        let protocol = HttpServer::new(TIMEOUTS, 16 << 10);
        protocol.serve(server, Peer(None), Arc::new(handler), activity, drain.watch()).await;
    });
    client
}

async fn http1(path: &str) -> String {
    let mut client = served();
    client.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

type Sender = hyper::client::conn::http2::SendRequest<Empty<Bytes>>;

/// A connection with this initial window for each stream.
async fn http2(window: u32) -> Sender {
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(window).initial_connection_window_size(64 << 20);
    let (sender, connection) = builder.handshake(TokioIo::new(served())).await.unwrap();
    TaskTracker::new().spawn(connection);
    sender
}

async fn get(sender: &mut Sender, path: &str) -> Incoming {
    let request = Request::get(format!("http://a{path}")).body(Empty::new()).unwrap();
    sender.send_request(request).await.unwrap().into_body()
}

#[tokio::test(start_paused = true)]
async fn over_http_1_a_stream_may_take_longer_than_a_connection_may_be_idle() {
    let start = clock::now();
    let answer = http1("/flow").await;
    assert_eq!(answer.matches("xxxxxxxxxx").count(), 10, "{answer}");
    assert!(answer.ends_with("\r\n0\r\n\r\n"), "{answer}");
    let took = clock::now().duration_since(start);
    assert!(took >= 6 * IDLE, "its five minutes, and an idle minute: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn over_http_1_a_stream_that_fails_ends_short_and_closes() {
    let start = clock::now();
    let answer = http1("/fail").await;
    assert!(answer.contains("content-length: 1073741824") && answer.ends_with("xxxxxxxxxx"), "{answer}");
    assert!(clock::now().duration_since(start) < IDLE, "at once");
}

#[tokio::test(start_paused = true)]
async fn over_http_2_a_stream_flows_as_long_and_one_that_fails_is_reset_alone() {
    let mut sender = http2(1 << 20).await;
    let flow = get(&mut sender, "/flow").await;
    let fail = get(&mut sender, "/fail").await;
    let error = fail.collect().await.unwrap_err();
    assert!(format!("{error:?}").contains("INTERNAL_ERROR"), "{error:?}");
    assert_eq!(flow.collect().await.unwrap().to_bytes().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn over_http_2_only_what_is_held_counts_not_what_a_stream_is_still_to_send() {
    let mut sender = http2(0).await;
    let mut huge = Vec::new();
    for _ in 0..50 {
        huge.push(get(&mut sender, "/huge").await);
    }
    // Whole bodies are held from the start. Each stream holds the frame that it began to send, even if its client
    // doesn't read it.
    let mut whole = Vec::new();
    let mut refused = 0;
    for _ in 0..30 {
        let request = Request::get("http://a/whole").body(Empty::new()).unwrap();
        match sender.send_request(request).await {
            Ok(answer) => whole.push(answer.into_body()),
            Err(_) => refused += 1,
        }
    }
    for body in &mut whole {
        let frame = tokio::time::timeout(Duration::from_millis(10), body.frame()).await;
        refused += usize::from(frame.is_ok());
    }
    let room = ((16 << 20) - 50 * (64 << 10)) / 900_000;
    assert_eq!(refused, 30 - room);
    for body in &mut huge {
        let frame = tokio::time::timeout(Duration::from_millis(10), body.frame()).await;
        assert!(frame.is_err(), "a stream of a gigabyte is let in: {frame:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn over_http_2_a_stream_that_is_not_taken_is_reset_and_the_others_flow_on() {
    let mut sender = http2(64 << 10).await;
    let stalled = get(&mut sender, "/whole").await;
    let flow = get(&mut sender, "/flow").await;
    assert_eq!(flow.collect().await.unwrap().to_bytes().len(), 100, "for five minutes");
    let error = stalled.collect().await.unwrap_err();
    assert!(format!("{error:?}").contains("CANCEL"), "{error:?}");
    assert_eq!(get(&mut sender, "/").await.collect().await.unwrap().to_bytes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn over_http_2_little_is_held_for_a_client_with_a_wide_window_that_does_not_read() {
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let field = |name: &str, value: &str| {
        let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        [vec![0], text(name), text(value)].concat()
    };
    let (handler, socket) = (Scripted::default(), 16 << 10);
    let taken = Arc::clone(&handler.taken);
    let mut client = served_by(handler, socket);
    let widest = (i32::MAX as u32).to_be_bytes();
    let more = (i32::MAX as u32 - 65_535).to_be_bytes();
    let request = [(":method", "GET"), (":scheme", "http"), (":path", "/huge"), (":authority", "a")];
    let request: Vec<u8> = request.iter().flat_map(|(name, value)| field(name, value)).collect();
    let frames = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[&[0, 4], &widest[..]].concat()),
        frame(8, 0, 0, &more),
        frame(1, 5, 1, &request),
    ];
    client.write_all(&frames.concat()).await.unwrap();
    // Until nothing moves any more.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let taken = taken.load(Ordering::Relaxed);
    assert!((32 << 10..=128 << 10).contains(&taken), "{taken}");
}
