//! The composition root: from settings to a running program, and to its end.

mod build;
mod run;
mod signals;

pub use run::App;
pub use signals::Signals;
