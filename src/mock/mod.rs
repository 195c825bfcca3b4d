//! The stand-in for the Credira API: calls by ID with their recordings and transcriptions, as its public contract has
//! them, and a media host on a listener of its own. Serves `mock-upstream`, `demo`, tests and benches.
//!
//! Any well-formed ID stands for a completed call that is a function of the ID, except for IDs with one of these
//! prefixes:
//!
//! | ID begins with | answer |
//! |---|---|
//! | `call_missing` | 404 `NOT_FOUND` |
//! | `call_forbidden` | 403 `FORBIDDEN` |
//! | `call_progress` | a call whose status is `in_progress` |
//! | `call_initiated` | a call whose status is `initiated` |
//! | `call_settling` | a completed call that was updated just now |
//! | `call_unrecorded` | a completed call without recording and transcription |
//! | `call_signed` | one whose links lead to the media host, signed, and expire after five minutes |
//! | `call_redirected` | one whose links redirect there |
//! | `call_broken` | one whose recording breaks off in the middle |
//! | `call_untilN` | a call that is in progress until N, in seconds since 1970, and completed from then on |
//!
//! `GET /v1/calls?invoice_id=inv_…` lists two calls; none (`false`) where the invoice begins with `inv_empty`, and 404
//! with `inv_missing`.

mod contract;
mod links;
mod media;
mod reply_body;
mod server;
mod sound;

pub use contract::{Contract, Reply};
pub use server::{Mock, Options};
