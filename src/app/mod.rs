//! The composition root: from settings to a running program, through reloads, to its end.

#[cfg(test)]
mod allocations;
#[cfg(feature = "bench")]
pub mod bench;
mod build;
#[cfg(test)]
mod churn;
#[cfg(feature = "fuzz")]
pub mod fuzz;
#[cfg(any(test, feature = "bench"))]
mod indoors;
mod listeners;
#[cfg(test)]
mod model;
mod open_files;
#[cfg(test)]
mod panics;
mod privacy;
mod reload;
mod run;
mod service_manager;
mod signals;
mod sweep;

pub use privacy::forbid_dumps;
pub use reload::Source;
pub use run::App;
pub use signals::Signals;
