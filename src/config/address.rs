//! Addresses of listeners.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::checker::Checker;

/// The longest path that fits into the kernel's socket address, which ends with a zero byte.
const MAX_SOCKET_PATH_BYTES: usize = 107;

/// Where a listener binds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Address {
    /// The accepted forms, for messages.
    pub(crate) const EXPECTED: &'static str = "an address such as \"127.0.0.1:8080\", \"[::1]:8080\" or \
         \"unix:/run/credira-gateway.sock\" (a path of at most 107 bytes)";

    /// Whether only this machine can reach it.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    pub(crate) const fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    /// Whether two listeners can't both bind. The kernel chooses the port for port 0, so that never collides; a
    /// wildcard takes the port on every address of its family.
    pub(crate) fn collides_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(one), Self::Tcp(other)) => {
                let same_ip =
                    one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
                one.port() != 0 && one.port() == other.port() && one.is_ipv4() == other.is_ipv4() && same_ip
            }
            (Self::Unix(one), Self::Unix(other)) => one == other,
            (Self::Tcp(_), Self::Unix(_)) | (Self::Unix(_), Self::Tcp(_)) => false,
        }
    }
}

impl FromStr for Address {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.strip_prefix("unix:") {
            Some(path) if (1..=MAX_SOCKET_PATH_BYTES).contains(&path.len()) => Ok(Self::Unix(path.into())),
            Some(_) => Err(()),
            None => text.parse().map(Self::Tcp).map_err(|_| ()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => fmt::Display::fmt(address, f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One address, or a list of them.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum OneOrMore {
    One(String),
    More(#[schemars(with = "Vec<String>")] Vec<Option<String>>),
}

impl OneOrMore {
    /// The addresses at `key`. An invalid one is a problem.
    pub(crate) fn check(&self, key: &str, checker: &mut Checker<'_>) -> Option<Vec<Address>> {
        let mut parse = |key: &str, text: &str| {
            let address = text.parse().map_err(|()| format!("expected {}", Address::EXPECTED));
            checker.take(key, address)
        };
        match self {
            Self::One(text) => Some(vec![parse(key, text)?]),
            Self::More(texts) => {
                let texts = texts.iter().enumerate();
                let parsed: Vec<_> = texts
                    // An entry that isn't a string is a problem already.
                    .map(|(place, text)| parse(&format!("{key}[{place}]"), text.as_ref()?))
                    .collect();
                parsed.into_iter().collect()
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::One(text) => text.is_empty(),
            Self::More(texts) => texts.is_empty(),
        }
    }
}

impl From<&[Address]> for OneOrMore {
    fn from(addresses: &[Address]) -> Self {
        match addresses {
            [] => Self::One(String::new()),
            [one] => Self::One(one.to_string()),
            more => Self::More(more.iter().map(|address| Some(address.to_string())).collect()),
        }
    }
}

/// The first address that can't be bound together with an earlier one.
pub(crate) fn first_collision(addresses: &[Address]) -> Option<usize> {
    (1..addresses.len()).find(|&place| match addresses.get(..=place) {
        Some([earlier @ .., last]) => earlier.iter().any(|other| other.collides_with(last)),
        Some([]) | None => false,
    })
}

/// The permissions of socket files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SocketMode(u32);

/// Owner and group: a plane without a token answers everyone who can connect.
impl Default for SocketMode {
    fn default() -> Self {
        Self(0o660)
    }
}

impl SocketMode {
    pub(crate) const EXPECTED: &'static str =
        "permissions as octal digits from \"0000\" to \"0777\", such as \"0660\"";

    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    /// Whether every user of this machine may connect, which requires write permission on the socket.
    pub(crate) const fn admits_everyone(self) -> bool {
        self.0 & 0o002 != 0
    }
}

impl FromStr for SocketMode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let is_octal = (3..=4).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit());
        let bits = u32::from_str_radix(text, 8).ok().filter(|bits| is_octal && *bits <= 0o777);
        bits.map(Self).ok_or(())
    }
}

impl fmt::Display for SocketMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_collides_with_its_own_family_only() {
        let collides = |one: &str, other: &str| {
            let [one, other] = [one, other].map(|text| text.parse::<Address>().unwrap());
            assert_eq!(one.collides_with(&other), other.collides_with(&one));
            one.collides_with(&other)
        };
        assert!(collides("127.0.0.1:80", "127.0.0.1:80"));
        assert!(collides("0.0.0.0:80", "127.0.0.1:80"));
        assert!(collides("[::]:80", "[::1]:80"));
        assert!(collides("unix:/a", "unix:/a"));
        assert!(!collides("0.0.0.0:80", "[::]:80"));
        assert!(!collides("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!collides("0.0.0.0:0", "127.0.0.1:0"));
        assert!(!collides("unix:/a", "unix:/b"));
    }

    #[test]
    fn a_socket_mode_is_octal() {
        for (text, bits) in [("0660", 0o660), ("660", 0o660), ("0777", 0o777), ("0000", 0)] {
            let mode: SocketMode = text.parse().unwrap();
            assert_eq!(mode.bits(), bits);
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        for bad in ["", "7", "0o660", "0680", "1777", "00660", "+660", "rw-rw----"] {
            assert_eq!(bad.parse::<SocketMode>(), Err(()), "{bad}");
        }
    }
}
