//! The field's words as types, without I/O: what a call, a tenant, a token, a route, an outcome and
//! a refusal are. Everything that arrives from outside is parsed into one of these at the door and
//! trusted from there on.
//!
//! Knows no sockets, caches, clocks or configuration.

mod alphabet;
mod call_id;
mod envelope;
mod header_text;
mod hex;
mod outcome;
mod refusal;
mod request_id;
mod route;
mod tenant_name;
mod token;

pub use alphabet::Alphabet;
pub use call_id::CallId;
pub use envelope::error_envelope;
pub use header_text::{header_value, make_room_for_values, put_decimal};
pub use hex::hex;
pub use outcome::{Forward, Landing, NotStored, Outcome, StaleReason, Story};
pub use refusal::{Framing, Refusal, is_failure, speaks_by_its_status};
pub use request_id::RequestId;
pub use route::{RouteLabel, method_label, route};
pub use tenant_name::TenantName;
pub use token::{MAX_TOKEN_CHARS, MIN_TOKEN_CHARS, TokenHash, is_token68};
