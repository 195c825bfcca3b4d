//! In place of a gateway's part of a fleet in a program that was built without the shared level, whose configuration can't
//! name one.

use std::sync::Arc;

use crate::clock::WallClock;
use crate::config::{EngineSettings, SharedSettings};
use crate::fleet::{Fleet, Leases};
use crate::levels::SharedLevel;
use crate::telemetry::Metrics;

/// A part of no fleet.
pub(super) enum FleetContext {}

impl FleetContext {
    pub(super) fn new(_: &SharedSettings, _: &Metrics, _: WallClock) -> Option<Self> {
        None
    }

    pub(super) const fn fleet(&self) -> &Arc<Fleet> {
        match *self {}
    }

    pub(super) const fn leases(&self) -> &Arc<Leases> {
        match *self {}
    }

    pub(super) const fn level(&self) -> &Arc<SharedLevel> {
        match *self {}
    }

    pub(super) const fn set_settings(&self, _: &EngineSettings) {
        match *self {}
    }
}
