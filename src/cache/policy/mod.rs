//! Cache policy: what may be stored, for how long, and how a stored response may be used. Pure functions of data, the
//! configuration and `now`, with the RFCs' terms beside the lines that implement them.
//!
//! Knows no store, no fetch and no clock.

mod admission;
mod call_media;
mod conditions;
mod directives;
mod envelope;
mod etag;
mod freshness;
mod freshness_inputs;
mod json_limits;
mod links;
mod poll_schedule;
mod renewal;
mod reuse;

pub(crate) use admission::{
    Admission, Candidate, Existing, ListAdmission, admit, admit_list, admit_passed, admit_transcript,
    upstream_validators,
};
pub(crate) use call_media::{CallMedia, LinkText, Maturity};
pub(crate) use conditions::{Conditions, Represented};
pub(crate) use directives::RequestDirectives;
#[cfg(feature = "fuzz")]
pub(crate) use envelope::CallEnvelope;
#[cfg(test)]
pub(crate) use envelope::Changed;
pub(crate) use etag::{is_tag, is_weak};
pub(crate) use freshness::Freshness;
pub(crate) use freshness_inputs::{EntryKind, FreshnessInputs};
pub(crate) use poll_schedule::{PollPauses, PollSchedule, PollTurn};
pub(crate) use renewal::{Judgement, judge_renewal, judge_response};
pub(crate) use reuse::{Fallback, Reuse, judge_reuse};
