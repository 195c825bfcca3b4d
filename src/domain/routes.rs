//! The routes of the data plane: one table, read by routing, telemetry, the API description's test and the
//! stand-in upstream.

use http::{Method, Uri};

use super::{CallId, InvoiceId, MediaKind, Refusal};

/// The definition of a route.
#[derive(Debug)]
pub(crate) struct RouteSpec {
    /// The value of the label `route`.
    pub label: RouteLabel,
    /// The path, with `{id}` for the one segment that names the object, if one does.
    pub template: &'static str,
    path: Path,
    /// The methods that it answers, as `Allow` lists them.
    pub allow: &'static str,
    target: TargetKind,
}

/// The paths of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path {
    /// One.
    Exact(&'static str),
    /// One for each object: the parts before and after the segment that identifies it.
    Of { prefix: &'static str, suffix: &'static str },
}

/// The kind of resource that a route's requests target, and so the query that they take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TargetKind {
    /// One call. There is no query: even an empty one would be another spelling of the same object.
    Call,
    /// A call's recording or transcription, likewise.
    Media(MediaKind),
    /// The list of an invoice's calls: the query is exactly `invoice_id=` and an [`InvoiceId`], in raw bytes.
    Calls,
}

/// The resource that a request targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TargetResource {
    Call(CallId),
    /// The list of an invoice's calls.
    Calls(InvoiceId),
    /// A call's recording or transcription.
    Media(MediaKind, CallId),
}

/// Every route, the most frequent one first.
pub(crate) static ROUTES: [RouteSpec; 4] = [
    RouteSpec {
        label: RouteLabel::Call,
        template: "/v1/calls/{id}",
        path: Path::Of { prefix: "/v1/calls/", suffix: "" },
        allow: "GET, HEAD",
        target: TargetKind::Call,
    },
    RouteSpec {
        label: RouteLabel::Calls,
        template: "/v1/calls",
        path: Path::Exact("/v1/calls"),
        allow: "GET, HEAD",
        target: TargetKind::Calls,
    },
    RouteSpec {
        label: RouteLabel::Recording,
        template: "/v1/calls/{id}/recording",
        path: Path::Of { prefix: "/v1/calls/", suffix: "/recording" },
        allow: "GET, HEAD",
        target: TargetKind::Media(MediaKind::Recording),
    },
    RouteSpec {
        label: RouteLabel::Transcription,
        template: "/v1/calls/{id}/transcription",
        path: Path::Of { prefix: "/v1/calls/", suffix: "/transcription" },
        allow: "GET, HEAD",
        target: TargetKind::Media(MediaKind::Transcription),
    },
];

/// The routes that a tenant may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RouteAccess(u8);

impl RouteAccess {
    /// No route.
    pub(crate) const NONE: Self = Self(0);
    /// What belongs to a call.
    pub(crate) const MEDIA: Self = Self::NONE.and(RouteLabel::Recording).and(RouteLabel::Transcription);
    /// Calls by ID.
    pub(crate) const CALL: Self = Self::NONE.and(RouteLabel::Call);

    /// These and another one.
    #[must_use]
    pub(crate) const fn and(self, route: RouteLabel) -> Self {
        Self(self.0 | 1 << route as u8)
    }

    /// Those that are among others, too.
    #[must_use]
    pub(crate) const fn among(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// Whether a route is among them.
    pub(crate) const fn allows(self, route: RouteLabel) -> bool {
        self.0 & (1 << route as u8) != 0
    }

    /// The routes, in the order of the table.
    pub(crate) fn iter(self) -> impl Iterator<Item = RouteLabel> {
        ROUTES.iter().map(|route| route.label).filter(move |label| self.allows(*label))
    }

    /// As a number, for storage in an atomic.
    pub(crate) const fn to_bits(self) -> u8 {
        self.0
    }

    /// From such a number.
    pub(crate) const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }
}

/// The `route` label of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RouteLabel {
    /// `/v1/calls/{id}`.
    Call,
    /// `/v1/calls`.
    Calls,
    /// `/v1/calls/{id}/recording`.
    Recording,
    /// `/v1/calls/{id}/transcription`.
    Transcription,
    /// An endpoint of a `[[passthrough]]`.
    Passthrough,
    /// Everything else, refusals before routing included.
    None,
}

impl RouteLabel {
    /// Every label.
    pub(crate) const ALL: [Self; 6] =
        [Self::Call, Self::Calls, Self::Recording, Self::Transcription, Self::Passthrough, Self::None];

    /// The label's text.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Calls => "calls",
            Self::Recording => "recording",
            Self::Transcription => "transcription",
            Self::Passthrough => "passthrough",
            Self::None => "none",
        }
    }

    /// The route's definition; `None` for [`Self::Passthrough`] and [`Self::None`].
    pub(crate) fn spec(self) -> Option<&'static RouteSpec> {
        ROUTES.iter().find(|route| route.label == self)
    }

    /// The template of the route, for logs and traces.
    pub(crate) fn template(self) -> Option<&'static str> {
        self.spec().map(|route| route.template)
    }
}

impl MediaKind {
    /// The route that serves it.
    pub(crate) const fn route(self) -> RouteLabel {
        match self {
            Self::Recording => RouteLabel::Recording,
            Self::Transcription => RouteLabel::Transcription,
        }
    }
}

/// Routes a request by its method and raw target. The order of refusals is fixed: route, method, query, ID. A route
/// that `access` does not include is treated as nonexistent.
///
/// The path is used as sent: nothing is decoded, normalised or case-folded, so that one call has one spelling. The
/// authority of an absolute-form target is ignored.
pub(crate) fn route(
    method: &Method,
    target: &Uri,
    access: RouteAccess,
) -> (RouteLabel, Result<TargetResource, Refusal>) {
    if is_refused_everywhere(method, target) {
        return (RouteLabel::None, Err(Refusal::Method));
    }
    let path = target.path();
    let found = ROUTES.iter().find_map(|route| Some((route, route.segment_of(path)?)));
    match found.filter(|(route, _)| access.allows(route.label)) {
        Some((route, segment)) => (route.label, route.read(method, target, segment)),
        None => (RouteLabel::None, Err(Refusal::NoRoute)),
    }
}

/// Whether a request is 405 whatever the path: `CONNECT`, `TRACE` and `OPTIONS *`.
pub(crate) fn is_refused_everywhere(method: &Method, target: &Uri) -> bool {
    match *method {
        Method::CONNECT | Method::TRACE => true,
        Method::OPTIONS => target.path() == "*",
        _ => false,
    }
}

impl RouteSpec {
    /// The segment in the position of `{id}`, if the path matches the template; empty for a template without one.
    pub(crate) fn segment_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        match self.path {
            Path::Exact(exact) => (path == exact).then_some(""),
            Path::Of { prefix, suffix } => {
                let segment = path.strip_prefix(prefix)?.strip_suffix(suffix)?;
                (!segment.is_empty() && !segment.contains('/')).then_some(segment)
            }
        }
    }

    fn read(&self, method: &Method, target: &Uri, segment: &str) -> Result<TargetResource, Refusal> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Err(Refusal::Method);
        }
        match (self.target, target.query()) {
            (TargetKind::Call | TargetKind::Media(_), Some(_)) => Err(Refusal::Query),
            (TargetKind::Call, None) => call_id(segment).map(TargetResource::Call),
            (TargetKind::Media(kind), None) => call_id(segment).map(|id| TargetResource::Media(kind, id)),
            (TargetKind::Calls, query) => {
                let invoice = query.and_then(|query| query.strip_prefix("invoice_id="));
                let invoice = invoice.and_then(|invoice| InvoiceId::parse(invoice.as_bytes()).ok());
                invoice.map(TargetResource::Calls).ok_or(Refusal::ListQuery)
            }
        }
    }
}

fn call_id(segment: &str) -> Result<CallId, Refusal> {
    CallId::parse(segment.as_bytes()).map_err(|_| Refusal::CallIdFormat)
}

/// The method as logs show it: a registered one, else `_OTHER`, as in OpenTelemetry's `http.request.method`.
pub(crate) fn method_label(method: &Method) -> &'static str {
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

    const ALL: RouteAccess =
        RouteAccess::CALL.and(RouteLabel::Calls).and(RouteLabel::Recording).and(RouteLabel::Transcription);

    fn of(method: &str, target: &str) -> Result<TargetResource, Refusal> {
        route(&method.parse().unwrap(), &target.parse().unwrap(), ALL).1
    }

    #[test]
    fn a_call_is_found_by_get_and_head_alone() {
        let id = TargetResource::Call(CallId::parse(b"call_1").unwrap());
        assert_eq!(of("GET", "/v1/calls/call_1"), Ok(id.clone()));
        assert_eq!(of("HEAD", "/v1/calls/call_1"), Ok(id));
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
        assert_eq!(of("GET", "*"), Err(Refusal::NoRoute));
    }

    #[test]
    fn any_other_path_is_404_before_the_method_is_looked_at() {
        for path in [
            "/",
            "/v1",
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
        let id = TargetResource::Call(CallId::parse(b"call_1").unwrap());
        assert_eq!(of("GET", "http://evil.example/v1/calls/call_1"), Ok(id));
    }

    #[test]
    fn every_template_is_its_path() {
        for route in &ROUTES {
            match route.path {
                Path::Exact(path) => assert_eq!(route.template, path),
                Path::Of { prefix, suffix } => assert_eq!(route.template, format!("{prefix}{{id}}{suffix}")),
            }
            assert_eq!(route.label.template(), Some(route.template));
            if let TargetKind::Media(kind) = route.target {
                assert_eq!(kind.route(), route.label);
            }
        }
        assert_eq!(RouteLabel::None.template(), None);
    }

    #[test]
    fn a_list_is_asked_for_by_exactly_one_invoice_in_raw_bytes() {
        let invoice = InvoiceId::parse(b"inv_1").unwrap();
        assert_eq!(of("GET", "/v1/calls?invoice_id=inv_1"), Ok(TargetResource::Calls(invoice)));
        assert_eq!(of("POST", "/v1/calls?invoice_id=inv_1"), Err(Refusal::Method));
        for query in [
            "",
            "?",
            "?invoice_id",
            "?invoice_id=",
            "?invoice_id=inv_",
            "?invoice_id=inv_1&x=1",
            "?x=1&invoice_id=inv_1",
            "?invoice_id=inv_1&invoice_id=inv_1",
            "?invoice_id=inv_1&",
            "?%69nvoice_id=inv_1",
            "?invoice_id=%69nv_1",
            "?invoice_id[]=inv_1",
            "?invoice_id=call_1",
            "?INVOICE_ID=inv_1",
        ] {
            assert_eq!(of("GET", &format!("/v1/calls{query}")), Err(Refusal::ListQuery), "{query}");
        }
    }

    #[test]
    fn a_route_that_a_tenant_may_not_use_is_no_route() {
        let list: Uri = "/v1/calls?invoice_id=inv_1".parse().unwrap();
        let refused = (RouteLabel::None, Err(Refusal::NoRoute));
        for method in [Method::GET, Method::POST] {
            assert_eq!(route(&method, &list, RouteAccess::CALL), refused);
        }
        let calls = RouteAccess::NONE.and(RouteLabel::Calls);
        assert_eq!(route(&Method::GET, &"/v1/calls/call_1".parse().unwrap(), calls), refused);
        assert!(calls.iter().eq([RouteLabel::Calls]));
        assert!(ALL.iter().eq(ROUTES.iter().map(|route| route.label)));
    }

    #[test]
    fn media_are_found_below_their_call() {
        let id = CallId::parse(b"call_1").unwrap();
        assert_eq!(
            of("GET", "/v1/calls/call_1/recording"),
            Ok(TargetResource::Media(MediaKind::Recording, id))
        );
        assert_eq!(
            of("HEAD", "/v1/calls/call_1/transcription"),
            Ok(TargetResource::Media(MediaKind::Transcription, id))
        );
        assert_eq!(of("GET", "/v1/calls/call_1/recording?x"), Err(Refusal::Query));
        assert_eq!(of("GET", "/v1/calls/call%5f1/recording"), Err(Refusal::CallIdFormat));
        assert_eq!(of("DELETE", "/v1/calls/call_1/recording"), Err(Refusal::Method));
        for path in [
            "/v1/calls/recording/",
            "/v1/calls//recording",
            "/v1/calls/call_1/recording/",
            "/v1/calls/call_1/Recording",
        ] {
            assert_eq!(of("GET", path), Err(Refusal::NoRoute), "{path}");
        }
        assert_eq!(of("GET", "/v1/calls/recording"), Err(Refusal::CallIdFormat));
    }

    #[test]
    fn an_unknown_method_has_one_label() {
        assert_eq!(method_label(&Method::GET), "GET");
        assert_eq!(method_label(&"get".parse().unwrap()), "_OTHER");
        assert_eq!(method_label(&"X-EVIL".parse().unwrap()), "_OTHER");
    }
}
