//! A TCP proxy that disturbs its traffic on command.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::support::PATIENCE;

/// A fault in connections, or in the responses on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// None: every byte is forwarded.
    Pass,
    /// There is no listener, and open connections are reset.
    Refuse,
    /// No connection opens, and open ones are silent.
    BlackHole,
    /// Connections open and nothing comes back.
    Hold,
    /// Delays each response by this much.
    Delay(Duration),
    /// A response comes byte by byte, each after this time.
    Drip(Duration),
    /// Resets the connection after this many bytes of a response.
    Reset(usize),
    /// Closes the connection cleanly after this many bytes of a response.
    Truncate(usize),
    /// Sends bytes that are not HTTP in place of a response, and closes.
    Garbage,
    /// Closes a connection at its second use.
    CloseOnReuse,
}

/// The proxy.
pub(crate) struct Proxy {
    address: SocketAddr,
    orders: mpsc::UnboundedSender<Order>,
    opened: Arc<AtomicUsize>,
}

/// The fault from now on, and whom to notify once it applies.
type Order = (Fault, std::sync::mpsc::Sender<()>);

impl Proxy {
    /// In front of an upstream, on its own address, which stays reserved while the proxy is closed.
    pub(crate) fn to(upstream: SocketAddr) -> Self {
        let ip = Ipv4Addr::new(127, fastrand::u8(16..), fastrand::u8(..), fastrand::u8(1..255));
        Self::at(SocketAddr::from((ip, 0)), upstream)
    }

    /// In front of an upstream, on this address.
    pub(crate) fn at(address: SocketAddr, upstream: SocketAddr) -> Self {
        let socket = bound(address);
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        socket.listen(1024).unwrap();
        let (orders, taken) = mpsc::unbounded_channel();
        let opened = Arc::new(AtomicUsize::new(0));
        let counting = Arc::clone(&opened);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(run(socket, address, upstream, taken, &counting));
        });
        Self { address, orders, opened }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Applies a fault from now on, to open connections too. Returns once it applies.
    pub(crate) fn now(&self, fault: Fault) {
        let (told, done) = std::sync::mpsc::channel();
        self.orders.send((fault, told)).expect("the proxy runs");
        done.recv().expect("the proxy runs");
    }

    /// How many connections were opened.
    pub(crate) fn connections(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }
}

/// The address that it listens on.
enum Door {
    Open(TcpListener),
    Closed,
    /// A full backlog, with what fills it: the kernel drops what comes after it.
    Hole {
        _full: Vec<socket2::Socket>,
    },
}

impl Door {
    async fn accept(&self) -> TcpStream {
        match self {
            Self::Open(listener) => loop {
                if let Ok((stream, _)) = listener.accept().await {
                    return stream;
                }
            },
            Self::Closed | Self::Hole { .. } => std::future::pending().await,
        }
    }
}

fn bound(address: SocketAddr) -> socket2::Socket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).expect("the address is ours");
    socket
}

fn open(socket: socket2::Socket) -> Door {
    socket.set_nonblocking(true).unwrap();
    Door::Open(TcpListener::from_std(socket.into()).unwrap())
}

fn hole(address: SocketAddr) -> Door {
    let listener = bound(address);
    listener.listen(0).unwrap();
    let fill = || {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&address.into());
        socket
    };
    let full: Vec<_> = std::iter::once(listener).chain((0..8).map(|_| fill())).collect();
    Door::Hole { _full: full }
}

async fn run(
    socket: socket2::Socket,
    address: SocketAddr,
    upstream: SocketAddr,
    mut orders: mpsc::UnboundedReceiver<Order>,
    opened: &AtomicUsize,
) {
    socket.set_nonblocking(true).unwrap();
    let mut door = open(socket);
    let (fault, faults) = watch::channel(Fault::Pass);
    let mut relays = JoinSet::new();
    loop {
        tokio::select! {
            order = orders.recv() => {
                let Some((next, told)) = order else { return };
                let shut = matches!(next, Fault::Refuse | Fault::BlackHole);
                if shut || !matches!(door, Door::Open(_)) {
                    // The old socket must be closed before the address is bound again.
                    door = Door::Closed;
                }
                match (next, &door) {
                    (Fault::Refuse, _) => {}
                    (Fault::BlackHole, _) => door = hole(address),
                    (_, Door::Open(_)) => {}
                    (_, Door::Closed | Door::Hole { .. }) => {
                        let socket = bound(address);
                        socket.listen(1024).unwrap();
                        door = open(socket);
                    }
                }
                fault.send_replace(next);
                if next == Fault::Refuse {
                    // Once this is reported, no connection is left.
                    let _ = tokio::time::timeout(PATIENCE, async {
                        while relays.join_next().await.is_some() {}
                    })
                    .await;
                }
                let _ = told.send(());
            }
            client = door.accept() => {
                opened.fetch_add(1, Ordering::SeqCst);
                while relays.try_join_next().is_some() {}
                relays.spawn(relay(client, upstream, faults.clone()));
            }
        }
    }
}

/// What happens next to a connection.
enum Next {
    Relay,
    End,
    Reset,
}

async fn relay(mut client: TcpStream, upstream: SocketAddr, mut faults: watch::Receiver<Fault>) {
    let Ok(mut server) = TcpStream::connect(upstream).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut asked, mut told) = (vec![0; 16 << 10], vec![0; 16 << 10]);
    let (mut requests, mut sent, mut refusals) = (0, 0, faults.clone());
    loop {
        let next = tokio::select! {
            read = client.read(&mut asked) => match read {
                Ok(0) | Err(_) => Next::End,
                Ok(length) => {
                    (requests, sent) = (requests + 1, 0);
                    let ends = requests > 1 && *faults.borrow() == Fault::CloseOnReuse;
                    if ends {
                        Next::End
                    } else {
                        server.write_all(&asked[..length]).await.map_or(Next::End, |()| Next::Relay)
                    }
                }
            },
            read = server.read(&mut told) => match read {
                Ok(0) | Err(_) => end(&mut client, &mut faults).await,
                Ok(length) => spoil(&mut client, &told[..length], &mut sent, &mut faults).await,
            },
            () = async { drop(refusals.wait_for(|fault| *fault == Fault::Refuse).await) } => Next::Reset,
        };
        match next {
            Next::Relay => {}
            Next::End => return,
            Next::Reset => {
                let _ = socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO));
                return;
            }
        }
    }
}

const GARBAGE: &[u8] = b"\x16\x03\x01 this is no HTTP\r\n\r\n";

/// Forwards the end of a connection.
async fn end(client: &mut TcpStream, faults: &mut watch::Receiver<Fault>) -> Next {
    if *faults.borrow() == Fault::Garbage {
        let _ = client.write_all(GARBAGE).await;
    }
    let is_silent = |fault: &Fault| matches!(fault, Fault::Hold | Fault::BlackHole);
    drop(faults.wait_for(|fault| !is_silent(fault)).await);
    Next::End
}

/// Forwards a piece of a response, of which `sent` bytes were forwarded before.
async fn spoil(
    client: &mut TcpStream,
    piece: &[u8],
    sent: &mut usize,
    faults: &mut watch::Receiver<Fault>,
) -> Next {
    let mut rest = piece;
    while !rest.is_empty() {
        let fault = *faults.borrow_and_update();
        let (now, end) = match fault {
            Fault::Pass | Fault::CloseOnReuse => (rest.len(), None),
            Fault::Refuse => return Next::Reset,
            Fault::BlackHole | Fault::Hold => {
                if faults.changed().await.is_err() {
                    return Next::End;
                }
                continue;
            }
            Fault::Delay(time) => {
                if *sent == 0 {
                    tokio::time::sleep(time).await;
                }
                (rest.len(), None)
            }
            Fault::Drip(time) => {
                tokio::time::sleep(time).await;
                (1, None)
            }
            Fault::Reset(after) => (rest.len().min(after.saturating_sub(*sent)), Some(Next::Reset)),
            Fault::Truncate(after) => (rest.len().min(after.saturating_sub(*sent)), Some(Next::End)),
            Fault::Garbage => {
                let _ = client.write_all(GARBAGE).await;
                return Next::End;
            }
        };
        let (head, tail) = rest.split_at(now);
        if client.write_all(head).await.is_err() {
            return Next::End;
        }
        *sent += now;
        rest = tail;
        if let (Some(end), false) = (end, rest.is_empty()) {
            return end;
        }
    }
    Next::Relay
}
