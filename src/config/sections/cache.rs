//! `[cache]`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::checker::Checker;
use crate::config::section::Section;
use crate::config::units::{Size, Span};

/// A list changes with every call of its invoice, and nothing says when.
const LONGEST_LIST_TTL: Duration = Duration::from_secs(10);

/// Storage and freshness of responses.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Cache")]
pub(crate) struct RawCache {
    /// The size of each tenant's cache, keys, headers and bookkeeping included. Above 0. Changing it empties
    /// the caches that have this size.
    pub(crate) max_bytes_per_tenant: Size,
    /// The largest response that is stored, headers included, from 1B to 1GiB.
    max_entry_bytes: Size,
    /// The values of `data.status` that may be stored: those of calls that no longer change. Removing one
    /// empties the caches.
    #[schemars(with = "Vec<String>")]
    cacheable_statuses: Vec<Option<String>>,
    /// How long a settled call is fresh when the upstream doesn't say.
    ttl: Span,
    /// A call whose `updated_time` (else `end_time`) is younger than this is still settling.
    settle_window: Span,
    /// How long a settling call is fresh. With stale-while-revalidate it is served no more than twice
    /// this long.
    settle_ttl: Span,
    /// How long a stale call is served at once while it is revalidated in the background.
    stale_while_revalidate: Span,
    /// How long a stale call is served when the upstream fails.
    stale_if_error: Span,
    /// How long the upstream's 404 is remembered; `"0s"` turns negative caching off.
    not_found_ttl: Span,
    /// How long the list of an invoice's calls may be served again, at most `"10s"`; `"0s"`: not at all. Lists
    /// take up to a sixteenth of a tenant's cache size, beside it.
    list_ttl: Span,
    /// What transcriptions of stored calls may take in memory, beside `cache.max_bytes_per_tenant`; `"0B"`: they are not
    /// stored. Changing it empties the caches.
    max_transcript_bytes: Size,
    /// Whether the upstream's `Cache-Control`, `Expires` and `Age` take precedence over the durations above.
    upstream_cache_control: CacheControl,
    /// Whether `Cache-Control` and `Pragma` of clients are honoured.
    client_cache_control: CacheControl,
}

impl Default for RawCache {
    fn default() -> Self {
        Self {
            max_bytes_per_tenant: Size::kib(64 << 10),
            max_entry_bytes: Size::kib(1 << 10),
            cacheable_statuses: vec![Some("completed".into())],
            ttl: Span::seconds(24 * 3600),
            settle_window: Span::seconds(600),
            settle_ttl: Span::seconds(30),
            stale_while_revalidate: Span::seconds(300),
            stale_if_error: Span::seconds(24 * 3600),
            not_found_ttl: Span::seconds(5),
            list_ttl: Span::seconds(0),
            max_transcript_bytes: Size::kib(16 << 10),
            upstream_cache_control: CacheControl::Honor,
            client_cache_control: CacheControl::Honor,
        }
    }
}

/// Whether one side's cache headers are honoured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CacheControl {
    /// They are.
    Honor,
    /// They are not.
    Ignore,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CacheSettings {
    /// Of tenants without a size of their own.
    pub(crate) max_bytes_per_tenant: u64,
    pub(crate) max_entry_bytes: usize,
    /// Values of `data.status`.
    pub(crate) cacheable_statuses: Vec<String>,
    pub(crate) ttl: Duration,
    pub(crate) settle_window: Duration,
    pub(crate) settle_ttl: Duration,
    pub(crate) stale_while_revalidate: Duration,
    pub(crate) stale_if_error: Duration,
    pub(crate) not_found_ttl: Duration,
    pub(crate) list_ttl: Duration,
    pub(crate) max_transcript_bytes: u64,
    pub(crate) upstream_cache_control: CacheControl,
    pub(crate) client_cache_control: CacheControl,
}

impl CacheSettings {
    fn of(raw: &RawCache, max_entry_bytes: usize) -> Self {
        Self {
            max_bytes_per_tenant: raw.max_bytes_per_tenant.bytes(),
            max_entry_bytes,
            cacheable_statuses: raw.cacheable_statuses.iter().flatten().cloned().collect(),
            ttl: raw.ttl.get(),
            settle_window: raw.settle_window.get(),
            settle_ttl: raw.settle_ttl.get(),
            stale_while_revalidate: raw.stale_while_revalidate.get(),
            stale_if_error: raw.stale_if_error.get(),
            not_found_ttl: raw.not_found_ttl.get(),
            list_ttl: raw.list_ttl.get(),
            max_transcript_bytes: raw.max_transcript_bytes.bytes(),
            upstream_cache_control: raw.upstream_cache_control,
            client_cache_control: raw.client_cache_control,
        }
    }

    /// The policy of a configuration that doesn't set it.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self::of(&RawCache::default(), 1 << 20)
    }
}

impl Section for CacheSettings {
    type Raw = RawCache;
    type Effective = RawCache;

    fn check(raw: RawCache, checker: &mut Checker<'_>) -> Option<Self> {
        if raw.max_bytes_per_tenant.bytes() == 0 {
            checker.problem("cache.max_bytes_per_tenant", "expected a size above 0");
        }
        if raw.list_ttl.get() > LONGEST_LIST_TTL {
            checker.problem("cache.list_ttl", "expected a duration of at most \"10s\"");
        }
        let max_entry_bytes = checker.allocation("cache.max_entry_bytes", raw.max_entry_bytes);
        if raw.settle_ttl > raw.ttl {
            let (settle_ttl, ttl) = (raw.settle_ttl, raw.ttl);
            let message = format!(
                "{settle_ttl} is longer than cache.ttl ({ttl}): a call that may still change stays fresh longer \
                 than a settled one"
            );
            checker.warn("cache.settle_ttl", message);
        }
        Some(Self::of(&raw, max_entry_bytes))
    }

    fn show(&self) -> RawCache {
        RawCache {
            max_bytes_per_tenant: self.max_bytes_per_tenant.into(),
            max_entry_bytes: self.max_entry_bytes.into(),
            cacheable_statuses: self.cacheable_statuses.iter().cloned().map(Some).collect(),
            ttl: self.ttl.into(),
            settle_window: self.settle_window.into(),
            settle_ttl: self.settle_ttl.into(),
            stale_while_revalidate: self.stale_while_revalidate.into(),
            stale_if_error: self.stale_if_error.into(),
            not_found_ttl: self.not_found_ttl.into(),
            list_ttl: self.list_ttl.into(),
            max_transcript_bytes: self.max_transcript_bytes.into(),
            upstream_cache_control: self.upstream_cache_control,
            client_cache_control: self.client_cache_control,
        }
    }
}
