//! The stand-in's answers: a pure function of the request and the time.

use jiff::{SignedDuration, Timestamp};

use super::links::MockLinks;
use crate::domain::{CallId, InvoiceId, ROUTES, RouteLabel};

/// A call with placeholders.
const CALL: &str = include_str!("call.json");

/// The upstream's contract, with the keys that it accepts.
#[derive(Debug, Clone, Default)]
pub struct Contract {
    keys: Vec<String>,
    /// Where links lead; `None`: to the vendor's host.
    links: Option<MockLinks>,
}

/// An answer: a status and a JSON body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// JSON.
    pub body: String,
}

/// The object that an ID stands for.
enum Named {
    Call { status: &'static str, updated: Updated },
    Missing,
    Forbidden,
}

enum Updated {
    LongAgo,
    Now,
    At(Timestamp),
}

impl Contract {
    /// A contract that accepts these keys; any, if there are none.
    pub const fn new(keys: Vec<String>) -> Self {
        Self { keys, links: None }
    }

    /// The same with links that lead to the stand-in.
    pub(super) fn linking(self, links: MockLinks) -> Self {
        Self { links: Some(links), ..self }
    }

    pub(super) const fn links(&self) -> Option<&MockLinks> {
        self.links.as_ref()
    }

    /// Answers `METHOD PATH` with this `Authorization`. `number` distinguishes answers, in `meta`.
    pub fn answer(
        &self,
        method: &str,
        path: &str,
        authorization: Option<&str>,
        now: Timestamp,
        number: u64,
    ) -> Reply {
        let Reply { status, body } = self.answer_as_written(method, path, authorization, now, number);
        let body = self.links.as_ref().map(|links| links.written_into(&body, now)).unwrap_or(body);
        Reply { status, body }
    }

    fn answer_as_written(
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
        if method == "GET"
            && let Some(query) = path.strip_prefix("/v1/calls?")
        {
            let invoice =
                query.strip_prefix("invoice_id=").map(|invoice| InvoiceId::parse(invoice.as_bytes()));
            let Some(Ok(invoice)) = invoice else {
                return error(400, "INVALID_REQUEST", "Missing or invalid invoice_id");
            };
            return list(&invoice, now, number)
                .unwrap_or_else(|| error(404, "NOT_FOUND", "Invoice not found"));
        }
        let segment = ROUTES.iter().find(|route| route.label == RouteLabel::Call);
        let segment = segment.and_then(|route| route.segment_of(path));
        let Some(segment) = segment.filter(|_| method == "GET") else {
            return error(404, "NOT_FOUND", "Not found");
        };
        let Ok(id) = CallId::parse(segment.as_bytes()) else {
            return error(400, "INVALID_REQUEST", "Invalid call ID format");
        };
        match named(&id, now) {
            Named::Missing => error(404, "NOT_FOUND", "Call not found"),
            Named::Forbidden => error(403, "FORBIDDEN", "You don't have permission to access this call"),
            Named::Call { status, updated } => {
                Reply { status: 200, body: call(&id, status, &updated, now, number) }
            }
        }
    }

    pub(super) fn takes(&self, authorization: Option<&str>) -> bool {
        let key = authorization.and_then(|line| line.strip_prefix("Bearer "));
        key.is_some_and(|key| self.keys.is_empty() || self.keys.iter().any(|known| known == key))
    }
}

fn named(id: &CallId, now: Timestamp) -> Named {
    let suffix = id.as_str().strip_prefix("call_").unwrap_or_default();
    let call = |status, updated| Named::Call { status, updated };
    match suffix {
        _ if suffix.starts_with("missing") => Named::Missing,
        _ if suffix.starts_with("forbidden") => Named::Forbidden,
        _ if suffix.starts_with("progress") => call("in_progress", Updated::Now),
        _ if suffix.starts_with("initiated") => call("initiated", Updated::Now),
        _ if suffix.starts_with("settling") => call("completed", Updated::Now),
        _ => match suffix.strip_prefix("until").and_then(completes_at) {
            Some(end) if now < end => call("in_progress", Updated::Now),
            Some(end) => call("completed", Updated::At(end)),
            None => call("completed", Updated::LongAgo),
        },
    }
}

/// The fields of a call in a list.
const SHORT: [&str; 13] = [
    "id",
    "invoice_id",
    "duration",
    "status",
    "from",
    "to",
    "transcription_url",
    "call_recording_url",
    "confidence_score",
    "voice_agent_id",
    "timezone",
    "account_id",
    "created_time",
];

/// The calls of an invoice: two, unless its ID says otherwise. `None` for one that does not exist.
fn list(invoice: &InvoiceId, now: Timestamp, number: u64) -> Option<Reply> {
    let suffix = invoice.as_str().strip_prefix("inv_").unwrap_or_default();
    if suffix.starts_with("missing") {
        return None;
    }
    let is_empty = suffix.starts_with("empty");
    let letters: String = suffix.chars().filter(char::is_ascii_alphanumeric).collect();
    let ids =
        ["A", "B"].iter().filter_map(|end| CallId::parse(format!("call_{letters}{end}").as_bytes()).ok());
    let calls: Vec<_> = ids
        .filter_map(|id| {
            let body = call(&id, "completed", &Updated::LongAgo, now, number);
            let mut body: serde_json::Value = serde_json::from_str(&body).ok()?;
            let data = body.get_mut("data")?.as_object_mut()?;
            data.retain(|key, _| SHORT.contains(&key.as_str()));
            data.insert("invoice_id".into(), invoice.as_str().into());
            Some(serde_json::Value::Object(std::mem::take(data)))
        })
        .collect();
    let mut meta = serde_json::json!({
        "timestamp": format!("{now:.0}"), "request_id": format!("req_{number:09}"), "total_calls": calls.len(),
    });
    let data = if is_empty { false.into() } else { serde_json::Value::Array(calls) };
    if let (true, Some(meta)) = (is_empty, meta.as_object_mut()) {
        meta.remove("total_calls");
    }
    let body = serde_json::json!({ "success": true, "data": data, "meta": meta });
    Some(Reply { status: 200, body: body.to_string() })
}

fn completes_at(digits: &str) -> Option<Timestamp> {
    Timestamp::from_second(digits.parse().ok()?).ok()
}

fn call(id: &CallId, status: &str, updated: &Updated, now: Timestamp, request: u64) -> String {
    // FNV-1a: any function of the ID would do.
    let number = id.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let day = SignedDuration::from_hours(24);
    let offset = SignedDuration::from_secs(i64::from((number % 86_400) as u32));
    let long_ago = Timestamp::UNIX_EPOCH.saturating_add(day * 19_700).unwrap_or(now);
    let created = match updated {
        Updated::LongAgo => long_ago.saturating_add(offset).unwrap_or(now),
        Updated::Now => now.saturating_sub(SignedDuration::from_secs(180)).unwrap_or(now),
        Updated::At(end) => end.saturating_sub(SignedDuration::from_secs(180)).unwrap_or(now),
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
    let body = crate::message::error_envelope(code, message, now, &format!("req_{number:09}"));
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
    fn prefixes_of_ids_select_other_answers() {
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
    fn a_call_can_complete_at_a_time_that_its_id_names() {
        let at = |second| {
            let now = Timestamp::from_second(second).unwrap();
            data(&Contract::default().answer("GET", "/v1/calls/call_until1000", Some("Bearer any"), now, 0))
        };
        assert_eq!(at(999)["status"], "in_progress");
        assert_eq!((&at(1000)["status"], &at(5000)["status"]), (&"completed".into(), &"completed".into()));
        assert_eq!(at(5000)["end_time"], "1970-01-01T00:16:40Z");
    }

    #[test]
    fn an_invoice_has_calls_none_or_is_unknown() {
        let some = ask("/v1/calls?invoice_id=inv_7");
        let calls = data(&some).as_array().cloned().unwrap();
        assert_eq!((some.status, calls.len()), (200, 2));
        assert!(
            calls.iter().all(|call| call["invoice_id"] == "inv_7" && call.as_object().unwrap().len() == 13)
        );
        assert_eq!(data(&ask("/v1/calls?invoice_id=inv_empty")), false);
        assert_eq!(ask("/v1/calls?invoice_id=inv_missing").status, 404);
        for query in ["", "invoice_id=", "invoice_id=call_1", "x=1"] {
            assert_eq!(ask(&format!("/v1/calls?{query}")).status, 400, "{query}");
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
