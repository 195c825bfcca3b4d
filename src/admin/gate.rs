//! Access to the admin plane.
//!
//! The threat is the operator's browser: a page from another site must not reach this listener through the
//! operator's machine, neither by a cross-site request nor by a name that resolves to it (DNS rebinding).

use std::net::IpAddr;

use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, ORIGIN, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version};
use http_body::Body;
use serde_json::Value;

use super::refusal::Refused;
use crate::config::{EffectiveConfig, Settings};
use crate::domain::{TokenHash, is_token68};
use crate::message::has_fragment;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The access rules of one configuration, and the configuration without secrets.
pub(crate) struct Rules {
    hosts: Vec<String>,
    token: Option<TokenHash>,
    refresh_token: Option<TokenHash>,
    /// The effective configuration without secrets.
    pub(crate) shown: Value,
}

impl Rules {
    /// The rules of these settings.
    pub(crate) fn of(settings: &Settings) -> Self {
        Self {
            hosts: settings.admin.hosts.clone(),
            token: settings.admin.token.as_ref().map(|(hash, _)| *hash),
            refresh_token: settings.admin.refresh_token.as_ref().map(|(hash, _)| *hash),
            shown: serde_json::to_value(EffectiveConfig::of(settings)).unwrap_or_default(),
        }
    }
}

/// Admits a request for the dashboard if its `Host` cannot be the result of DNS rebinding.
pub(crate) fn admit_page<B>(request: &Request<B>, rules: &Rules) -> Result<(), Refused> {
    match authority(request) {
        Some(authority) if is_known(&authority, &rules.hosts) => Ok(()),
        Some(_) | None => Err(Refused::Misdirected),
    }
}

/// The token in an admitted request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bearer {
    /// `admin.token`.
    Admin,
    /// `admin.refresh_token`, which permits nothing but refreshing.
    Refresh,
    /// None: the listener requires none.
    None,
}

impl Bearer {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Admin => "admin.token",
            Self::Refresh => "admin.refresh_token",
            Self::None => "none",
        }
    }
}

/// Admits a request for the API. `is_local` says whether only this machine can reach the listener.
pub(super) fn admit_api<B>(request: &Request<B>, rules: &Rules, is_local: bool) -> Result<Bearer, Refused> {
    admit_page(request, rules)?;
    if is_other_site(request) {
        return Err(Refused::OtherSite);
    }
    let bearer = bearer(request.headers());
    if bearer.is_some() && bearer == rules.refresh_token {
        return Ok(Bearer::Refresh);
    }
    match &rules.token {
        Some(token) if bearer == Some(*token) => Ok(Bearer::Admin),
        Some(_) => Err(Refused::Unauthorized),
        None if is_local => Ok(Bearer::None),
        None => Err(Refused::NotLocal),
    }
}

/// Refuses a request with a body: no route accepts one.
pub(crate) fn admit_framing<B: Body>(request: &Request<B>) -> Result<(), Refused> {
    let headers = request.headers();
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let has_none_or_0 =
        lengths.next().is_none_or(|length| length.as_bytes() == b"0") && lengths.next().is_none();
    if !has_none_or_0 || headers.contains_key(TRANSFER_ENCODING) || !request.body().is_end_stream() {
        return Err(Refused::Body);
    }
    Ok(())
}

/// Refuses a `#` in the target, and any encoding in the path of a mutation, which needs none.
pub(crate) fn admit_target<B>(request: &Request<B>) -> Result<(), Refused> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if !has_fragment(request.uri()) && (is_read || !request.uri().path().contains('%')) {
        Ok(())
    } else {
        Err(Refused::Target)
    }
}

/// The digest of the bearer token. Comparing digests takes the same time however close a guess is.
fn bearer(headers: &HeaderMap) -> Option<TokenHash> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let line = lines.next().filter(|_| lines.next().is_none())?.as_bytes();
    let (scheme, token) = line.split_at_checked("bearer ".len())?;
    (scheme.eq_ignore_ascii_case(b"bearer ") && is_token68(token)).then(|| TokenHash::of(token))
}

/// The only authority of a request, in lower case: its `Host`, HTTP/2's `:authority`, or both if they are
/// equal. `None` for a request with none, several, or two that differ.
fn authority<B>(request: &Request<B>) -> Option<Authority> {
    let lines: Vec<_> = request.headers().get_all(HOST).iter().collect();
    let host = match lines.as_slice() {
        [] => None,
        [line] => Some(line.to_str().ok()?.to_ascii_lowercase().parse::<Authority>().ok()?),
        _ => return None,
    };
    let target = request.uri().authority().map(|target| target.as_str().to_ascii_lowercase());
    match (host, target) {
        (Some(host), None) => Some(host),
        (Some(host), Some(target)) => Some(host).filter(|host| host.as_str() == target),
        (None, Some(target)) if request.version() == Version::HTTP_2 => target.parse().ok(),
        (None, _) => None,
    }
}

/// An IP literal, `localhost`, or one of `admin.hosts`. DNS rebinding needs another name.
fn is_known(authority: &Authority, hosts: &[String]) -> bool {
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_plain = !authority.as_str().contains('@');
    is_plain
        && (bare.parse::<IpAddr>().is_ok() || host == "localhost" || hosts.iter().any(|known| known == host))
}

/// Whether a browser marks the request as sent by a page of another origin.
fn is_other_site<B>(request: &Request<B>) -> bool {
    let is = |line: &HeaderValue, words: &[&str]| words.iter().any(|word| line == word);
    let sites = request.headers().get_all(SEC_FETCH_SITE).iter();
    let own = authority(request);
    let is_own = |origin: &HeaderValue| {
        let origin = origin.to_str().unwrap_or_default().to_ascii_lowercase();
        let named = origin.split_once("://").map(|(_, authority)| authority);
        named.is_some() && named == own.as_ref().map(Authority::as_str)
    };
    sites.into_iter().any(|site| !is(site, &["same-origin", "none"]))
        || !request.headers().get_all(ORIGIN).iter().all(is_own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(token: Option<&str>) -> Rules {
        let token = token.map(|token| TokenHash::of(token.as_bytes()));
        Rules {
            hosts: vec!["gateway.internal".into()],
            token,
            refresh_token: Some(TokenHash::of(b"refresh-token")),
            shown: Value::Null,
        }
    }

    fn request(lines: &[(&'static str, &'static str)]) -> Request<()> {
        let mut request = Request::new(());
        for (name, value) in lines {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        request
    }

    const LOCAL: (&str, &str) = ("host", "127.0.0.1:9090");

    #[test]
    fn only_names_that_cannot_be_made_to_point_here_are_served() {
        for host in
            ["127.0.0.1:9090", "10.1.2.3", "[::1]:9090", "localhost", "LOCALHOST:9090", "gateway.internal:80"]
        {
            assert_eq!(admit_page(&request(&[("host", host)]), &rules(None)), Ok(()), "{host}");
        }
        for host in
            ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "gateway.internal.evil"]
        {
            assert_eq!(
                admit_page(&request(&[("host", host)]), &rules(None)),
                Err(Refused::Misdirected),
                "{host}"
            );
        }
        assert_eq!(admit_page(&request(&[]), &rules(None)), Err(Refused::Misdirected));
        assert_eq!(admit_page(&request(&[LOCAL, LOCAL]), &rules(None)), Err(Refused::Misdirected));
        assert_eq!(
            admit_page(&request(&[("host", "evil@127.0.0.1")]), &rules(None)),
            Err(Refused::Misdirected)
        );
    }

    #[test]
    fn a_target_with_an_authority_names_the_same_as_its_host() {
        let page = |version, target: &str, host: Option<&str>| {
            let builder = host.into_iter().fold(Request::builder(), |all, host| all.header("host", host));
            admit_page(&builder.version(version).uri(target).body(()).unwrap(), &rules(None))
        };
        let (one, two) = (Version::HTTP_11, Version::HTTP_2);
        assert_eq!(page(two, "http://127.0.0.1:9090/", None), Ok(()));
        assert_eq!(page(two, "http://localhost/", Some("LOCALHOST")), Ok(()));
        assert_eq!(page(one, "http://localhost/", Some("localhost")), Ok(()));
        for (version, target, host) in [
            (two, "http://evil.example/", None),
            (two, "http://127.0.0.1/", Some("evil.example")),
            (two, "http://evil.example/", Some("127.0.0.1")),
            (one, "http://evil.example/", Some("127.0.0.1")),
            (one, "http://127.0.0.1/", None),
        ] {
            assert_eq!(page(version, target, host), Err(Refused::Misdirected), "{target} {host:?}");
        }
    }

    #[test]
    fn a_body_is_refused_however_it_is_announced() {
        let framing = |name: &'static str, value: &'static str| {
            let request = Request::builder().header(name, value);
            admit_framing(&request.body(http_body_util::Empty::<&[u8]>::new()).unwrap())
        };
        assert_eq!(framing("content-length", "0"), Ok(()));
        assert_eq!(framing("content-length", "1"), Err(Refused::Body));
        assert_eq!(framing("transfer-encoding", "chunked"), Err(Refused::Body));
        let streamed = Request::new(http_body_util::Full::new(&b"x"[..]));
        assert_eq!(admit_framing(&streamed), Err(Refused::Body));
    }

    #[test]
    fn another_sites_request_is_refused() {
        let api = |lines: &[(&'static str, &'static str)]| {
            let lines: Vec<_> = [LOCAL].iter().chain(lines).copied().collect();
            admit_api(&request(&lines), &rules(None), true).map(drop)
        };
        assert_eq!(api(&[]), Ok(()));
        assert_eq!(api(&[("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:9090")]), Ok(()));
        assert_eq!(api(&[("sec-fetch-site", "none")]), Ok(()));
        for line in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "http://evil.example"),
            ("origin", "http://127.0.0.1:9091"),
            ("origin", "null"),
            ("origin", ""),
        ] {
            assert_eq!(api(&[line]), Err(Refused::OtherSite), "{line:?}");
        }
    }

    #[test]
    fn a_configured_token_is_required_and_without_one_only_this_machine_has_access() {
        let secured = rules(Some("admin-token"));
        let with = |line| admit_api(&request(&[LOCAL, ("authorization", line)]), &secured, false);
        assert_eq!(with("Bearer admin-token"), Ok(Bearer::Admin));
        assert_eq!(with("bearer admin-token"), Ok(Bearer::Admin));
        assert_eq!(with("Bearer refresh-token"), Ok(Bearer::Refresh));
        for line in
            ["Bearer wrong", "Bearer admin-token ", "Bearer  admin-token", "Basic admin-token", "admin-token"]
        {
            assert_eq!(with(line), Err(Refused::Unauthorized), "{line}");
        }
        assert_eq!(admit_api(&request(&[LOCAL]), &secured, true), Err(Refused::Unauthorized));
        assert_eq!(admit_api(&request(&[LOCAL]), &rules(None), false), Err(Refused::NotLocal));
    }
}
