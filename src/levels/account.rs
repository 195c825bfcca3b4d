//! Whose entries a level holds.

use crate::config::{BaseUrl, UpstreamKey};
use crate::domain::TenantName;

/// The owner of entries.
pub(crate) struct LevelAccount<'a> {
    pub(crate) tenant: &'a TenantName,
    pub(crate) keys: &'a [UpstreamKey],
    pub(crate) url: &'a BaseUrl,
}
