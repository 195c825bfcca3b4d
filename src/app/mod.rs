//! The composition root: from settings to a running program, through reloads, to its end.

#[cfg(feature = "bench")]
pub mod bench;
mod build;
#[cfg(test)]
mod churn;
#[cfg(any(test, feature = "bench"))]
mod indoors;
mod listeners;
#[cfg(test)]
mod model;
mod open_files;
#[cfg(test)]
mod panics;
mod reload;
mod run;
mod signals;

pub use reload::Source;
pub use run::App;
pub use signals::Signals;
