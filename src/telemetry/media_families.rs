//! The metrics of recordings and transcriptions, for tenants that have these routes.

use super::family::{COUNTER, Family, GAUGE};
use crate::domain::MediaKind;
use crate::telemetry::tenant::TenantMetrics;

fn kinds(tenant: &TenantMetrics) -> impl Iterator<Item = MediaKind> {
    MediaKind::ALL.into_iter().filter(|kind| tenant.offers(kind.route()))
}

pub(super) static MEDIA: &[Family] = &[
    Family::tenant("media_streams", "Recordings and transcriptions being sent.", GAUGE, |tenant, series| {
        if kinds(tenant).next().is_some() {
            series.push(&[], tenant.media.streams().into());
        }
    }),
    Family::tenant(
        "media_bytes_total",
        "Bytes of recordings and transcriptions that were sent.",
        COUNTER,
        |tenant, series| {
            for kind in kinds(tenant) {
                series.push(&[("kind", kind.label())], tenant.media.bytes(kind).into());
            }
        },
    ),
    Family::tenant(
        "media_streams_total",
        "Recordings and transcriptions whose body began, by how it ended.",
        COUNTER,
        |tenant, series| {
            for kind in kinds(tenant) {
                for (end, count) in tenant.media.ends(kind) {
                    series.push(&[("end", end.label()), ("kind", kind.label())], count.into());
                }
            }
        },
    ),
    Family::tenant(
        "media_host_requests_total",
        "Requests to media hosts, by HTTP status or kind of failure.",
        COUNTER,
        |tenant, series| {
            if kinds(tenant).next().is_some() {
                for (code, count) in tenant.media.host_requests() {
                    series.push(&[("code", &code)], count.into());
                }
            }
        },
    ),
    Family::tenant(
        "transcript_requests_total",
        "Transcriptions of stored calls that were asked for, by what the cache did for them.",
        COUNTER,
        |tenant, series| {
            if tenant.offers(MediaKind::Transcription.route()) {
                let lookups = tenant.media.transcript_lookups();
                series.each("outcome", lookups.map(|(key, count)| (key.label(), count)));
            }
        },
    ),
];
