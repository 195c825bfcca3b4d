//! Engines of other kinds: over TCP and TLS, watched by a sentinel, and as a cluster.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::engine::{FLEET_KEY, converse};
use super::gateway::Config;
use super::{Engine, eventually, needed, own_ip};

/// An address on loopback that nothing else has, free at this moment.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind((own_ip(), 0)).expect("a port").local_addr().expect("an address")
}

/// The smallest configuration of a gateway in the fleet of an engine at this address, with further lines of the section.
pub(crate) fn engine_at(url: &str, lines: &str) -> Config {
    let section = format!("urls = [\"{url}\"]\nkey = {{ value = \"{FLEET_KEY}\" }}\n");
    let timeout = if lines.contains("timeout = ") { "" } else { "timeout = \"1s\"\n" };
    Config::default().with("shared", &(section + timeout + lines))
}

/// An engine's arguments for this address.
fn at(address: SocketAddr) -> [String; 4] {
    ["--bind".into(), address.ip().to_string(), "--port".into(), address.port().to_string()]
}

impl Engine {
    /// One that listens on this address, too.
    pub(crate) fn start_at(address: SocketAddr, arguments: &[&str]) -> Option<Self> {
        let at = at(address);
        let at: Vec<&str> = at.iter().map(String::as_str).collect();
        Self::start_with(&[&at, arguments].concat())
    }

    /// One that speaks TLS on this address, with a certificate, its key, and who signs the clients', if they need one.
    pub(crate) fn start_tls(address: SocketAddr, files: [&Path; 3], clients: &str) -> Option<Self> {
        let [cert, key, roots] = files.map(|file| file.to_str().expect("UTF-8"));
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        Self::start_with(&[
            "--bind",
            &ip,
            "--tls-port",
            &port,
            "--tls-cert-file",
            cert,
            "--tls-key-file",
            key,
            "--tls-ca-cert-file",
            roots,
            "--tls-auth-clients",
            clients,
        ])
    }

    /// A replica of the engine at this address, which has all that it has.
    pub(crate) fn start_replica(address: SocketAddr, of: SocketAddr) -> Option<Self> {
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let primary = format!("{} {}", of.ip(), of.port());
        let replica = Self::start_at(
            address,
            &["--replicaof", &primary, "--replica-announce-ip", &ip, "--replica-announce-port", &port],
        )?;
        eventually("the replica is in sync", || {
            replica.command(&["INFO", "replication"]).contains("master_link_status:up")
        });
        Some(replica)
    }

    /// The nodes of a cluster at these addresses, which have all slots.
    pub(crate) fn start_cluster(addresses: &[SocketAddr]) -> Option<Vec<Self>> {
        let mut nodes = Vec::new();
        let mut buses = Vec::new();
        for address in addresses {
            let ip = address.ip().to_string();
            let bus = TcpListener::bind((address.ip(), 0)).expect("a port").local_addr().expect("an address");
            let bus = bus.port().to_string();
            nodes.push(Self::start_at(
                *address,
                &["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-announce-ip", &ip],
            )?);
            buses.push(bus);
        }
        let slots = |place: usize| place * 16384 / addresses.len();
        for (place, node) in nodes.iter().enumerate() {
            let range = [slots(place).to_string(), (slots(place + 1) - 1).to_string()];
            let given = node.command(&["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]]);
            assert_eq!(given, "OK\n");
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(place + 1).to_string()]);
        }
        for (address, bus) in addresses.iter().zip(&buses).skip(1) {
            let (ip, port) = (address.ip().to_string(), address.port().to_string());
            assert_eq!(nodes[0].command(&["CLUSTER", "MEET", &ip, &port, bus]), "OK\n");
        }
        let known = format!("cluster_known_nodes:{}", addresses.len());
        eventually("the cluster is complete", || {
            let is_complete = |node: &Self| {
                let info = node.command(&["CLUSTER", "INFO"]);
                info.contains("cluster_state:ok")
                    && info.contains("cluster_slots_ok:16384")
                    && info.contains(&known)
            };
            nodes.iter().all(is_complete)
        });
        Some(nodes)
    }
}

/// A sentinel, which makes a replica the primary when the primary is gone. Dropping it ends it.
pub(crate) struct Sentinel {
    process: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Sentinel {
    /// One that knows the primary at this address as `mymaster`, and has found its replicas.
    pub(crate) fn watch(primary: SocketAddr, replicas: usize) -> Option<Self> {
        let (folder, address) = (tempfile::tempdir().expect("a directory"), free_address());
        let file = folder.path().join("sentinel.conf");
        let text = format!(
            "bind {}\nport {}\ndir {}\nsentinel monitor mymaster {} {} 1\n\
             sentinel down-after-milliseconds mymaster 1500\nsentinel failover-timeout mymaster 5000\n",
            address.ip(),
            address.port(),
            folder.path().display(),
            primary.ip(),
            primary.port()
        );
        std::fs::write(&file, text).expect("written");
        let mut command = Command::new("redis-server");
        command.arg(&file).arg("--sentinel").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = needed("redis-server", command.spawn())?;
        let sentinel = Self { process, address, _folder: folder };
        eventually("the sentinel listens", || TcpStream::connect(address).is_ok());
        eventually("it has found the replicas", || {
            let found = sentinel.command(&["SENTINEL", "REPLICAS", "mymaster"]);
            found.lines().filter(|line| *line == "master-link-status").count() == replicas
                && found.matches("\nok\n").count() == replicas
        });
        Some(sentinel)
    }

    /// The address of the primary, as it knows it.
    pub(crate) fn primary(&self) -> SocketAddr {
        let words = self.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"]);
        let (ip, port) = words.trim_end().split_once('\n').expect("an address and a port");
        SocketAddr::new(ip.parse().expect("an IP address"), port.parse().expect("a port"))
    }

    /// The smallest configuration of a gateway whose engine it watches.
    pub(crate) fn config(&self, lines: &str) -> Config {
        let mode = "mode = \"sentinel\"\nsentinel_master = \"mymaster\"\n";
        engine_at(&format!("redis://{}", self.address), &(mode.to_owned() + lines))
    }

    fn command(&self, words: &[&str]) -> String {
        converse(&TcpStream::connect(self.address).expect("it listens"), words)
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
