//! A tenant's cache: what may be stored and reused (`policy/`, pure), the entries (`store/`), one fetch for
//! concurrent lookups of one call (`single_flight`), and their combination (`tenant_cache`). Knows no sockets, tokens
//! or upstreams.

mod codec;
mod describe;
mod fetch_result;
mod lists;
mod policy;
mod single_flight;
mod store;
mod tenant_cache;
mod transcripts;
mod watch;

pub(crate) use codec::{BothClocks, UnusableEntry};
pub(crate) use fetch_result::{FetchEnd, FetchOutcome, FetchResponse, FetchResult, ResultKind};
pub(crate) use lists::{JoinedList, ListGeneration, ListLeader, ListResult, ListReuse, Lists, StoredList};
#[cfg(feature = "fuzz")]
pub(crate) use policy::CallEnvelope;
#[cfg(any(test, feature = "bench"))]
pub(crate) use policy::admit;
pub(crate) use policy::{
    Admission, CallMedia, Candidate, Conditions, Fallback, Judgement, LinkText, ListAdmission, Maturity,
    PollPauses, PollTurn, Represented, RequestDirectives, Reuse, admit_list, admit_passed, admit_transcript,
    is_tag, is_weak, judge_renewal, judge_response, judge_reuse,
};
pub(crate) use single_flight::StoreMode;
pub(crate) use store::Entry;
pub(crate) use tenant_cache::{CallLeader, Generation, JoinedFetch, StoreChange, TenantCache};
pub(crate) use transcripts::{
    JoinedTranscript, Transcript, TranscriptFailure, TranscriptLeader, TranscriptResult,
};
pub(crate) use watch::{
    BegunPoll, PollEnd, PollInterest, Poller, Refresh, WaitBounds, WaitDecision, WaitLimitReached, WaitTimes,
    Waiter, Watches,
};
