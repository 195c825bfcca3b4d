//! The data plane: a request is recognised, admitted, looked up, answered. [`Gateway::begin`] reads like that list;
//! every other file is a footnote to it. Knows no sockets.

mod below_memory;
mod body;
mod cutoff;
mod decisions;
mod explain;
mod explained;
mod explained_media;
mod fetch_task;
mod fields;
mod framing;
mod handler;
mod list;
mod lookup;
mod lookup_context;
mod media;
mod passthrough;
mod plane;
mod poll;
mod recall;
mod refresh;
mod requested_wait;
mod respond;
mod snapshot;
mod wait;
mod wait_drain;

#[cfg(any(test, feature = "bench"))]
pub(crate) use body::AnswerBody;
pub(crate) use fetch_task::FetchSpawner;
pub(crate) use plane::Gateway;
pub(crate) use recall::{HeldEntry, held};
pub(crate) use refresh::UnknownTenant;
pub(crate) use snapshot::Snapshot;
