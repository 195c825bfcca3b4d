//! An entry in words and figures, for operators: everything about it but its body.

use serde::Serialize;

use super::admission::Entry;
use super::freshness::{Kind, Reckoning};
use super::store::weight;
use crate::clock::Instant;
use crate::config::Cache as Policy;

/// What is told of an entry.
#[derive(Debug, Serialize)]
pub struct Description {
    /// `call` or `negative`.
    kind: &'static str,
    /// What it may be used for now: `fresh`, `stale-while-revalidate`, `stale-if-error`, or `stale` when
    /// it must be validated first.
    pub state: &'static str,
    status: u16,
    age_seconds: u64,
    ttl_seconds: i64,
    /// What it weighs in the cache: key, fields and bookkeeping included.
    size_bytes: usize,
    body_bytes: usize,
    received_at: String,
    etag: Option<String>,
    last_modified: Option<String>,
    /// Whether the upstream gave validators, so that a renewal may be a 304.
    revalidates: bool,
    freshness: Terms,
}

/// The freshness arithmetic, term by term, in seconds.
#[derive(Debug, Serialize)]
struct Terms {
    initial_age_seconds: f64,
    resident_seconds: f64,
    lifetime_seconds: f64,
    lifetime_from: &'static str,
    stale_while_revalidate_seconds: f64,
    stale_if_error_seconds: f64,
    never_stale: bool,
}

impl Entry {
    /// Describes the entry as it stands now.
    pub fn describe(&self, policy: &Policy, now: Instant) -> Description {
        let reckoning = Reckoning::of(&self.facts, policy, now);
        let text = |name| self.reply.field(&name).and_then(|value| value.to_str().ok().map(String::from));
        Description {
            kind: match self.facts.kind() {
                Kind::Call(_) => "call",
                Kind::Missing => "negative",
            },
            state: state(&reckoning),
            status: self.reply.status().as_u16(),
            age_seconds: reckoning.age_seconds(),
            ttl_seconds: reckoning.ttl(),
            size_bytes: weight(self),
            body_bytes: self.reply.body_len(),
            received_at: format!("{:.0}", self.facts.received_at()),
            etag: text(http::header::ETAG),
            last_modified: text(http::header::LAST_MODIFIED),
            revalidates: !self.validators().are_empty(),
            freshness: Terms {
                initial_age_seconds: reckoning.initial_age().as_secs_f64(),
                resident_seconds: reckoning.resident().as_secs_f64(),
                lifetime_seconds: reckoning.lifetime().as_secs_f64(),
                lifetime_from: reckoning.source.label(),
                stale_while_revalidate_seconds: reckoning.stale_while_revalidate().as_secs_f64(),
                stale_if_error_seconds: reckoning.stale_if_error().as_secs_f64(),
                never_stale: reckoning.never_stale,
            },
        }
    }
}

fn state(reckoning: &Reckoning) -> &'static str {
    if reckoning.is_fresh() {
        "fresh"
    } else if reckoning.may_serve_while_revalidating() {
        "stale-while-revalidate"
    } else if reckoning.may_serve_on_error() {
        "stale-if-error"
    } else {
        "stale"
    }
}
