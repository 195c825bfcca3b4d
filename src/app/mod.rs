//! The composition root: from settings to a running program, through reloads, to its end.

mod build;
mod listeners;
#[cfg(test)]
mod model;
mod reload;
mod run;
mod signals;

pub use reload::Source;
pub use run::App;
pub use signals::Signals;
