//! W3C Trace Context: parses and passes on `traceparent` and `tracestate`.

use http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The longest `tracestate` that is passed on (Trace Context section 3.3.1.5 asks for at least 512).
const MAX_STATE_BYTES: usize = 512;

/// A client's well-formed trace context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TraceContext {
    pub(super) parent: HeaderValue,
    pub(super) state: Option<HeaderValue>,
}

impl TraceContext {
    /// Reads a request's only `traceparent`, and its `tracestate` if that is a single line.
    pub(crate) fn read(headers: &HeaderMap) -> Option<Self> {
        let parent = only(headers, &TRACEPARENT).filter(|value| is_traceparent(value.as_bytes()))?;
        let state = only(headers, &TRACESTATE).filter(|value| is_tracestate(value.as_bytes()));
        Some(Self { parent: parent.clone(), state: state.cloned() })
    }

    /// The trace ID, 32 digits.
    pub(crate) fn trace_id(&self) -> &str {
        self.parent.to_str().ok().and_then(|text| text.get(3..35)).unwrap_or_default()
    }

    /// Writes both headers into an upstream request.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        headers.insert(TRACEPARENT, self.parent.clone());
        if let Some(state) = &self.state {
            headers.insert(TRACESTATE, state.clone());
        }
    }
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    first.filter(|_| values.next().is_none())
}

/// Version 00: `00-` 32 digits `-` 16 digits `-` 2 digits, lower case, neither ID all zero. A higher version is
/// accepted if it begins the same way (section 3.2.4).
fn is_traceparent(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let mut fields = text.splitn(5, '-');
    let mut field = |len: usize| {
        fields.next().filter(|field| {
            field.len() == len && field.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        })
    };
    let (version, trace, span, flags) = (field(2), field(32), field(16), field(2));
    let (Some(version), Some(trace), Some(span), Some(_)) = (version, trace, span, flags) else {
        return false;
    };
    let some = |id: &str| id.bytes().any(|b| b != b'0');
    version != "ff" && some(trace) && some(span) && (version != "00" || fields.next().is_none())
}

fn is_tracestate(bytes: &[u8]) -> bool {
    bytes.len() <= MAX_STATE_BYTES && bytes.iter().all(|b| (b' '..=b'~').contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_well_formed_trace_is_passed_on() {
        let context =
            TraceContext::read(&headers(&[("traceparent", GOOD), ("tracestate", "a=1,b=2")])).unwrap();
        assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let mut out = HeaderMap::new();
        context.write(&mut out);
        assert_eq!(out, headers(&[("traceparent", GOOD), ("tracestate", "a=1,b=2")]));
    }

    #[test]
    fn a_later_version_may_have_more_fields() {
        let later = GOOD.replacen("00-", "01-", 1) + "-more";
        assert!(TraceContext::read(&headers(&[("traceparent", &later)])).is_some());
    }

    #[test]
    fn anything_else_is_dropped() {
        for bad in [
            "",
            "00",
            &GOOD.to_uppercase(),
            &GOOD.replacen("00-", "ff-", 1),
            &(GOOD.to_owned() + "-x"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::read(&headers(&[("traceparent", bad)])), None, "{bad}");
        }
        assert_eq!(TraceContext::read(&headers(&[("traceparent", GOOD), ("traceparent", GOOD)])), None);
        assert_eq!(TraceContext::read(&headers(&[("tracestate", "a=1")])), None);
    }

    #[test]
    fn a_huge_state_is_dropped_and_the_parent_kept() {
        let state = "a=".to_owned() + &"1".repeat(600);
        let context = TraceContext::read(&headers(&[("traceparent", GOOD), ("tracestate", &state)])).unwrap();
        assert_eq!(context.state, None);
    }
}
