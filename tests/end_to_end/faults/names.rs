//! The upstream's name changes to another address. Names are resolved in the test's own mount namespace, so that no
//! name server is queried.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use crate::support::proxy::{Fault, Proxy};
use crate::support::{Config, Gateway, Upstream, eventually, needed};

/// Starts what follows with these files as the system's own.
const WITH_FILES: &str = "mount --bind \"$0/hosts\" /etc/hosts && \
    mount --bind \"$0/nsswitch.conf\" /etc/nsswitch.conf && exec \"$@\"";
const ISOLATED: [&str; 4] = ["unshare", "--mount", "--map-root-user", "--"];

/// Needs unshare, of Debian's package `util-linux`, and the right to use it.
// F14.
#[test]
fn a_new_address_of_the_upstream_is_used_for_the_next_connection() {
    let may = Command::new(ISOLATED[0]).args(&ISOLATED[1..]).arg("true").output();
    let may = may.and_then(|done| match done.status.success() {
        true => Ok(()),
        false => Err(std::io::Error::other("namespaces can't be made")),
    });
    if needed("unshare", may).is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("nsswitch.conf"), "hosts: files\n").unwrap();
    // The file is bound, so it is written in place.
    let name =
        |ip: Ipv4Addr| std::fs::write(folder.path().join("hosts"), format!("{ip} upstream.test\n")).unwrap();
    let (first, second) = (Upstream::contract(), Upstream::contract());
    let ips = [1, 2].map(|last| Ipv4Addr::new(127, fastrand::u8(16..), fastrand::u8(..), last));
    let old = Proxy::at(SocketAddr::from((ips[0], 0)), first.address());
    let port = old.address().port();
    let _new = Proxy::at(SocketAddr::from((ips[1], port)), second.address());
    name(ips[0]);
    let lines = format!("base_url = \"http://upstream.test:{port}\"\nallow_plaintext = true");
    let starter = [&ISOLATED[..], &["sh", "-c", WITH_FILES, folder.path().to_str().unwrap()]].concat();
    let gateway = Gateway::start(&Config::default().with("upstream", &lines).under(&starter), old.address());
    assert_eq!(gateway.get("call_1").status, 200);
    name(ips[1]);
    old.now(Fault::Refuse);
    eventually("the new address is used", || gateway.get("call_2").status == 200);
    assert_eq!((first.count(), second.count()), (1, 1));
}
