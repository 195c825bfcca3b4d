//! Turns the numbers in the structs into named series: what a scrape sees of the tenants and the process, in
//! Prometheus' own types. A metric is a row of [`FAMILIES`].

use prometheus::core::{Collector, Desc};
use prometheus::proto::{MetricFamily, MetricType};

use super::connections::{CloseReason, Plane};
use super::family::{COUNTER, Family, GAUGE, Series};
use super::fleet_families::FLEET;
use super::lease_families::LEASES;
use super::level_families::LEVELS;
use super::media_families::MEDIA;
use super::shared::Shared;
use crate::domain::{RouteLabel, TenantName};

static FAMILIES: &[Family] = &[
    Family::tenant("requests_total", "Requests answered, by HTTP status.", COUNTER, |tenant, series| {
        for (route, counter) in tenant.requests() {
            for (status, count) in counter.counts() {
                series.push(&[("code", &status.to_string()), ("route", route.label())], count.into());
            }
        }
    })
    .everyone(|shared, series| {
        for (status, count) in shared.unauthenticated.counts() {
            let (status, route) = (status.to_string(), RouteLabel::None.label());
            series
                .push(&[("code", &status), ("route", route), ("tenant", TenantName::UNKNOWN)], count.into());
        }
    }),
    Family::tenant(
        "refusals_total",
        "Answers that the gateway made itself instead of a call, by error code.",
        COUNTER,
        |tenant, series| series.seen("code", tenant.refusals().map(|(code, count)| (code.label(), count))),
    )
    .everyone(|shared, series| {
        for (code, count) in shared.refusals.counts().filter(|(_, count)| *count > 0) {
            series.push(&[("code", code.label()), ("tenant", TenantName::UNKNOWN)], count.into());
        }
    }),
    Family::tenant(
        "cache_requests_total",
        "Lookups, by what the cache did for them.",
        COUNTER,
        |tenant, series| series.each("outcome", tenant.lookups().map(|(key, count)| (key.label(), count))),
    ),
    Family::tenant(
        "lookups_covered_total",
        "Lookups that were, or had the upstream failed would have been, answered without it.",
        COUNTER,
        |tenant, series| series.push(&[], tenant.lookups_covered().into()),
    ),
    Family::tenant(
        "cache_refusals_total",
        "Upstream answers that were not stored, by reason.",
        COUNTER,
        |tenant, series| series.each("reason", tenant.not_stored().map(|(key, count)| (key.label(), count))),
    ),
    Family::tenant(
        "cache_evictions_total",
        "Entries that left the cache, by cause.",
        COUNTER,
        |tenant, series| series.each("cause", tenant.evictions().map(|(key, count)| (key.label(), count))),
    ),
    Family::tenant("cache_entries", "Entries in the cache.", GAUGE, |tenant, series| {
        series.push(&[], tenant.cache_entries.get().into());
    }),
    Family::tenant(
        "cache_bytes",
        "Bytes of the cache's entries, keys and bookkeeping included.",
        GAUGE,
        |tenant, series| series.push(&[], tenant.cache_bytes.get().into()),
    ),
    Family::tenant(
        "upstream_requests_total",
        "Upstream requests, by HTTP status or kind of failure.",
        COUNTER,
        |tenant, series| {
            for (code, count) in tenant.upstream_requests() {
                series.push(&[("code", &code)], count.into());
            }
        },
    ),
    Family::tenant(
        "upstream_request_duration_seconds",
        "Time from sending an upstream request to the end of its response.",
        MetricType::HISTOGRAM,
        |tenant, series| series.push_times(&[], &tenant.upstream_seconds.times()),
    ),
    Family::tenant("upstream_in_flight", "Upstream requests in flight.", GAUGE, |tenant, series| {
        series.push(&[], tenant.upstream_in_flight.get().into());
    }),
    Family::tenant(
        "upstream_retries_total",
        "Upstream requests that were repeated.",
        COUNTER,
        |tenant, series| series.push(&[], tenant.upstream_retries.get().into()),
    ),
    Family::tenant(
        "upstream_repeats_total",
        "Upstream requests that followed another one of the same fetch, by reason.",
        COUNTER,
        |tenant, series| {
            series.each("reason", tenant.upstream_repeats().map(|(key, count)| (key.label(), count)));
        },
    ),
    Family::tenant(
        "upstream_breaker_open",
        "1 while the breaker is open or half-open.",
        GAUGE,
        |tenant, series| series.push(&[], tenant.upstream_breaker_open.get().into()),
    ),
    Family::tenant(
        "upstream_key_active",
        "1 for the upstream key in use, 0 for the tenant's other one.",
        GAUGE,
        |tenant, series| {
            for (key, is_active) in tenant.upstream_keys() {
                series.push(&[("key", key.label())], is_active.into());
            }
        },
    ),
    Family::tenant(
        "upstream_key_promotions_total",
        "Times the tenant's next key took over.",
        COUNTER,
        |tenant, series| series.push(&[], tenant.upstream_key_promotions.get().into()),
    ),
    Family::tenant(
        "upstream_key_rejections_total",
        "Upstream answers 401 to the tenant's key.",
        COUNTER,
        |tenant, series| series.push(&[], tenant.upstream_key_rejections.get().into()),
    ),
    Family::tenant(
        "identity_mismatches_total",
        "Upstream answers about another call than asked for.",
        COUNTER,
        |tenant, series| series.push(&[], tenant.identity_mismatches.get().into()),
    ),
    Family::tenant(
        "rate_limited_total",
        "Requests and fetches that a limit refused.",
        COUNTER,
        |tenant, series| series.each("limit", tenant.rate_limited().map(|(key, count)| (key.label(), count))),
    ),
    Family::tenant("waits", "Lookups that wait until their call is final.", GAUGE, |tenant, series| {
        if tenant.offers_waits() {
            series.push(&[], tenant.waits.get().into());
        }
    }),
    Family::tenant(
        "watches",
        "Calls that are polled because lookups wait for them.",
        GAUGE,
        |tenant, series| {
            if tenant.offers_waits() {
                series.push(&[], tenant.watches.get().into());
            }
        },
    ),
    Family::tenant(
        "wait_polls_total",
        "Upstream requests for calls that lookups wait for.",
        COUNTER,
        |tenant, series| {
            if tenant.offers_waits() {
                series.push(&[], tenant.wait_polls.get().into());
            }
        },
    ),
    Family::tenant(
        "waits_total",
        "Waits of lookups until their call is final, by end.",
        COUNTER,
        |tenant, series| {
            if tenant.offers_waits() {
                series.each("end", tenant.wait_ends().map(|(key, count)| (key.label(), count)));
            }
        },
    ),
    Family::process("requests_in_flight", "Requests being answered.", GAUGE, |shared, series| {
        series.push(&[], shared.requests_in_flight.get().into());
    }),
    Family::process("connections", "Client connections.", GAUGE, |shared, series| {
        series.push(&[], shared.connections.get().into());
    }),
    Family::process(
        "connections_closed_total",
        "Connections that the gateway closed, by reason.",
        COUNTER,
        |shared, series| {
            for (plane, closed) in Plane::ALL.iter().zip(&shared.closed) {
                for reason in CloseReason::ALL {
                    let labels = [("plane", plane.label()), ("reason", reason.label())];
                    series.push(&labels, closed.get(reason).into());
                }
            }
        },
    ),
    Family::process(
        "log_lines_dropped_total",
        "Log lines dropped because their reader was too slow.",
        COUNTER,
        |shared, series| series.push(&[], shared.log_drops.count().into()),
    ),
    Family::process(
        "config_reloads_total",
        "Times the configuration was read again, by result.",
        COUNTER,
        |shared, series| {
            series.push(&[("result", "success")], shared.reloads.get().into());
            series.push(&[("result", "failure")], shared.failed_reloads.get().into());
        },
    ),
    Family::process(
        "config_last_reload_success_timestamp_seconds",
        "When the running configuration was loaded, in seconds since 1970.",
        GAUGE,
        |shared, series| series.push(&[], shared.last_reload.get().into()),
    ),
    Family::process(
        "config_last_reload_successful",
        "1 if the configuration that was read last is the one that runs, else 0.",
        GAUGE,
        |shared, series| series.push(&[], shared.last_reload_successful.get().into()),
    ),
    Family::process(
        "tls_certificate_expiry_timestamp_seconds",
        "When the first certificate of the chain that is shown to clients ends, in seconds since 1970; absent without TLS.",
        GAUGE,
        |shared, series| {
            if let Some(expiry) = **shared.certificate_expiry.load() {
                series.push(&[], expiry.as_second().into());
            }
        },
    ),
    Family::process("build_info", "The program's version; always 1.", GAUGE, |_, series| {
        series.push(&[("revision", super::REVISION), ("version", super::VERSION)], 1);
    }),
];

/// Makes the families of [`Shared`].
pub(super) struct FamilyCollector {
    shared: std::sync::Arc<Shared>,
    descriptions: Vec<Desc>,
}

impl FamilyCollector {
    /// A collector over the numbers in `shared`.
    pub(super) fn new(shared: std::sync::Arc<Shared>) -> Result<Self, prometheus::Error> {
        let describe = |family: &Family| {
            Desc::new(full_name(family.name), family.help.into(), Vec::new(), Default::default())
        };
        let descriptions = FAMILIES
            .iter()
            .chain(LEVELS)
            .chain(FLEET)
            .chain(LEASES)
            .chain(MEDIA)
            .map(describe)
            .collect::<Result<_, _>>()?;
        Ok(Self { shared, descriptions })
    }
}

/// The name with the program's prefix.
pub(super) fn full_name(name: &str) -> String {
    format!("credira_gateway_{name}")
}

impl Collector for FamilyCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let tenants = self.shared.tenants.load();
        let family = |Family { name, help, kind, tenant, process }: &Family| {
            let mut metrics = Vec::new();
            for one in tenants.iter() {
                tenant(
                    one,
                    &mut Series { kind: *kind, tenant: Some(one.name().as_str()), metrics: &mut metrics },
                );
            }
            process(&self.shared, &mut Series { kind: *kind, tenant: None, metrics: &mut metrics });
            let mut family = MetricFamily::default();
            family.set_name(full_name(name));
            family.set_help((*help).into());
            family.set_field_type(*kind);
            family.set_metric(metrics);
            family
        };
        FAMILIES.iter().chain(LEVELS).chain(FLEET).chain(LEASES).chain(MEDIA).map(family).collect()
    }
}
