use http::{Method, Uri};

use super::call_id::InvalidCallId;
use super::{CallId, Refusal};

/// What a request asks for, once all of it that routes was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lookup {
    /// The call.
    pub id: CallId,
    /// The whole answer, or its head only.
    pub wants: Wants,
}

/// `GET` or `HEAD`; both share one entry and one upstream request, which is always a `GET`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// The call.
    Body,
    /// The headers that a `GET` would get.
    Head,
}

/// The `route` label of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteLabel {
    /// `/v1/calls/{id}`.
    Call,
    /// Everything else, refusals before routing included.
    None,
}

impl RouteLabel {
    /// Both labels.
    pub const ALL: [Self; 2] = [Self::Call, Self::None];

    /// The label's text.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::None => "none",
        }
    }
}

/// Reads method and raw target. The order of refusals is fixed: route, method, query, ID.
///
/// The path is taken as it was sent: nothing is decoded, normalised or case-folded, so that one call
/// has one spelling. The authority of an absolute-form target is ignored.
pub fn route(method: &Method, target: &Uri) -> (RouteLabel, Result<Lookup, Refusal>) {
    let path = target.path();
    let everywhere = *method == Method::CONNECT || *method == Method::TRACE;
    if everywhere || (*method == Method::OPTIONS && path == "*") {
        return (RouteLabel::None, Err(Refusal::Method));
    }
    let segment = path.strip_prefix("/v1/calls/").unwrap_or_default();
    let id = CallId::parse(segment.as_bytes());
    // What is an ID is one segment.
    if id.is_err() && (segment.is_empty() || segment.contains('/')) {
        return (RouteLabel::None, Err(Refusal::NoRoute));
    }
    (RouteLabel::Call, call(method, target, id))
}

fn call(method: &Method, target: &Uri, id: Result<CallId, InvalidCallId>) -> Result<Lookup, Refusal> {
    let wants = match *method {
        Method::GET => Wants::Body,
        Method::HEAD => Wants::Head,
        _ => return Err(Refusal::Method),
    };
    // `x?` has an empty query, and is another spelling of `x` all the same.
    if target.query().is_some() {
        return Err(Refusal::Query);
    }
    Ok(Lookup { id: id.map_err(|InvalidCallId| Refusal::CallIdFormat)?, wants })
}

/// The method as it may appear in logs: one of the registered ones, else `_OTHER`, as
/// OpenTelemetry's `http.request.method` has it.
pub fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::CONNECT => "CONNECT",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        Method::PATCH => "PATCH",
        _ => "_OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: &str, target: &str) -> Result<Lookup, Refusal> {
        route(&method.parse().unwrap(), &target.parse().unwrap()).1
    }

    #[test]
    fn a_call_is_found_by_get_and_head_alone() {
        let id = CallId::parse(b"call_1").unwrap();
        assert_eq!(of("GET", "/v1/calls/call_1"), Ok(Lookup { id, wants: Wants::Body }));
        assert_eq!(of("HEAD", "/v1/calls/call_1"), Ok(Lookup { id, wants: Wants::Head }));
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "get", "FOO"] {
            assert_eq!(of(method, "/v1/calls/call_1"), Err(Refusal::Method), "{method}");
        }
    }

    #[test]
    fn connect_trace_and_options_star_are_405_whatever_the_target() {
        assert_eq!(of("CONNECT", "evil.example:443"), Err(Refusal::Method));
        assert_eq!(of("TRACE", "/nowhere"), Err(Refusal::Method));
        assert_eq!(of("OPTIONS", "*"), Err(Refusal::Method));
        assert_eq!(of("OPTIONS", "/nowhere"), Err(Refusal::NoRoute));
    }

    #[test]
    fn any_other_path_is_404_before_the_method_is_looked_at() {
        for path in [
            "/",
            "/v1",
            "/v1/calls",
            "/v1/calls/",
            "//v1/calls/call_1",
            "/v1//calls/call_1",
            "/v1/calls//call_1",
            "/v1/calls/call_1/",
            "/v1/calls/./call_1",
            "/v1/calls/../calls/call_1",
            "/V1/calls/call_1",
            "/v1/Calls/call_1",
            "/v1/calls/call_1/x",
            "/metrics",
            "/v1/calls/a/b?x=1",
        ] {
            assert_eq!(of("GET", path), Err(Refusal::NoRoute), "{path}");
            assert_eq!(of("POST", path), Err(Refusal::NoRoute), "{path}");
        }
    }

    #[test]
    fn one_segment_that_is_no_id_is_400() {
        for segment in [
            "..",
            "..%2f",
            "%2e%2e",
            "call_1%2F",
            "call_1%5c",
            "call_1\\",
            "call_%31",
            "call_1%00",
            "call_1%0d%0a",
            "call_1;jsessionid=1",
            "call_1.css",
            "call_",
            "Call_1",
            "call_%EF%BC%91",
            "call_%252e",
        ] {
            assert_eq!(of("GET", &format!("/v1/calls/{segment}")), Err(Refusal::CallIdFormat), "{segment}");
        }
        let long = format!("/v1/calls/call_{}", "a".repeat(10_000));
        assert_eq!(of("GET", &long), Err(Refusal::CallIdFormat));
    }

    #[test]
    fn any_query_is_400_even_an_empty_one() {
        for query in ["?", "?a=1", "?token=x", "?api_key=x"] {
            assert_eq!(of("GET", &format!("/v1/calls/call_1{query}")), Err(Refusal::Query), "{query}");
        }
    }

    #[test]
    fn the_authority_of_an_absolute_target_is_ignored() {
        let id = CallId::parse(b"call_1").unwrap();
        assert_eq!(of("GET", "http://evil.example/v1/calls/call_1"), Ok(Lookup { id, wants: Wants::Body }));
    }

    #[test]
    fn an_unknown_method_has_one_label() {
        assert_eq!(method_label(&Method::GET), "GET");
        assert_eq!(method_label(&"get".parse().unwrap()), "_OTHER");
        assert_eq!(method_label(&"X-EVIL".parse().unwrap()), "_OTHER");
    }
}
