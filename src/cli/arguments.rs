//! Names given as arguments, validated before anything is sent.

use super::outcome::Exit;
use crate::domain::{CallId, TenantName};

/// The format of a call's ID, for messages.
pub(crate) const CALL_ID_FORMAT: &str = "call_ and 1 to 64 letters or digits";

/// A tenant's name.
pub(crate) fn tenant(text: &str) -> Result<TenantName, Exit> {
    let expected = "1 to 63 lower-case letters, digits or hyphens";
    TenantName::parse(text)
        .map_err(|_| Exit::Usage(format!("`{text}` is no tenant name: expected {expected}")))
}

/// A call's ID.
pub(crate) fn call_id(text: &str) -> Result<CallId, Exit> {
    CallId::parse(text.as_bytes())
        .map_err(|_| Exit::Usage(format!("`{text}` is no call ID: expected {CALL_ID_FORMAT}")))
}
