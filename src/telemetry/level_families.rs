//! The series of the levels below memory. A tenant that has none has no series.

use prometheus::proto::MetricType;

use super::family::{COUNTER, Family, GAUGE};
use super::levels::{LevelMetrics, TenantLevelMetrics};
use super::shared::Shared;
use super::tenant::TenantMetrics;
use crate::domain::Level;

const DISK: (&str, &str) = ("level", Level::Disk.label());
const SHARED: (&str, &str) = ("level", Level::Shared.label());

/// A tenant's part of each level that it has.
fn parts(
    tenant: &TenantMetrics,
) -> impl Iterator<Item = ((&'static str, &'static str), &TenantLevelMetrics)> {
    [(DISK, &tenant.disk), (SHARED, &tenant.shared)].into_iter().filter(|(_, level)| level.is_offered())
}

/// Each level that there is.
fn levels(shared: &Shared) -> impl Iterator<Item = ((&'static str, &'static str), &LevelMetrics)> {
    [(DISK, &shared.disk), (SHARED, &shared.shared)]
        .into_iter()
        .filter(|(_, level)| level.is_offered())
        .map(|(label, level)| (label, &**level))
}

pub(super) static LEVELS: &[Family] = &[
    Family::tenant(
        "level_requests_total",
        "Lookups that asked a level below memory, by what came of it.",
        COUNTER,
        |tenant, series| {
            for (label, level) in parts(tenant) {
                for (result, count) in level.requests() {
                    series.push(&[label, ("result", result.label())], count.into());
                }
            }
        },
    ),
    Family::tenant(
        "level_writes_total",
        "Entries to be written to a level below memory, by what became of them.",
        COUNTER,
        |tenant, series| {
            for (label, level) in parts(tenant) {
                for (result, count) in level.writes() {
                    series.push(&[label, ("result", result.label())], count.into());
                }
            }
        },
    ),
    Family::tenant("disk_entries", "Entries on disk, as of the file's last use.", GAUGE, |tenant, series| {
        if tenant.disk.is_offered() {
            series.push(&[], tenant.disk.size().0.into());
        }
    }),
    Family::tenant(
        "disk_bytes",
        "Bytes of the tenant's file, journal included, as of its last use.",
        GAUGE,
        |tenant, series| {
            if tenant.disk.is_offered() {
                series.push(&[], tenant.disk.size().1.into());
            }
        },
    ),
    Family::tenant(
        "disk_evictions_total",
        "Entries that left the disk, by cause.",
        COUNTER,
        |tenant, series| {
            if tenant.disk.is_offered() {
                series.each("cause", tenant.disk.evictions().map(|(cause, count)| (cause.label(), count)));
            }
        },
    ),
    Family::process(
        "level_request_duration_seconds",
        "How long lookups waited for a level below memory.",
        MetricType::HISTOGRAM,
        |shared, series| {
            for (label, level) in levels(shared) {
                series.push_times(&[label], &level.times().times());
            }
        },
    ),
    Family::process(
        "level_queue_bytes",
        "Bytes of the entries that wait to be written to a level below memory.",
        GAUGE,
        |shared, series| {
            for (label, level) in levels(shared) {
                series.push(&[label], level.queue_bytes.get().into());
            }
        },
    ),
    Family::process(
        "level_up",
        "1 while a level below memory is in use for all tenants, else 0.",
        GAUGE,
        |shared, series| {
            for (label, level) in levels(shared) {
                series.push(&[label], i128::from(level.down.get() == 0));
            }
        },
    ),
];
