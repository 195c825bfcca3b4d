//! The possible uses of a stored entry for a lookup.

use super::directives::RequestDirectives;
use super::freshness::Freshness;
use super::freshness_inputs::SECOND;
use crate::domain::Forward;

/// How a lookup may use a stored entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// Serve it.
    Fresh,
    /// Serve it, and revalidate it in the background.
    Revalidate,
    /// Serve it stale, as the client's `max-stale` allows.
    Tolerated,
    /// Send a request upstream first.
    Fetch {
        forward: Forward,
        /// Whether it may be served if that fails.
        fallback: Fallback,
    },
}

/// Whether a failure may be answered from a stale entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// For as long as [`Freshness::may_serve_on_error`] says.
    Allowed,
    /// The client's directives forbid it: the failure itself is the answer.
    Forbidden,
}

/// Judges an entry by a client's directives.
pub(crate) fn judge_reuse(freshness: &Freshness, directives: &RequestDirectives) -> Reuse {
    let usable = freshness.is_fresh() || freshness.may_serve_while_revalidating();
    if directives.no_cache || directives.no_store || !meets_ages(freshness, directives) {
        let forward = if usable { Forward::Request } else { Forward::Stale };
        return Reuse::Fetch { forward, fallback: Fallback::Forbidden };
    }
    if freshness.is_fresh() {
        return Reuse::Fresh;
    }
    if usable {
        return Reuse::Revalidate;
    }
    let tolerated = directives.max_stale.map(|seconds| u64::from(seconds) * SECOND);
    if !freshness.never_stale && tolerated.is_some_and(|most| freshness.stale_for() <= most) {
        return Reuse::Tolerated;
    }
    Reuse::Fetch { forward: Forward::Stale, fallback: Fallback::Allowed }
}

fn meets_ages(freshness: &Freshness, directives: &RequestDirectives) -> bool {
    // `Age` is in whole seconds, so ages are compared in them. `max-age=0` asks for revalidation.
    let young = |most: u32| most > 0 && freshness.age_seconds() <= u64::from(most);
    let lasting = |least: u32| {
        let left = freshness.left();
        freshness.is_fresh() && left >= u64::from(least) * SECOND
    };
    directives.max_age.is_none_or(young) && directives.min_fresh.is_none_or(lasting)
}
