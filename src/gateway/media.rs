//! Recordings and transcriptions: the call is looked up as ever (`story`), its link followed, and what it leads to
//! passed on as a stream (`stream`). Transcriptions of stored calls are kept in memory (`transcript`).

pub(super) mod answer;
pub(super) mod fields;
pub(super) mod pending;
mod refusal;
mod story;
pub(super) mod stream;
mod transcript;
mod transcript_task;

pub(super) use pending::is_kept;
pub(super) use refusal::missing;
