//! Rate limits: a bucket in this process, or leases of one that a fleet shares. Knows neither who is limited, nor what is
//! counted, nor how a lease is obtained.
//!
//! What a lease admits is a pure function of data ([`account`]).

mod account;
mod bucket;
mod leased;
mod limiter;
mod quota;

pub(crate) use account::Overdraft;
pub(crate) use leased::{LeaseDesk, LeasedLimit};
pub(crate) use limiter::Limiter;
pub(crate) use quota::{Exhausted, LimitScope, Quota};
