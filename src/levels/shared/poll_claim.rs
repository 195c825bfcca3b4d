//! A claim to poll a call: of the gateways of a fleet whose clients wait for the same call, the one that holds it polls
//! the upstream, and the others ask the shared level alone.
//!
//! It is held between polls, and is taken or extended by the question with which each poll begins. If its holder
//! vanishes, it ends by itself after the next poll would have ended.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;

use super::engine::{ClaimKind, ClaimState, PollQuestion, PollRival};
use super::level::SharedLevel;
use crate::levels::seal::SealedName;

/// A poller's wish to hold the claim. Dropping it ends the claim, whatever is still on its way.
pub(crate) struct PollClaim(Arc<PollSeat>);

/// The part of a [`PollClaim`] that each of its polls has.
pub(crate) struct PollSeat {
    level: Arc<SharedLevel>,
    state: Mutex<SeatState>,
}

struct SeatState {
    /// The name under which this gateway may hold the claim: also after a question whose answer was lost.
    name: Option<SealedName>,
    /// Whether a claim that is won from now on ends at once.
    is_closed: bool,
}

/// A poll, as far as other gateways are concerned.
#[derive(Clone)]
pub(crate) struct PollWish {
    pub(crate) seat: Arc<PollSeat>,
    /// The time until the next one is due at the latest.
    pub(crate) next_in: Duration,
    pub(crate) against: PollRival,
}

impl PollClaim {
    pub(super) fn new(level: &Arc<SharedLevel>) -> Self {
        let state = Mutex::new(SeatState { name: None, is_closed: false });
        Self(Arc::new(PollSeat { level: Arc::clone(level), state }))
    }

    pub(crate) const fn seat(&self) -> &Arc<PollSeat> {
        &self.0
    }

    /// Ends the claim. A later poll may take it again.
    pub(crate) fn release(&self) {
        self.0.change(|state| state.name.take());
    }

    /// Ends the claim for good: later polls hold it for the moment of their question only.
    pub(crate) fn close(&self) {
        self.0.change(|state| {
            state.is_closed = true;
            state.name.take()
        });
    }
}

impl Drop for PollClaim {
    fn drop(&mut self) {
        self.close();
    }
}

impl PollSeat {
    /// Changes the state, and ends the claim under the name that it returns.
    fn change(&self, change: impl FnOnce(&mut SeatState) -> Option<SealedName>) {
        let ended = change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        // Without a runtime the process ends, and the claim ends by itself.
        let (Some(name), Ok(runtime)) = (ended, Handle::try_current()) else { return };
        let level = Arc::clone(&self.level);
        runtime.spawn(async move {
            // One that can't be released ends by itself.
            let _ = level.engine.release(ClaimKind::Poll, name, level.poller).await;
        });
    }

    /// Notes that a question for the claim under this name begins. After a purge it is another name.
    pub(super) fn asked(&self, name: SealedName) {
        self.change(|state| state.name.replace(name).filter(|old| *old != name));
    }

    /// Notes the answer to it.
    pub(super) fn answered(&self, name: SealedName, answer: ClaimState) {
        self.change(|state| match answer {
            ClaimState::Won => state.name.take_if(|_| state.is_closed).or(state.is_closed.then_some(name)),
            ClaimState::Held => {
                state.name.take_if(|held| *held == name);
                None
            }
            ClaimState::Unclaimed => None,
        });
    }
}

impl PollWish {
    /// The question for the claim. A poll takes `fetch` at most.
    pub(super) fn question(&self, fetch: Duration) -> PollQuestion {
        let holder = self.seat.level.poller;
        PollQuestion { holder, lasts: self.next_in.saturating_add(fetch), against: self.against }
    }
}
