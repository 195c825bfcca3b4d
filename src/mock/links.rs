//! The links of the stand-in's calls: to itself, or signed ones to its media host, which end after a while.

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::domain::{CallId, hex};

/// What links begin with in the contract's calls.
const WRITTEN: &str = "\"https://api.credira.com/";

/// How long a signed link is good for.
const LIFETIME: i64 = 300;

/// Where the stand-in and its media host are.
#[derive(Debug, Clone)]
pub(crate) struct MockLinks {
    /// As `http://127.0.0.1:8081`.
    pub(crate) base: String,
    /// As `http://127.0.0.1:8082`.
    pub(crate) media_host: String,
    /// What links are signed with.
    pub(crate) secret: u64,
}

impl MockLinks {
    /// A text of the contract with links that lead here.
    pub(super) fn written_into(&self, text: &str, now: Timestamp) -> String {
        let mut parts = text.split(WRITTEN);
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (path, rest) = part.split_once('"').unwrap_or((part, ""));
            let name = call_of(path).map(|id| id.as_str().to_owned()).unwrap_or_default();
            if name.starts_with("call_unrecorded") {
                out += "null";
            } else if name.starts_with("call_signed") {
                out += &format!("\"{}\"", self.signed(path, now));
            } else {
                out += &format!("\"{}/{path}\"", self.base);
            }
            out += rest;
        }
        out
    }

    /// A link to the media host for this path.
    pub(super) fn signed(&self, path: &str, now: Timestamp) -> String {
        let expires = now.as_second() + LIFETIME;
        format!("{}/{path}?Expires={expires}&Signature={}", self.media_host, self.signature(path, expires))
    }

    /// Whether a request to the media host may be answered.
    pub(super) fn admits(&self, path: &str, query: Option<&str>, now: Timestamp) -> bool {
        let fields = query.and_then(|query| query.strip_prefix("Expires=")?.split_once("&Signature="));
        let Some((expires, signature)) = fields else { return false };
        let Ok(expires) = expires.parse() else { return false };
        now.as_second() < expires && signature == self.signature(path, expires)
    }

    fn signature(&self, path: &str, expires: i64) -> String {
        let digest = Sha256::digest(format!("{}\n{path}\n{expires}", self.secret));
        hex(digest.get(..16).unwrap_or_default())
    }
}

/// The call of a path as `recordings/call_1.mp3`.
pub(super) fn call_of(path: &str) -> Option<CallId> {
    let (_, file) = path.rsplit_once('/')?;
    let (name, _) = file.split_once('.')?;
    CallId::parse(name.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links() -> MockLinks {
        MockLinks { base: "http://base".into(), media_host: "http://media".into(), secret: 7 }
    }

    #[test]
    fn links_lead_to_the_stand_in_or_to_its_media_host_or_nowhere() {
        let now = Timestamp::from_second(1000).unwrap();
        let written = |id: &str| {
            links().written_into(
                &format!("{{\"a\":\"https://api.credira.com/recordings/{id}.mp3\",\"b\":1}}"),
                now,
            )
        };
        assert_eq!(written("call_1"), "{\"a\":\"http://base/recordings/call_1.mp3\",\"b\":1}");
        assert_eq!(written("call_unrecorded1"), "{\"a\":null,\"b\":1}");
        assert!(
            written("call_signed1")
                .starts_with("{\"a\":\"http://media/recordings/call_signed1.mp3?Expires=1300&Signature=")
        );
    }

    #[test]
    fn a_signed_link_holds_for_its_path_until_it_expires() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let link = links().signed("recordings/call_1.mp3", at(1000));
        let query = link.split_once('?').unwrap().1;
        assert!(links().admits("recordings/call_1.mp3", Some(query), at(1299)));
        assert!(!links().admits("recordings/call_1.mp3", Some(query), at(1300)));
        assert!(!links().admits("recordings/call_2.mp3", Some(query), at(1000)));
        for query in [None, Some(""), Some("Expires=9999999999&Signature=0"), Some("Expires=x&Signature=0")] {
            assert!(!links().admits("recordings/call_1.mp3", query, at(1000)), "{query:?}");
        }
    }
}
