//! What would happen to a lookup now, and why: the same decisions as a lookup makes, told one by one
//! and carried out by nobody. Nothing is sent, charged or changed.

use serde::Serialize;
use serde_json::{Value, json};

use super::lookup::{Step, decide};
use super::snapshot::Snapshot;
use crate::cache::{Demand, Validators};
use crate::clock;
use crate::domain::{CallId, StaleReason, Story};
use crate::tenant::Tenant;

/// An explanation.
#[derive(Debug, Serialize)]
pub struct Explanation {
    tenant: String,
    id: String,
    /// `hit`, `negative`, `stale`, `fetch`, `follow` or `refuse`.
    would: &'static str,
    /// Why, in a sentence.
    because: String,
    /// Each decision on the way, in order.
    decisions: Vec<Decision>,
}

/// One decision.
#[derive(Debug, Serialize)]
struct Decision {
    step: &'static str,
    result: String,
    #[serde(skip_serializing_if = "Value::is_null")]
    details: Value,
}

fn decision(step: &'static str, result: impl Into<String>, details: Value) -> Decision {
    Decision { step, result: result.into(), details }
}

/// Explains a lookup of `segment` by a tenant whose request demands nothing in particular.
pub fn explain(snapshot: &Snapshot, tenant: &Tenant, segment: &str) -> Explanation {
    let mut decisions = Vec::new();
    let (would, because) = match CallId::parse(segment.as_bytes()) {
        Ok(id) => {
            decisions.push(decision("route", "call", json!({ "route": "/v1/calls/{id}" })));
            tell_limit(tenant, &mut decisions);
            tell_cache(snapshot, tenant, &id, &mut decisions)
        }
        Err(_) => {
            decisions.push(decision("route", "refused", json!({ "status": 400, "code": "INVALID_REQUEST" })));
            ("refuse", "the ID does not match ^call_[A-Za-z0-9]{1,64}$".to_owned())
        }
    };
    Explanation { tenant: tenant.name().to_string(), id: segment.to_owned(), would, because, decisions }
}

fn tell_limit(tenant: &Tenant, decisions: &mut Vec<Decision>) {
    decisions.push(match tenant.limit_left(clock::now()) {
        None => decision("tenant limit", "none", Value::Null),
        Some(left) => {
            let result = if left.remaining > 0 { "passes" } else { "spent" };
            let details = json!({ "remaining": left.remaining, "full_in_seconds": left.full_in_seconds });
            decision("tenant limit", result, details)
        }
    });
}

fn tell_cache(
    snapshot: &Snapshot,
    tenant: &Tenant,
    id: &CallId,
    decisions: &mut Vec<Decision>,
) -> (&'static str, String) {
    let now = clock::now();
    let generation = tenant.cache().current();
    let entry = generation.entry(id);
    match &entry {
        Some(entry) => {
            let description = entry.describe(&snapshot.policy, now);
            decisions.push(decision("entry", description.state, json!(description)));
        }
        None => {
            let last = tenant.cache().last_refusal(id).map(|(why, at)| {
                let seconds_ago = now.duration_since(at).as_secs();
                json!({ "last_answer_not_stored": why.label(), "seconds_ago": seconds_ago })
            });
            decisions.push(decision("entry", "none", last.unwrap_or_default()));
        }
    }
    match decide(entry, &Demand::default(), &snapshot.policy, now) {
        Step::Serve(served) => match served.story {
            Story::Negative { ttl } => {
                ("negative", format!("the upstream's 404 is remembered for {ttl} s more"))
            }
            Story::Hit { ttl } => ("hit", format!("the entry is fresh for {ttl} s more")),
            Story::Stale { .. } | Story::Forwarded { .. } => {
                ("stale", "the entry may be served as it is".into())
            }
        },
        Step::Renew(served) => {
            let why = match served.story {
                Story::Stale { ttl, reason: StaleReason::WhileRevalidate } => {
                    format!(
                        "the entry has been stale for {} s, which is served while it is renewed",
                        ttl.unsigned_abs()
                    )
                }
                _ => "the entry is stale, which is served while it is renewed".into(),
            };
            let due = served.entry.renewal_is_due(now);
            let result = if due { "begins" } else { "waits after a failure" };
            decisions.push(decision("background renewal", result, Value::Null));
            tell_upstream(tenant, id, &served.entry.validators(), decisions);
            ("stale", why)
        }
        Step::Ask(question) => {
            let following = generation.is_fetching(id);
            let result =
                if following { "a fetch is under way: it would be followed" } else { "none is under way" };
            decisions.push(decision("fetch", result, json!({ "fwd": question.forward.token() })));
            let validators = question.entry().map(|entry| entry.validators()).unwrap_or_default();
            tell_upstream(tenant, id, &validators, decisions);
            let why = match question.entry() {
                Some(_) => "the entry must be validated upstream first",
                None => "nothing is stored for it",
            };
            (if following { "follow" } else { "fetch" }, why.to_owned())
        }
        Step::NotCached(_) => ("refuse", "nothing usable is stored".to_owned()),
    }
}

fn tell_upstream(tenant: &Tenant, id: &CallId, validators: &Validators, decisions: &mut Vec<Decision>) {
    let outlook = tenant.upstream().outlook();
    decisions.push(match outlook.paused_for {
        None => decision("pause", "none", Value::Null),
        Some(left) => {
            let details =
                json!({ "seconds_left": left.as_secs_f64(), "because": "the upstream answered 429" });
            decision("pause", "refuses", details)
        }
    });
    decisions.push(decision("breaker", outlook.breaker, Value::Null));
    decisions.push(match outlook.budget {
        None => decision("upstream budget", "none", Value::Null),
        Some(left) => {
            let result = if left.remaining > 0 { "passes" } else { "spent" };
            let details = json!({ "remaining": left.remaining, "full_in_seconds": left.full_in_seconds });
            decision("upstream budget", result, details)
        }
    });
    let free = outlook.free_connections;
    let result = if free > 0 { "free" } else { "waits for one" };
    decisions.push(decision("connection", result, json!({ "free": free })));
    let header =
        |value: &Option<http::HeaderValue>| value.as_ref().and_then(|v| v.to_str().ok().map(String::from));
    decisions.push(decision(
        "request",
        "would be sent",
        json!({
            "method": "GET",
            "url": outlook.url(id),
            "if_none_match": header(&validators.etag),
            "if_modified_since": header(&validators.last_modified),
        }),
    ));
}
