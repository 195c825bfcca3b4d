//! Spans: one for each lookup, with what the cache did, and one for each of its upstream requests. Exported
//! with the feature `otlp`; without it the types are empty and do nothing.

#[cfg(feature = "otlp")]
mod context;
#[cfg(feature = "otlp")]
mod otlp_http_client;
#[cfg(feature = "otlp")]
mod exporter;
#[cfg(not(feature = "otlp"))]
mod off;
#[cfg(feature = "otlp")]
mod recorded;

#[cfg(not(feature = "otlp"))]
pub(crate) use off::{ServerSpan, Spans};
#[cfg(feature = "otlp")]
pub(crate) use recorded::{ServerSpan, SpanFields, Spans};
