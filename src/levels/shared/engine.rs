//! What the shared level asks of its engine: three verbs on opaque bytes. Knows no protocol.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use super::failure::EngineFailure;
use crate::levels::seal::SealedName;

/// What an engine is going to answer.
pub(crate) type EngineFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, EngineFailure>> + Send + 'a>>;

/// Whether a question also claims the call, so that one gateway of the fleet fetches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClaimMode {
    Never,
    /// If there is no entry.
    IfMissing,
    Always,
}

/// A question for an entry.
#[derive(Debug, Clone)]
pub(crate) struct EngineQuestion {
    /// The names that it may have, that of the key in use first. At least one; the first one is claimed.
    pub(crate) names: Vec<SealedName>,
    pub(crate) claim: ClaimMode,
    pub(crate) holder: ClaimHolder,
    /// How long a claim lasts if it isn't released.
    pub(crate) lasts: Duration,
    /// Whether it also claims to poll the call, where it claims the call.
    pub(crate) poll: Option<PollQuestion>,
}

/// A wish to be the one that polls a call. Claimed apart from the call itself, so that lookups don't wait for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PollQuestion {
    /// Its own poll claim is extended.
    pub(crate) holder: ClaimHolder,
    pub(crate) lasts: Duration,
    pub(crate) against: PollRival,
}

/// What a question does if another gateway polls the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PollRival {
    /// Claims nothing.
    Defer,
    /// Claims the call all the same, for one fetch.
    Ignore,
}

/// Which claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClaimKind {
    /// To fetch a call once.
    Fetch,
    /// To poll it from now on.
    Poll,
}

/// Who claims. No two claims to fetch have the same; all to poll of one process have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClaimHolder(pub(crate) u128);

/// Who has claimed a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClaimState {
    /// No gateway, as far as was asked.
    Unclaimed,
    /// The one who asked, from now on.
    Won,
    /// Another one.
    Held,
}

/// The answer to a question.
#[derive(Debug)]
pub(crate) struct EngineAnswer {
    /// The sealed entry, and which of the names it has.
    pub(crate) found: Option<(usize, Vec<u8>)>,
    pub(crate) claim: ClaimState,
    /// Who polls the call.
    pub(crate) poll: ClaimState,
}

/// An entry to be written.
#[derive(Debug)]
pub(crate) struct EngineWrite {
    pub(crate) name: SealedName,
    /// It has its mark in the open.
    pub(crate) sealed: Vec<u8>,
    /// When it has no use left.
    pub(crate) expires: Duration,
    /// The claim that ends with it.
    pub(crate) claim: Option<ClaimHolder>,
}

/// An engine. Its clients set their own deadlines.
pub(crate) trait SharedEngine: Send + Sync {
    /// Connects anew, for all that follows.
    fn connect(&self) -> EngineFuture<'_, ()>;

    /// Asks for an entry, and claims its call if it is to.
    fn ask(&self, question: EngineQuestion) -> EngineFuture<'_, EngineAnswer>;

    /// Writes an entry, unless one with a newer mark is there, and ends its claim. Whether it was written.
    fn put(&self, write: EngineWrite) -> EngineFuture<'_, bool>;

    /// Ends a claim, if it is still this holder's.
    fn release(&self, kind: ClaimKind, name: SealedName, holder: ClaimHolder) -> EngineFuture<'_, ()>;
}
