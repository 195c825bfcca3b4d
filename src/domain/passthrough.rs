//! Endpoints of the API that an operator has allowed to be passed through: exact methods, paths and queries.

use http::Method;

use super::{Alphabet, CallId};

static LITERAL: Alphabet = Alphabet::alphanumeric_and(b"_.-");
static ID: Alphabet = Alphabet::alphanumeric_and(b"_-");
static NAME: Alphabet = Alphabet::alphanumeric_and(b"_-");
static VALUE: Alphabet = Alphabet::alphanumeric_and(b"_.:@-");
const MAX_ID: usize = 64;
const MAX_VALUE: usize = 128;

/// The methods that may be passed through.
pub(crate) const METHODS: [Method; 6] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// The paths of the gateway's own routes for `GET` and `HEAD`, whether or not a tenant may use them.
const OWN_PATHS: [&str; 4] =
    ["/v1/calls", "/v1/calls/{id}", "/v1/calls/{id}/recording", "/v1/calls/{id}/transcription"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PassthroughEndpoint {
    pub method: Method,
    path: PathTemplate,
    /// The names of the parameters that its query may have, each at most once.
    query: Vec<String>,
    /// The largest body in bytes; 0 if none is accepted.
    pub max_body_bytes: usize,
}

/// Literal segments, and `{id}` for any ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathTemplate {
    text: String,
}

impl PathTemplate {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let expected = "expected a path of segments [A-Za-z0-9_.-]+ and {id}, such as \"/v1/callouts/{id}\"";
        let mut segments = text.strip_prefix('/').ok_or(expected)?.split('/');
        let is_literal = |segment: &str| {
            !segment.is_empty() && LITERAL.spells(segment.as_bytes()) && !matches!(segment, "." | "..")
        };
        match segments.all(|segment| segment == "{id}" || is_literal(segment)) {
            true => Ok(Self { text: text.to_owned() }),
            false => Err(expected),
        }
    }

    fn segments(&self) -> std::str::Split<'_, char> {
        self.text.split('/')
    }

    /// Whether a raw path matches. Nothing is decoded.
    pub(crate) fn matches(&self, path: &str) -> bool {
        let mut path = path.split('/');
        let all = self.segments().all(|segment| {
            path.next().is_some_and(|have| match segment {
                "{id}" => !have.is_empty() && have.len() <= MAX_ID && ID.spells(have.as_bytes()),
                literal => have == literal,
            })
        });
        all && path.next().is_none()
    }

    /// Whether some path matches both templates.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.segments(), other.segments());
        ours.clone().count() == theirs.clone().count()
            && ours.zip(theirs).all(|(one, other)| one == other || one == "{id}" || other == "{id}")
    }

    /// The template as written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

/// The endpoint does not accept this query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidQuery;

impl PassthroughEndpoint {
    /// An endpoint.
    pub(crate) fn new(
        method: Method,
        path: PathTemplate,
        query: Vec<String>,
        max_body_bytes: usize,
    ) -> Result<Self, &'static str> {
        let is_read = matches!(method, Method::GET | Method::HEAD);
        let is_own = |own: &str| PathTemplate { text: own.to_owned() }.overlaps(&path);
        if is_read && OWN_PATHS.iter().any(|own| is_own(own)) {
            return Err("expected another path: GET and HEAD of this one are the gateway's own routes");
        }
        Ok(Self { method, path, query, max_body_bytes })
    }

    /// Whether this is a valid parameter name.
    pub(crate) fn is_parameter(name: &str) -> bool {
        !name.is_empty() && NAME.spells(name.as_bytes())
    }

    pub(crate) const fn path(&self) -> &PathTemplate {
        &self.path
    }

    /// The names of its parameters.
    pub(crate) fn query(&self) -> &[String] {
        &self.query
    }

    /// Whether two endpoints answer the same request.
    pub(crate) fn collides_with(&self, other: &Self) -> bool {
        self.method == other.method && self.path.overlaps(&other.path)
    }

    /// Checks a raw query: parameters that the endpoint takes, each at most once, with plain values.
    pub(crate) fn check_query(&self, query: Option<&str>) -> Result<(), InvalidQuery> {
        let Some(query) = query else { return Ok(()) };
        let mut seen = Vec::new();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').ok_or(InvalidQuery)?;
            let is_plain = !value.is_empty() && value.len() <= MAX_VALUE && VALUE.spells(value.as_bytes());
            if !is_plain || seen.contains(&name) || !self.query.iter().any(|known| known == name) {
                return Err(InvalidQuery);
            }
            seen.push(name);
        }
        Ok(())
    }

    /// The call ID in a path, if the path is that of a call.
    pub(crate) fn call_in(path: &str) -> Option<CallId> {
        CallId::parse(path.strip_prefix("/v1/calls/")?.as_bytes()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> PathTemplate {
        PathTemplate::parse(text).unwrap()
    }

    fn passthrough(method: Method, path: &str) -> Result<PassthroughEndpoint, &'static str> {
        PassthroughEndpoint::new(method, template(path), vec!["a".into(), "b_2".into()], 0)
    }

    #[test]
    fn a_template_is_literal_segments_and_ids() {
        for text in ["/v1/calls", "/v1/callouts/{id}/response", "/a.b/c-d_e"] {
            assert_eq!(template(text).as_str(), text);
        }
        for text in [
            "",
            "/",
            "v1",
            "/v1/",
            "//v1",
            "/v1/..",
            "/./v1",
            "/v1/{x}",
            "/v1/a{id}",
            "/v1/*",
            "/v1/%41",
            "/a?b",
        ] {
            assert!(PathTemplate::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_path_matches_as_a_whole_and_in_raw_bytes() {
        let path = template("/v1/callouts/{id}/response");
        assert!(path.matches("/v1/callouts/callout_1-b/response"));
        for other in [
            "/v1/callouts/response",
            "/v1/callouts//response",
            "/v1/callouts/a/b/response",
            "/v1/callouts/a/response/",
            "/v1/callouts/a/Response",
            "/v1/callouts/a%2Fb/response",
            "/v1/callouts/../response",
            "/v1/callouts/a.b/response",
        ] {
            assert!(!path.matches(other), "{other}");
        }
        assert!(!path.matches(&format!("/v1/callouts/{}/response", "a".repeat(65))));
    }

    #[test]
    fn the_gateways_own_routes_are_not_passed_through() {
        for path in [
            "/v1/calls",
            "/v1/calls/{id}",
            "/v1/calls/x",
            "/v1/{id}",
            "/v1/calls/{id}/recording",
            "/{id}/calls",
        ] {
            assert!(
                passthrough(Method::GET, path).is_err() && passthrough(Method::HEAD, path).is_err(),
                "{path}"
            );
            assert!(passthrough(Method::POST, path).is_ok(), "{path}");
        }
        assert!(passthrough(Method::GET, "/v1/callouts").is_ok());
    }

    #[test]
    fn a_query_has_known_parameters_once_with_plain_values() {
        let endpoint = passthrough(Method::GET, "/v1/emails").unwrap();
        for query in [None, Some("a=1"), Some("b_2=x.y:z@w-_&a=1")] {
            assert_eq!(endpoint.check_query(query), Ok(()), "{query:?}");
        }
        for query in ["", "a", "a=", "a=1&", "a=1&a=2", "c=1", "a=%31", "a=1+2", "A=1", "a=1;b_2=1", "a[]=1"]
        {
            assert_eq!(endpoint.check_query(Some(query)), Err(InvalidQuery), "{query}");
        }
        assert_eq!(endpoint.check_query(Some(&format!("a={}", "1".repeat(129)))), Err(InvalidQuery));
    }

    #[test]
    fn only_a_whole_call_id_names_a_call() {
        assert_eq!(
            PassthroughEndpoint::call_in("/v1/calls/call_1").map(|id| id.as_str().to_owned()),
            Some("call_1".into())
        );
        for path in ["/v1/calls", "/v1/calls/", "/v1/calls/call_1/cancel", "/v1/callouts/call_1"] {
            assert_eq!(PassthroughEndpoint::call_in(path), None, "{path}");
        }
    }
}
