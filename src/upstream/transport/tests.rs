use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;

use super::super::connector::Connector;
use super::super::resolver::tests::made_up;
use super::*;
use crate::clock;
use crate::config::UpstreamSettings;

/// A name's first and second address.
const FIRST: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));
const SECOND: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

fn settings(port: u16, connect_timeout: &str) -> UpstreamSettings {
    let text = format!(
        "[upstream]\nbase_url = \"http://upstream.test:{port}\"\nallow_plaintext = true\n\
         connect_timeout = \"{connect_timeout}\"\n\
         [[tenants]]\nname = \"a\"\ntokens = [{{ value = \"a-token-of-this-test-0123456789abcdef\" }}]\n\
         upstream_key = {{ value = \"key\" }}\n"
    );
    crate::config::load_text("test.toml".as_ref(), text, &Default::default()).unwrap().settings.upstream
}

/// Answers every request on every connection with the address that it connected to.
fn serve(address: SocketAddr) -> u16 {
    let listener = TcpListener::bind(address).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let body = address.ip().to_string();
                let mut head = [0; 4096];
                while stream.read(&mut head).is_ok_and(|read| read > 0) {
                    let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                }
            });
        }
    });
    port
}

async fn ask(network: &Network, port: u16) -> Result<String, ExchangeError> {
    let request = Request::get(format!("http://upstream.test:{port}/")).body(bytes::Bytes::new()).unwrap();
    let end = clock::now() + Duration::from_secs(10);
    let opened =
        network.open(request, ExchangeDeadlines { first_byte: Duration::from_secs(10), end }).await?;
    let body = opened.body.read(opened.status, 1000, end).await?;
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

// F14.
#[tokio::test]
async fn a_new_address_is_used_once_the_connection_to_the_old_one_has_lived() {
    let port = serve((FIRST, 0).into());
    serve((SECOND, port).into());
    let asked = AtomicUsize::new(0);
    let resolver = made_up(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => Ok(vec![(FIRST, 0).into()]),
        _ => Ok(vec![(SECOND, 0).into()]),
    });
    let connector = Connector::with(&settings(port, "2s"), resolver).unwrap().living(Duration::ZERO);
    let network = Network::new(connector, 8);
    assert_eq!(ask(&network, port).await, Ok(FIRST.to_string()));
    assert_eq!(ask(&network, port).await, Ok(SECOND.to_string()), "though the old one still answers");
}

// F14.
#[tokio::test]
async fn a_name_without_an_address_is_no_connection_and_is_asked_for_again() {
    let port = serve((FIRST, 0).into());
    let asked = AtomicUsize::new(0);
    let resolver = made_up(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => Err(io::Error::other("no such name")),
        1 => Ok(Vec::new()),
        _ => Ok(vec![(FIRST, 0).into()]),
    });
    let network = Network::new(Connector::with(&settings(port, "2s"), resolver).unwrap(), 8);
    assert_eq!(ask(&network, port).await, Err(ExchangeError::Connect));
    assert_eq!(ask(&network, port).await, Err(ExchangeError::Connect));
    assert_eq!(ask(&network, port).await, Ok(FIRST.to_string()));
}

// F14.
#[tokio::test]
async fn a_silent_name_server_is_a_timeout() {
    let (answer, answers) = std::sync::mpsc::channel::<()>();
    let answers = std::sync::Mutex::new(answers);
    let resolver = made_up(move |_| {
        let _ = answers.lock().unwrap().recv();
        Ok(Vec::new())
    });
    let network = Network::new(Connector::with(&settings(1, "50ms"), resolver).unwrap(), 8);
    assert_eq!(ask(&network, 1).await, Err(ExchangeError::ConnectTimeout));
    drop(answer);
}

/// A port that neither accepts nor refuses connections: its listener's queue is full.
struct BlackHole {
    _listener: socket2::Socket,
    _queue: Vec<TcpStream>,
}

impl BlackHole {
    fn at(address: SocketAddr) -> Self {
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        listener.bind(&address.into()).unwrap();
        listener.listen(0).unwrap();
        let knock = || TcpStream::connect_timeout(&address, Duration::from_millis(50));
        let queue = std::iter::from_fn(|| knock().ok()).collect();
        Self { _listener: listener, _queue: queue }
    }
}

#[tokio::test]
async fn an_address_that_does_not_answer_leaves_time_for_the_next() {
    let port = serve((SECOND, 0).into());
    let _hole = BlackHole::at((FIRST, port).into());
    let resolver = made_up(|_| Ok(vec![(FIRST, 0).into(), (SECOND, 0).into()]));
    let network = Network::new(Connector::with(&settings(port, "1s"), resolver).unwrap(), 8);
    assert_eq!(ask(&network, port).await, Ok(SECOND.to_string()));
}

// F02.
#[tokio::test]
async fn an_address_that_does_not_answer_is_a_timeout_and_no_refusal() {
    let free = TcpListener::bind((FIRST, 0)).unwrap().local_addr().unwrap();
    let _hole = BlackHole::at(free);
    let resolver = made_up(|_| Ok(vec![(FIRST, 0).into()]));
    let network = Network::new(Connector::with(&settings(free.port(), "100ms"), resolver).unwrap(), 8);
    for _ in 0..5 {
        assert_eq!(ask(&network, free.port()).await, Err(ExchangeError::ConnectTimeout));
    }
}
