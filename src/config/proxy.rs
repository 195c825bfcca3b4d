//! The proxy that `HTTPS_PROXY` and `NO_PROXY` name for the upstream.

use std::collections::BTreeMap;
use std::fmt;

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;

use super::settings::BaseUrl;

/// An HTTP proxy that is asked to `CONNECT`: it sees the upstream's name and sealed bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Where it is.
    pub uri: Uri,
    /// `Proxy-Authorization`, if its URL has credentials.
    pub authorization: Option<HeaderValue>,
}

/// Shows no credentials.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({:?})", self.uri.host())
    }
}

impl Proxy {
    /// The proxy for an `https` upstream; none for a plain one.
    pub fn for_upstream(
        upstream: &BaseUrl,
        variables: &BTreeMap<String, String>,
    ) -> Result<Option<Self>, String> {
        let value = |name: &str| variables.get(name).or_else(|| variables.get(&name.to_ascii_lowercase()));
        let Some(proxy) = value("HTTPS_PROXY").filter(|proxy| !proxy.is_empty()) else { return Ok(None) };
        let target = upstream.to_string().parse::<Uri>().ok().filter(|_| !upstream.is_plaintext());
        let Some(target) = target else { return Ok(None) };
        let all = Matcher::builder().https(proxy.clone()).build();
        let is_http = |uri: &Uri| uri.scheme_str() == Some("http");
        if !all.intercept(&target).is_some_and(|intercept| is_http(intercept.uri())) {
            return Err("expected the URL of an HTTP proxy such as \"http://proxy.internal:3128\"".into());
        }
        let except = value("NO_PROXY").cloned().unwrap_or_default();
        let matcher = Matcher::builder().https(proxy.clone()).no(except).build();
        Ok(matcher.intercept(&target).map(|intercept| Self {
            uri: intercept.uri().clone(),
            authorization: intercept.basic_auth().cloned(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(url: &str, variables: &[(&str, &str)]) -> Result<Option<Proxy>, String> {
        let variables = variables.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        Proxy::for_upstream(&BaseUrl::parse(url).unwrap(), &variables)
    }

    const UPSTREAM: &str = "https://api.credira.com";

    #[test]
    fn the_environment_names_the_proxy_of_an_https_upstream() {
        for name in ["HTTPS_PROXY", "https_proxy"] {
            let found = proxy(UPSTREAM, &[(name, "http://proxy.internal:3128")]).unwrap().unwrap();
            assert_eq!(found.uri.to_string(), "http://proxy.internal:3128/");
        }
        assert_eq!(proxy("http://127.0.0.1:1", &[("HTTPS_PROXY", "http://p:1")]), Ok(None));
        assert_eq!(proxy(UPSTREAM, &[("HTTP_PROXY", "http://p:1")]), Ok(None));
        assert_eq!(proxy(UPSTREAM, &[("HTTPS_PROXY", "")]), Ok(None));
    }

    #[test]
    fn no_proxy_names_exceptions() {
        for except in ["api.credira.com", ".credira.com", "credira.com", "*", "other, api.credira.com"] {
            assert_eq!(
                proxy(UPSTREAM, &[("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", except)]),
                Ok(None),
                "{except}"
            );
        }
        assert!(
            proxy(UPSTREAM, &[("HTTPS_PROXY", "http://p:1"), ("no_proxy", "example.org")]).unwrap().is_some()
        );
    }

    #[test]
    fn credentials_are_taken_and_not_shown() {
        let found = proxy(UPSTREAM, &[("HTTPS_PROXY", "http://user:hunter2@p:1")]).unwrap().unwrap();
        assert_eq!(found.authorization.as_ref().unwrap(), "Basic dXNlcjpodW50ZXIy");
        assert!(!format!("{found:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_no_http_proxy_is_refused() {
        for odd in ["socks5://p:1", "https://p:1", "::"] {
            assert!(proxy(UPSTREAM, &[("HTTPS_PROXY", odd)]).is_err(), "{odd}");
        }
    }
}
