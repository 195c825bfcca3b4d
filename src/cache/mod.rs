//! What a tenant remembers of the upstream's answers, and how it comes to: entries, freshness (pure),
//! admission (pure), the store, and coalescing. Knows no sockets, tokens or upstreams.

mod admission;
mod describe;
mod directives;
mod envelope;
mod etag;
mod flight;
mod freeing;
mod freshness;
mod generation;
mod head;
mod landed;
mod refusals;
mod renewals;
mod reply;
mod store;
mod stored_id;

#[cfg(feature = "bench")]
pub use admission::admit;
pub use admission::{Answer, Entry, Ruling, Validators};
pub use directives::Demand;
#[cfg(feature = "fuzz")]
pub use envelope::Envelope;
pub use etag::Conditions;
pub use flight::{Lost, Storing};
pub use freshness::{Exchange, Fallback, Reckoning, Verdict, judge};
pub use generation::{Boarded, Cache, Generation, Pilot};
pub use head::{CACHE_STATUS, OUR_VARY, OUR_VIA, X_REQUEST_ID};
pub use landed::{Landed, Verdict as AnswerVerdict, Yield, judge_answer, settle};
pub use reply::Reply;
