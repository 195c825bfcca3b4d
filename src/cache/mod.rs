//! What a tenant remembers of the upstream's answers, and how it comes to: entries, freshness (pure),
//! admission (pure), the store, and coalescing. Knows no sockets, tokens or upstreams.

mod admission;
mod directives;
mod envelope;
mod etag;
mod flight;
mod freshness;
mod generation;
mod head;
mod reply;
mod store;

pub use admission::{Answer, Entry, Older, Renewal, Ruling, Validators, admit, confirms, renew};
pub use directives::Demand;
pub use etag::Conditions;
pub use flight::{Boarding, Landing, Lost, Passenger, Pilot, Storing};
pub use freshness::{Exchange, Fallback, Kind, Reckoning, Source, Verdict, judge};
pub use generation::{Cache, Generation};
pub use head::{CACHE_STATUS, Fields, OUR_CACHE_CONTROL, OUR_VARY, OUR_VIA, X_REQUEST_ID};
pub use reply::Reply;
