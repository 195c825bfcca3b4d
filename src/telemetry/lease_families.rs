//! The series of the limits that a fleet shares. A limit that is not shared has no series.

use super::family::{COUNTER, Family, GAUGE};
use super::leases::LeaseMetrics;
use super::tenant::{LimitLabel, TenantMetrics};

/// The shared limits of a tenant.
fn shared(tenant: &TenantMetrics) -> impl Iterator<Item = ((&'static str, &'static str), &LeaseMetrics)> {
    let all = LimitLabel::ALL.into_iter().zip(&tenant.leases);
    all.filter(|(_, leases)| leases.is_offered()).map(|(limit, leases)| (("limit", limit.label()), leases))
}

pub(super) static LEASES: &[Family] = &[
    Family::tenant(
        "limit_leases_total",
        "Requests to the fleet's bucket of a limit, by what it gave.",
        COUNTER,
        |tenant, series| {
            for (label, leases) in shared(tenant) {
                for (result, count) in leases.results() {
                    series.push(&[label, ("result", result.label())], count.into());
                }
            }
        },
    ),
    Family::tenant(
        "limit_fallback",
        "1 while a limit of the fleet is out of reach and this gateway's share of it holds, else 0.",
        GAUGE,
        |tenant, series| {
            for (label, leases) in shared(tenant) {
                series.push(&[label], leases.fallback.get().into());
            }
        },
    ),
];
