//! The parts of HTTP that both sides share: header fields and the names of the gateway's own, dates, `Retry-After`,
//! bearer credentials, the error envelope, and the upstream's response as it travels from the exchange to
//! the cache and to clients.
//!
//! Knows no sockets, no cache and no configuration.

mod bearer;
mod date;
mod error_envelope;
mod fields;
mod list;
mod list_syntax;
mod names;
mod prefer;
mod response;
mod retry_after;
mod target;
mod version;

pub(crate) use bearer::bearer_token;
pub(crate) use date::{HttpDate, format_date, single_date};
pub(crate) use error_envelope::error_envelope;
pub(crate) use fields::{HeaderFields, OwnFields, finish, has, passed, unfinished, updated};
pub(crate) use list::list_members;
pub(crate) use names::{CACHE_STATUS, OUR_CACHE_CONTROL, OUR_VARY, OUR_VIA, X_REQUEST_ID};
pub(crate) use prefer::{PREFER, PREFERENCE_APPLIED, preferred_wait};
pub(crate) use response::{ClientResponse, ExchangeTimes, UpstreamResponse, Validators};
pub(crate) use retry_after::retry_after;
pub(crate) use target::{FRAGMENT_BYTE, has_fragment};
pub(crate) use version::HttpVersion;
