//! A claim on a call: the gateway that holds it fetches the call for the fleet.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::engine::{ClaimHolder, ClaimKind, SharedEngine};
use crate::levels::seal::SealedName;

/// A claim that this gateway holds. Dropping it ends it, whatever came of the fetch.
pub(crate) struct CallClaim {
    engine: Arc<dyn SharedEngine>,
    name: SealedName,
    holder: ClaimHolder,
    is_held: bool,
}

impl CallClaim {
    pub(super) fn new(engine: Arc<dyn SharedEngine>, name: SealedName, holder: ClaimHolder) -> Self {
        Self { engine, name, holder, is_held: true }
    }

    /// Leaves the end of the claim to the write of the entry with this name, if it is on that.
    pub(super) fn end_with(mut self, name: &SealedName) -> Option<ClaimHolder> {
        let is_same = self.name == *name;
        self.is_held = !is_same;
        is_same.then_some(self.holder)
    }
}

impl Drop for CallClaim {
    fn drop(&mut self) {
        // Without a runtime the process ends, and the claim ends by itself.
        let Some(runtime) = Handle::try_current().ok().filter(|_| self.is_held) else { return };
        let (engine, name, holder) = (Arc::clone(&self.engine), self.name, self.holder);
        runtime.spawn(async move {
            // One that can't be released ends by itself.
            let _ = engine.release(ClaimKind::Fetch, name, holder).await;
        });
    }
}
