//! The domain's vocabulary as types, without I/O: calls, tenants, tokens, routes, outcomes, refusals. All external
//! input is parsed into one of these at the boundary and trusted from then on.
//!
//! Knows no sockets, caches, clocks or configuration.

mod alphabet;
mod byte_range;
mod call_id;
mod effort;
mod error_code;
mod header_text;
mod hex;
mod invoice_id;
mod level;
mod mark;
mod media_kind;
mod outcome;
mod passthrough;
mod purge_target;
mod refusal;
mod repeat_reason;
mod request_id;
mod routes;
mod tenant_name;
mod token;

pub(crate) use alphabet::Alphabet;
pub(crate) use byte_range::{ByteRange, ByteSpan, ContentRange, length_of_unsatisfied};
pub(crate) use call_id::CallId;
pub(crate) use effort::Effort;
pub(crate) use error_code::ErrorCode;
pub(crate) use header_text::{HeaderText, put_decimal};
pub(crate) use hex::hex;
pub(crate) use invoice_id::InvoiceId;
pub(crate) use level::Level;
pub(crate) use mark::{Epoch, Mark};
pub(crate) use media_kind::MediaKind;
pub(crate) use outcome::{CacheOutcome, Forward, ForwardOutcome, NotStored, Outcome, Part, StaleReason};
pub(crate) use passthrough::{METHODS, PassthroughEndpoint, PathTemplate};
pub(crate) use purge_target::PurgeTarget;
pub(crate) use refusal::{Framing, Overload, Refusal, is_conclusive, is_failure};
pub(crate) use repeat_reason::RepeatReason;
pub(crate) use request_id::RequestId;
pub(crate) use routes::{
    ROUTES, RouteAccess, RouteLabel, TargetResource, is_refused_everywhere, method_label, route,
};
pub(crate) use tenant_name::TenantName;
pub(crate) use token::{MAX_TOKEN_CHARS, MIN_TOKEN_CHARS, TokenHash, is_token68};
