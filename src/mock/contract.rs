//! What the stand-in answers: a pure function of the request and the time.

use jiff::{SignedDuration, Timestamp};

use crate::domain::CallId;

/// A call with places to fill in.
const CALL: &str = include_str!("call.json");

/// The upstream's contract, with the keys that it takes.
#[derive(Debug, Clone, Default)]
pub struct Contract {
    keys: Vec<String>,
}

/// An answer: a status and a JSON body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// JSON.
    pub body: String,
}

/// What an ID names.
enum Named {
    Call { status: &'static str, updated: Updated },
    Missing,
    Forbidden,
}

enum Updated {
    LongAgo,
    Now,
}

impl Contract {
    /// A contract that takes these keys; none: any.
    pub const fn new(keys: Vec<String>) -> Self {
        Self { keys }
    }

    /// Answers `METHOD PATH` with this `Authorization`. `number` tells answers apart in `meta`.
    pub fn answer(
        &self,
        method: &str,
        path: &str,
        authorization: Option<&str>,
        now: Timestamp,
        number: u64,
    ) -> Reply {
        let error = |status, code, message| error(status, code, message, now, number);
        if !self.takes(authorization) {
            return error(401, "UNAUTHORIZED", "Invalid or missing API key");
        }
        let Some(segment) = path.strip_prefix("/v1/calls/").filter(|_| method == "GET") else {
            return error(404, "NOT_FOUND", "Not found");
        };
        let Ok(id) = CallId::parse(segment.as_bytes()) else {
            return error(400, "INVALID_REQUEST", "Invalid call ID format");
        };
        match named(&id) {
            Named::Missing => error(404, "NOT_FOUND", "Call not found"),
            Named::Forbidden => error(403, "FORBIDDEN", "You don't have permission to access this call"),
            Named::Call { status, updated } => {
                Reply { status: 200, body: call(&id, status, &updated, now, number) }
            }
        }
    }

    fn takes(&self, authorization: Option<&str>) -> bool {
        let key = authorization.and_then(|line| line.strip_prefix("Bearer "));
        key.is_some_and(|key| self.keys.is_empty() || self.keys.iter().any(|known| known == key))
    }
}

fn named(id: &CallId) -> Named {
    let suffix = id.as_str().strip_prefix("call_").unwrap_or_default();
    let call = |status, updated| Named::Call { status, updated };
    match suffix {
        _ if suffix.starts_with("missing") => Named::Missing,
        _ if suffix.starts_with("forbidden") => Named::Forbidden,
        _ if suffix.starts_with("progress") => call("in_progress", Updated::Now),
        _ if suffix.starts_with("initiated") => call("initiated", Updated::Now),
        _ if suffix.starts_with("settling") => call("completed", Updated::Now),
        _ => call("completed", Updated::LongAgo),
    }
}

fn call(id: &CallId, status: &str, updated: &Updated, now: Timestamp, request: u64) -> String {
    // FNV-1a: any function of the ID does.
    let number = id.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let day = SignedDuration::from_hours(24);
    let offset = SignedDuration::from_secs(i64::from((number % 86_400) as u32));
    let long_ago = Timestamp::UNIX_EPOCH.saturating_add(day * 19_700).unwrap_or(now);
    let created = match updated {
        Updated::LongAgo => long_ago.saturating_add(offset).unwrap_or(now),
        Updated::Now => now.saturating_sub(SignedDuration::from_secs(180)).unwrap_or(now),
    };
    let ended = created.saturating_add(SignedDuration::from_secs(180)).unwrap_or(now);
    let digits = format!("{:09}", number % 1_000_000_000);
    CALL.replace("{id}", id.as_str())
        .replace("{status}", status)
        .replace("{number}", &digits)
        .replace("{account}", &digits)
        .replace("{created}", &format!("{created:.0}"))
        .replace("{updated}", &format!("{ended:.0}"))
        .replace("{ended}", &format!("{ended:.0}"))
        .replace("{now}", &format!("{now:.0}"))
        .replace("{request}", &format!("{request:09}"))
}

fn error(status: u16, code: &str, message: &str, now: Timestamp, number: u64) -> Reply {
    let body = crate::domain::error_envelope(code, message, now, &format!("req_{number:09}"));
    Reply { status, body: String::from_utf8_lossy(&body).into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(path: &str) -> Reply {
        Contract::default().answer(
            "GET",
            path,
            Some("Bearer any"),
            "2024-06-01T12:00:00Z".parse().unwrap(),
            7,
        )
    }

    fn data(reply: &Reply) -> serde_json::Value {
        serde_json::from_str::<serde_json::Value>(&reply.body).unwrap()["data"].clone()
    }

    #[test]
    fn a_call_is_a_function_of_its_id() {
        let (one, same, other) = (ask("/v1/calls/call_1"), ask("/v1/calls/call_1"), ask("/v1/calls/call_2"));
        assert_eq!((one.status, &one), (200, &same));
        assert_eq!(
            (data(&one)["id"].as_str(), data(&one)["status"].as_str()),
            (Some("call_1"), Some("completed"))
        );
        assert_ne!(data(&one)["invoice_id"], data(&other)["invoice_id"]);
        assert_eq!(data(&one).as_object().unwrap().len(), 25, "the vendor's 25 fields");
    }

    #[test]
    fn ids_that_begin_otherwise_name_other_things() {
        for (id, status, text) in [
            ("call_missing1", 404, "NOT_FOUND"),
            ("call_forbidden1", 403, "FORBIDDEN"),
            ("call_progress1", 200, "in_progress"),
            ("call_initiated1", 200, "initiated"),
            ("call_settling1", 200, "2024-06-01T12:00:00Z"),
            ("nonsense", 400, "INVALID_REQUEST"),
        ] {
            let reply = ask(&format!("/v1/calls/{id}"));
            assert!(reply.status == status && reply.body.contains(text), "{id}: {reply:?}");
        }
    }

    #[test]
    fn keys_are_checked_if_there_are_any() {
        let contract = Contract::new(vec!["k1".into(), "k2".into()]);
        let status = |line| contract.answer("GET", "/v1/calls/call_1", line, Timestamp::UNIX_EPOCH, 0).status;
        assert_eq!([status(Some("Bearer k1")), status(Some("Bearer k2"))], [200, 200]);
        assert_eq!([status(Some("Bearer k3")), status(Some("k1")), status(None)], [401, 401, 401]);
        assert_eq!(
            Contract::default().answer("GET", "/v1/calls/call_1", None, Timestamp::UNIX_EPOCH, 0).status,
            401
        );
    }
}
