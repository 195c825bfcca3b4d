//! Who may ask the admin plane what.
//!
//! Browsers are the danger: a page from elsewhere that an operator looks at must not reach this
//! listener through the operator's own machine, neither by a form (another site's request) nor by a
//! name that points here (DNS rebinding).

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, StatusCode};
use serde_json::Value;

use crate::config::{Settings, Shown};
use crate::domain::{TokenHash, is_token68};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The rules of one configuration, and what of it may be shown.
pub struct Rules {
    hosts: Vec<String>,
    token: Option<TokenHash>,
    /// The effective configuration.
    pub shown: Value,
}

impl Rules {
    /// The rules of these settings.
    pub fn of(settings: &Settings) -> Self {
        Self {
            hosts: settings.admin.hosts.clone(),
            token: settings.admin.token.as_ref().map(|(hash, _)| *hash),
            shown: serde_json::to_value(Shown::of(settings)).unwrap_or_default(),
        }
    }
}

/// A refusal of the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// The request was meant for another name.
    Misdirected,
    /// A page of another site sent it.
    OtherSite,
    /// There is no token, and the listener can be reached from elsewhere.
    NotLocal,
    /// No token, or a wrong one.
    Unauthorized,
}

impl Denied {
    /// Status, code and words.
    pub const fn envelope(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Misdirected => (
                StatusCode::MISDIRECTED_REQUEST,
                "MISDIRECTED",
                "This Host is not served here; add it to admin.hosts if it should be",
            ),
            Self::OtherSite => (StatusCode::FORBIDDEN, "FORBIDDEN", "Requests from other sites are refused"),
            Self::NotLocal => (
                StatusCode::FORBIDDEN,
                "FORBIDDEN",
                "Without admin.token, the admin API answers only on loopback and Unix sockets",
            ),
            Self::Unauthorized => {
                (StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "Invalid or missing admin token")
            }
        }
    }
}

/// Whether the page itself may be shown: under a name that can't have been made to point here.
pub fn admit_page(headers: &HeaderMap, rules: &Rules) -> Result<(), Denied> {
    if is_known_host(headers, &rules.hosts) { Ok(()) } else { Err(Denied::Misdirected) }
}

/// Whether the API may be asked, by a listener that only this machine can reach or not.
pub fn admit_api(headers: &HeaderMap, rules: &Rules, is_local: bool) -> Result<(), Denied> {
    admit_page(headers, rules)?;
    if is_other_site(headers) {
        return Err(Denied::OtherSite);
    }
    match &rules.token {
        Some(token) if bearer(headers) == Some(*token) => Ok(()),
        Some(_) => Err(Denied::Unauthorized),
        None if is_local => Ok(()),
        None => Err(Denied::NotLocal),
    }
}

/// The digest of the bearer token. Comparing digests takes the same time however close a guess is.
fn bearer(headers: &HeaderMap) -> Option<TokenHash> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let line = lines.next().filter(|_| lines.next().is_none())?.as_bytes();
    let (scheme, token) = line.split_at_checked("bearer ".len())?;
    (scheme.eq_ignore_ascii_case(b"bearer ") && is_token68(token)).then(|| TokenHash::of(token))
}

/// An IP literal, `localhost`, or a name of the configuration. Only names can be made to point here.
fn is_known_host(headers: &HeaderMap, hosts: &[String]) -> bool {
    let mut lines = headers.get_all(HOST).iter();
    let line = lines.next().filter(|_| lines.next().is_none());
    let authority = line.and_then(|line| line.to_str().ok()?.parse::<Authority>().ok());
    // HTTP/2 has its authority elsewhere, and browsers speak it only behind TLS.
    let Some(authority) = authority else { return false };
    let host = authority.host().to_ascii_lowercase();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
    bare.parse::<std::net::IpAddr>().is_ok() || host == "localhost" || hosts.contains(&host)
}

/// Whether a browser says that a page of another origin sent this.
fn is_other_site(headers: &HeaderMap) -> bool {
    let text =
        |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?").to_ascii_lowercase());
    let site = text(&SEC_FETCH_SITE);
    if site.is_some_and(|site| site != "same-origin" && site != "none") {
        return true;
    }
    let host = text(&HOST).unwrap_or_default();
    text(&ORIGIN)
        .is_some_and(|origin| origin.split_once("://").is_none_or(|(_, authority)| authority != host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(token: Option<&str>) -> Rules {
        let token = token.map(|token| TokenHash::of(token.as_bytes()));
        Rules { hosts: vec!["gateway.internal".into()], token, shown: Value::Null }
    }

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    const LOCAL: (&str, &str) = ("host", "127.0.0.1:9090");

    #[test]
    fn only_names_that_cannot_be_made_to_point_here_are_served() {
        for host in
            ["127.0.0.1:9090", "10.1.2.3", "[::1]:9090", "localhost", "LOCALHOST:9090", "gateway.internal:80"]
        {
            assert_eq!(admit_page(&headers(&[("host", host)]), &rules(None)), Ok(()), "{host}");
        }
        for host in
            ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "gateway.internal.evil"]
        {
            assert_eq!(
                admit_page(&headers(&[("host", host)]), &rules(None)),
                Err(Denied::Misdirected),
                "{host}"
            );
        }
        assert_eq!(admit_page(&headers(&[]), &rules(None)), Err(Denied::Misdirected));
        assert_eq!(admit_page(&headers(&[LOCAL, LOCAL]), &rules(None)), Err(Denied::Misdirected));
    }

    #[test]
    fn another_sites_request_is_refused() {
        let api = |lines: &[(&'static str, &'static str)]| {
            let lines: Vec<_> = [LOCAL].iter().chain(lines).copied().collect();
            admit_api(&headers(&lines), &rules(None), true)
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
        ] {
            assert_eq!(api(&[line]), Err(Denied::OtherSite), "{line:?}");
        }
    }

    #[test]
    fn a_token_is_asked_for_if_there_is_one_and_without_one_only_this_machine_may_ask() {
        let secured = rules(Some("admin-token"));
        let with = |line| admit_api(&headers(&[LOCAL, ("authorization", line)]), &secured, false);
        assert_eq!(with("Bearer admin-token"), Ok(()));
        assert_eq!(with("bearer admin-token"), Ok(()));
        for line in
            ["Bearer wrong", "Bearer admin-token ", "Bearer  admin-token", "Basic admin-token", "admin-token"]
        {
            assert_eq!(with(line), Err(Denied::Unauthorized), "{line}");
        }
        assert_eq!(admit_api(&headers(&[LOCAL]), &secured, true), Err(Denied::Unauthorized));
        assert_eq!(admit_api(&headers(&[LOCAL]), &rules(None), false), Err(Denied::NotLocal));
    }
}
