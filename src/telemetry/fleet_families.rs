//! The series of the fleet. A gateway that is in none has no series.

use super::family::{COUNTER, Family, GAUGE};

pub(super) static FLEET: &[Family] = &[
    Family::process(
        "fleet_gateways",
        "Gateways of the fleet that are heard of, this one included.",
        GAUGE,
        |shared, series| {
            if shared.fleet.is_offered() {
                let [gateways, _] = shared.fleet.gauges();
                series.push(&[], gateways.get().into());
            }
        },
    ),
    Family::process(
        "fleet_owed_purges",
        "Purges of this gateway that the fleet has not heard of.",
        GAUGE,
        |shared, series| {
            if shared.fleet.is_offered() {
                let [_, owed] = shared.fleet.gauges();
                series.push(&[], owed.get().into());
            }
        },
    ),
    Family::process(
        "fleet_heartbeat_age_seconds",
        "Time since the engine answered a heartbeat.",
        GAUGE,
        |shared, series| {
            if let Some((age, _)) = shared.fleet.last_beat() {
                series.push_float(age);
            }
        },
    ),
    Family::process(
        "fleet_clock_offset_seconds",
        "By how much this machine's clock is ahead of the engine's, as of the last heartbeat.",
        GAUGE,
        |shared, series| {
            if let Some((_, ahead)) = shared.fleet.last_beat() {
                series.push_float(ahead);
            }
        },
    ),
    Family::process(
        "fleet_purges_total",
        "Purges of the fleet: done or incomplete, if begun here; applied or ignored, as they were read in its log.",
        COUNTER,
        |shared, series| {
            if shared.fleet.is_offered() {
                series.each("result", shared.fleet.purges().map(|(result, count)| (result.label(), count)));
            }
        },
    ),
];
