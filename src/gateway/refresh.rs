//! External hints that a call has changed, for example from a service that receives the vendor's callbacks.

use std::sync::Arc;

use super::fetch_task::FetchTask;
use super::lookup_context::LookupContext;
use super::plane::Gateway;
use crate::cache::Refresh;
use crate::clock;
use crate::domain::{CallId, RequestId, TenantName};

/// No tenant of that name is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnknownTenant;

impl Gateway {
    /// Polls a call that has waiters, or renews a stored one, in the background; fetches nothing for any other. At
    /// most once per `wait.poll_min` and call, however often it is requested. Such a poll is sent by this gateway, also
    /// if another one of its fleet polls the call: a refresh says that the call has changed.
    pub(crate) fn refresh(&self, tenant: &TenantName, id: &CallId) -> Result<(), UnknownTenant> {
        let (snapshot, now) = (self.snapshots.load(), clock::now());
        let tenant = snapshot.directory.named(tenant).ok_or(UnknownTenant)?;
        let generation = Arc::clone(&tenant.cache().current());
        let entry = generation.entry(id).filter(|entry| !entry.is_negative());
        match (tenant.watches().refresh(id, now, snapshot.wait.poll_min), entry) {
            (Refresh::Due, Some(entry)) => {
                // The generation whose entry is renewed: after a purge in between there is nothing to renew.
                let context = LookupContext { generation, ..LookupContext::new(&snapshot, tenant, *id, now) };
                let request = RequestId::from_random(fastrand::u128(..));
                FetchTask::new(context, Some(entry), request, None).renew(now, &self.fetches);
            }
            (Refresh::Due, None) | (Refresh::Polled | Refresh::TooSoon, _) => {}
        }
        Ok(())
    }
}
