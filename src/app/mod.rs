//! The composition root: from settings to a running program, its reloads, and its shutdown.

#[cfg(test)]
mod allocations;
#[cfg(feature = "bench")]
pub mod bench;
mod build;
#[cfg(test)]
mod churn;
#[cfg_attr(not(feature = "shared"), path = "no_fleet.rs")]
mod fleet;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod gateway_world;
#[cfg(any(test, feature = "bench"))]
mod in_process;
mod listeners;
#[cfg(test)]
mod model;
mod open_files;
#[cfg(test)]
mod panics;
mod privacy;
mod probe;
#[cfg(feature = "shared")]
mod probe_engine;
mod probe_levels;
mod probed;
mod reload;
mod run;
mod service_manager;
mod signals;
mod source;
mod sweep;
#[cfg(test)]
mod waiting;
#[cfg(test)]
#[cfg(feature = "shared")]
mod waiting_fleet;

pub(crate) use privacy::forbid_dumps;
pub(crate) use probe::probe;
pub(crate) use probed::Probed;
pub(crate) use run::App;
pub(crate) use signals::Signals;
pub(crate) use source::ConfigSource;
