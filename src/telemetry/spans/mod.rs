//! Spans of requests, for whoever collects traces: one for each lookup, with what the cache did, and
//! one for each request that goes upstream for it. Built with the feature `otlp`; without it the types
//! are empty and what they do is nothing.

#[cfg(feature = "otlp")]
mod context;
#[cfg(feature = "otlp")]
mod courier;
#[cfg(feature = "otlp")]
mod exporter;
#[cfg(not(feature = "otlp"))]
mod off;
#[cfg(feature = "otlp")]
mod recorded;

#[cfg(not(feature = "otlp"))]
pub use off::{ServerSpan, Spans};
#[cfg(feature = "otlp")]
pub use recorded::{ServerSpan, Spans, Told};
