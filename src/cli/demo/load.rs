//! A steady mix of lookups: hits, misses, stale answers, refusals, and calls that are followed until completed.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, HOST};
use http::{HeaderMap, Request};
use http_body_util::Empty;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::cli::args::Verbosity;
use crate::cli::progress::ProgressLine;
use crate::clock::WallClock;
use crate::config::Address;

/// Time between two lookups.
const EVERY: Duration = Duration::from_millis(40);
/// The time until a followed call completes, in seconds.
const RINGS_FOR: i64 = 8;
/// The number of calls that are looked up repeatedly.
const POPULAR: u32 = 40;

struct Lookup {
    token: String,
    id: String,
    directive: Option<&'static str>,
}

/// The results so far.
#[derive(Default)]
struct LoadCounts {
    sent: u64,
    from_cache: u64,
    refused: u64,
}

/// Sends lookups while the demo runs, and shows their number in a terminal.
pub(super) async fn run(gateway: SocketAddr, admin: &Address, tokens: &[String; 2]) -> Infallible {
    let (mut one, mut other) = (Client::new(gateway), Client::new(gateway));
    let (mut sums, mut progress) = (LoadCounts::default(), ProgressLine::new(Verbosity::Normal));
    let mut followed = Followed::default();
    loop {
        let lookup = draw(tokens, &mut followed);
        // Two at once, so that the second follows the first one's fetch, if there is one.
        let twin = Lookup { token: lookup.token.clone(), id: lookup.id.clone(), directive: None };
        if fastrand::u8(..20) == 0 {
            let (first, second) = futures_util::join!(one.send(&lookup), other.send(&twin));
            sums.note(first);
            sums.note(second);
        } else {
            sums.note(one.send(&lookup).await);
        }
        progress.show(&sums.line(admin));
        sleep(EVERY).await;
    }
}

/// The call that is looked up until it is completed.
#[derive(Default)]
struct Followed {
    completes_at: i64,
}

impl Followed {
    /// Its ID; another call's a while after it was completed.
    fn id(&mut self, now: i64) -> String {
        if now > self.completes_at + RINGS_FOR / 2 {
            self.completes_at = now + RINGS_FOR;
        }
        format!("call_until{}", self.completes_at)
    }
}

fn draw([billing, support]: &[String; 2], followed: &mut Followed) -> Lookup {
    let popular = || format!("call_{}", 1000 + fastrand::u32(..POPULAR));
    let of = |token: &String, id: String| Lookup { token: token.clone(), id, directive: None };
    match fastrand::u8(..100) {
        0..60 => of(billing, popular()),
        60..68 => of(billing, format!("call_{}", fastrand::u32(10_000..))),
        68..72 => of(billing, format!("call_missing{}", fastrand::u8(..3))),
        72..74 => of(billing, "call_forbidden1".into()),
        74..80 => of(billing, followed.id(WallClock::system().now().as_second())),
        80..84 => of(billing, format!("call_settling{}", fastrand::u8(..2))),
        84..86 => of(billing, "nonsense".into()),
        86..88 => of(&"no-tenants-token".into(), popular()),
        88..90 => Lookup { directive: Some("no-cache"), ..of(billing, popular()) },
        _ => of(support, popular()),
    }
}

impl LoadCounts {
    /// Counts a lookup. One without an answer, for example during a drain, counts as refused.
    fn note(&mut self, answer: Option<(u16, HeaderMap)>) {
        self.sent += 1;
        let Some((status, headers)) = answer else {
            self.refused += 1;
            return;
        };
        let ours = headers.get("cache-status").and_then(|line| line.to_str().ok()).unwrap_or_default();
        self.from_cache += u64::from(ours.starts_with("credira-gateway; hit"));
        self.refused += u64::from(status >= 400);
    }

    fn line(&self, admin: &Address) -> String {
        let Self { sent, from_cache, refused } = self;
        let share = 100.0 * *from_cache as f64 / (*sent).max(1) as f64;
        format!("{sent} lookups, {share:.1} % from the cache, {refused} refused. Dashboard: http://{admin}/")
    }
}

/// A client with one connection.
struct Client {
    gateway: SocketAddr,
    sender: Option<SendRequest<Empty<Bytes>>>,
}

impl Client {
    const fn new(gateway: SocketAddr) -> Self {
        Self { gateway, sender: None }
    }

    /// Sends a lookup, and returns the head of its answer.
    async fn send(&mut self, lookup: &Lookup) -> Option<(u16, HeaderMap)> {
        let mut sender = match self.sender.take() {
            Some(sender) if !sender.is_closed() => sender,
            Some(_) | None => self.connect().await?,
        };
        sender.ready().await.ok()?;
        let mut request = Request::builder()
            .uri(format!("/v1/calls/{}", lookup.id))
            .header(HOST, self.gateway.to_string())
            .header(AUTHORIZATION, format!("Bearer {}", lookup.token));
        if let Some(directive) = lookup.directive {
            request = request.header(CACHE_CONTROL, directive);
        }
        let answer = sender.send_request(request.body(Empty::new()).ok()?).await.ok()?;
        let (head, mut body) = answer.into_parts();
        while let Some(frame) = http_body_util::BodyExt::frame(&mut body).await {
            frame.ok()?;
        }
        self.sender = Some(sender);
        Some((head.status.as_u16(), head.headers))
    }

    #[expect(clippy::disallowed_methods, reason = "the demo ends with its connections; nothing has to drain")]
    async fn connect(&self) -> Option<SendRequest<Empty<Bytes>>> {
        let stream = TcpStream::connect(self.gateway).await.ok()?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        Some(sender)
    }
}
