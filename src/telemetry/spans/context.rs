//! Converts between the gateway's trace context and the OpenTelemetry library's.

use http::HeaderValue;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

use crate::telemetry::TraceContext;

/// The flags that are defined: sampled, and random.
const KNOWN_FLAGS: u8 = 0x03;

impl TraceContext {
    /// As the library represents it.
    pub(super) fn to_span_context(&self) -> Option<SpanContext> {
        let parent = self.parent.to_str().ok()?;
        let field = |range| parent.get(range);
        let trace = TraceId::from_hex(field(3..35)?).ok()?;
        let span = SpanId::from_hex(field(36..52)?).ok()?;
        let flags = u8::from_str_radix(field(53..55)?, 16).ok()? & KNOWN_FLAGS;
        let state = self.state.as_ref().and_then(|state| state.to_str().ok());
        let state = state.and_then(|state| state.parse().ok()).unwrap_or(TraceState::NONE);
        Some(SpanContext::new(trace, span, TraceFlags::new(flags), true, state))
    }

    /// The context of a span, with the `tracestate` of `before`. `None` for a no-op span, as begun after
    /// shutdown.
    pub(super) fn of_span(span: &SpanContext, before: Option<&Self>) -> Option<Self> {
        let flags = span.trace_flags().to_u8() & KNOWN_FLAGS;
        let parent = format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id());
        let parent = HeaderValue::try_from(parent).ok().filter(|_| span.is_valid())?;
        Some(Self { parent, state: before.and_then(|before| before.state.clone()) })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn a_context_comes_back_as_it_went() {
        for flags in ["00", "01", "03"] {
            let mut headers = HeaderMap::new();
            let parent = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
            headers.insert("traceparent", HeaderValue::try_from(parent).unwrap());
            headers.insert("tracestate", HeaderValue::from_static("vendor=1,other=2"));
            let context = TraceContext::read(&headers).unwrap();
            let span = context.to_span_context().unwrap();
            assert_eq!(span.trace_state().header(), "vendor=1,other=2");
            assert_eq!(TraceContext::of_span(&span, Some(&context)), Some(context));
        }
        assert_eq!(TraceContext::of_span(&SpanContext::empty_context(), None), None);
    }
}
