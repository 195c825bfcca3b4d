//! The story of a request: recognised, admitted, looked up, answered. [`Gateway::answer`] reads like
//! that list; every other file is a footnote to it.

mod body;
mod explain;
mod fetch;
mod fields;
mod framing;
mod lookup;
mod respond;
mod snapshot;
mod story;

pub use explain::explain;
pub use fetch::Fetches;
pub use snapshot::{Snapshot, Snapshots};
pub use story::{Cutoff, Gateway};
