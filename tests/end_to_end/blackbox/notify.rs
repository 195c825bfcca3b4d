//! Notifications to the service manager: `sd_notify(3)` over a datagram socket, as systemd reads it.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use crate::support::{Config, Gate, Gateway, PATIENCE, TOKENS, Upstream};

/// A service manager, with the messages that it received, each a list of lines.
struct Manager {
    socket: UnixDatagram,
    name: String,
    _folder: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, name: path.to_str().unwrap().into(), _folder: folder }
    }

    /// The next message.
    #[track_caller]
    fn told(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).expect("a message");
        std::str::from_utf8(&buffer[..length]).unwrap().lines().map(str::to_owned).collect()
    }

    /// The next message other than keep-alives.
    #[track_caller]
    fn told_news(&self) -> Vec<String> {
        loop {
            let told = self.told();
            if told != ["WATCHDOG=1"] {
                return told;
            }
        }
    }
}

fn managed(manager: &Manager) -> Config {
    Config::default().env("NOTIFY_SOCKET", &manager.name)
}

#[test]
fn startup_reloads_and_shutdown_are_notified() {
    let upstream = Upstream::contract();
    let manager = Manager::new();
    let mut gateway = managed(&manager).start(&upstream);
    assert_eq!(manager.told(), ["READY=1", "STATUS=Serving 2 tenants"]);
    for good in [true, false] {
        if !good {
            gateway.rewrite("nonsense");
        }
        gateway.process.signal("HUP");
        let told = manager.told();
        assert_eq!((told[0].as_str(), told.len()), ("RELOADING=1", 3), "{told:?}");
        let now: u64 = told[1].strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap();
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        assert!((now as f64 / 1e6 - uptime).abs() < 60.0, "{now} is the monotonic clock, in microseconds");
        assert_eq!(told[2], "STATUS=Reloading the configuration");
        let status = match good {
            true => "STATUS=Serving 2 tenants",
            false => "STATUS=Serving 2 tenants; the last reload was refused, the log says why",
        };
        assert_eq!(manager.told(), ["READY=1", status]);
    }
    assert_eq!(gateway.post_reload().status, 422);
    assert_eq!(manager.told()[0], "RELOADING=1", "a reload by the API is one, too");
    assert_eq!(manager.told()[0], "READY=1");
    gateway.process.signal("TERM");
    let told = manager.told();
    assert_eq!(told[0], "STOPPING=1");
    let extended: u64 = told[1].strip_prefix("EXTEND_TIMEOUT_USEC=").unwrap().parse().unwrap();
    assert!((30_000_000..=40_000_000).contains(&extended), "the drain timeout and a little: {extended}");
    assert_eq!(told[2], "STATUS=Finishing requests in flight");
    assert_eq!(gateway.process.wait().code(), Some(0));
}

#[test]
fn the_watchdog_is_notified_twice_per_interval_until_the_end() {
    let gate = Gate::default();
    let upstream = Upstream::gated(&gate);
    let manager = Manager::new();
    let mut gateway = managed(&manager).env("WATCHDOG_USEC", "200000").start(&upstream);
    assert_eq!(manager.told_news()[0], "READY=1");
    let start = Instant::now();
    for _ in 0..10 {
        assert_eq!(manager.told(), ["WATCHDOG=1"]);
    }
    assert!(start.elapsed() > Duration::from_millis(700), "ten are told in a second, not at once");
    let mut client = gateway.connect();
    client.get("/v1/calls/call_1", TOKENS[0], &[]);
    upstream.wait_for(1);
    gateway.process.signal("TERM");
    assert_eq!(manager.told_news()[0], "STOPPING=1");
    assert_eq!(manager.told(), ["WATCHDOG=1"], "a drain may take long");
    gate.open();
    assert_eq!(gateway.process.wait().code(), Some(0));
}

#[test]
fn a_watchdog_of_another_process_is_not_notified() {
    let upstream = Upstream::contract();
    let manager = Manager::new();
    let _gateway = managed(&manager).env("WATCHDOG_USEC", "2000").env("WATCHDOG_PID", "1").start(&upstream);
    assert_eq!(manager.told()[0], "READY=1");
    manager.socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(manager.socket.recv(&mut [0; 100]).is_err());
}

#[test]
fn a_manager_may_have_a_name_instead_of_a_path() {
    let upstream = Upstream::contract();
    let name = format!("credira-gateway-test-{}", std::process::id());
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let _gateway = Config::default().env("NOTIFY_SOCKET", &format!("@{name}")).start(&upstream);
    let mut buffer = [0; 100];
    let length = socket.recv(&mut buffer).unwrap();
    assert!(buffer[..length].starts_with(b"READY=1\n"));
}

#[test]
fn a_missing_manager_costs_only_a_warning() {
    let upstream = Upstream::contract();
    let gateway = Config::default().env("NOTIFY_SOCKET", "/no/such/socket").start(&upstream);
    gateway.process.err_line("about the manager", |line| line.contains("cannot notify the service manager"));
    assert_eq!(gateway.get("call_1").status, 200);
    let without = Gateway::plain(&upstream);
    assert_eq!(without.get("call_1").status, 200);
    assert!(!without.process.err().join("\n").contains("service manager"));
}

#[test]
fn a_manager_that_does_not_read_delays_nothing() {
    let upstream = Upstream::contract();
    let manager = Manager::new();
    let filling = UnixDatagram::unbound().unwrap();
    filling.set_nonblocking(true).unwrap();
    while filling.send_to(b"X=1", &manager.name).is_ok() {}
    let mut gateway = managed(&manager).env("WATCHDOG_USEC", "20000").start(&upstream);
    for _ in 0..20 {
        assert_eq!(gateway.get("call_1").status, 200);
    }
    assert_eq!(gateway.post_reload().status, 200);
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.wait().code(), Some(0));
}
