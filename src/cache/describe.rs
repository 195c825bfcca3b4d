//! Describes an entry for operators: everything about it but its body.

use serde::Serialize;

use super::policy::{EntryKind, Freshness};
use super::store::Entry;
use crate::clock::Instant;
use crate::config::CacheSettings;

#[derive(Debug, Serialize)]
pub(crate) struct Description {
    /// `call` or `negative`.
    kind: &'static str,
    /// How it may be used now: `fresh`, `stale-while-revalidate`, `stale-if-error`, or `stale` if it must be
    /// validated first.
    pub(crate) state: &'static str,
    status: u16,
    age_seconds: u64,
    ttl_seconds: i64,
    /// Its size in the cache: key, fields and bookkeeping included.
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
    /// Describes the entry as of `now`.
    pub(crate) fn describe(&self, policy: &CacheSettings, now: Instant) -> Description {
        let freshness = self.freshness(policy, now);
        let text = |name| self.response.field(&name).and_then(|value| value.to_str().ok().map(String::from));
        Description {
            kind: match self.inputs.kind() {
                EntryKind::Call { .. } => "call",
                EntryKind::Negative => "negative",
            },
            state: state(&freshness),
            status: self.response.status().as_u16(),
            age_seconds: freshness.age_seconds(),
            ttl_seconds: freshness.ttl(),
            size_bytes: self.weight(),
            body_bytes: self.response.body_len(),
            received_at: format!("{:.0}", self.inputs.received_at()),
            etag: text(http::header::ETAG),
            last_modified: text(http::header::LAST_MODIFIED),
            revalidates: !self.validators().are_empty(),
            freshness: Terms {
                initial_age_seconds: freshness.initial_age().as_secs_f64(),
                resident_seconds: freshness.resident().as_secs_f64(),
                lifetime_seconds: freshness.lifetime().as_secs_f64(),
                lifetime_from: freshness.source.label(),
                stale_while_revalidate_seconds: freshness.stale_while_revalidate().as_secs_f64(),
                stale_if_error_seconds: freshness.stale_if_error().as_secs_f64(),
                never_stale: freshness.never_stale,
            },
        }
    }
}

fn state(freshness: &Freshness) -> &'static str {
    if freshness.is_fresh() {
        "fresh"
    } else if freshness.may_serve_while_revalidating() {
        "stale-while-revalidate"
    } else if freshness.may_serve_on_error() {
        "stale-if-error"
    } else {
        "stale"
    }
}
