//! The proxy that `HTTPS_PROXY` and `NO_PROXY` name for the upstream.

use std::collections::BTreeMap;
use std::fmt;

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;

use super::base_url::BaseUrl;

/// An HTTP proxy that is asked to `CONNECT`: it sees the upstream's name and encrypted bytes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) uri: Uri,
    /// `Proxy-Authorization`, if its URL has credentials.
    pub(crate) authorization: Option<HeaderValue>,
}

/// Shows no credentials.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({:?})", self.uri.host())
    }
}

/// The variable is set to something that isn't an HTTP proxy.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidProxy {
    pub(crate) variable: String,
}

impl Proxy {
    /// The proxy for an `https` upstream; a plaintext one has none. The variables are read only where they apply: the
    /// environment may have been set for other programs.
    pub(crate) fn for_upstream(
        upstream: &BaseUrl,
        variables: &BTreeMap<String, String>,
    ) -> Result<Option<Self>, InvalidProxy> {
        let set = |name: &str| {
            let names = [name.to_owned(), name.to_ascii_lowercase()];
            names.into_iter().find_map(|name| Some((variables.get(&name)?, name)))
        };
        let Some((proxy, variable)) = set("HTTPS_PROXY").filter(|(proxy, _)| !proxy.is_empty()) else {
            return Ok(None);
        };
        let target = upstream.to_string().parse::<Uri>().ok().filter(|_| !upstream.is_plaintext());
        let Some(target) = target else { return Ok(None) };
        let exempt = set("NO_PROXY").map(|(exempt, _)| hosts_for_port(exempt, upstream.port()));
        let matcher = Matcher::builder().no(exempt.unwrap_or_default());
        // Whether the upstream is exempt doesn't depend on the proxy.
        if matcher.https(EXAMPLE).build().intercept(&target).is_none() {
            return Ok(None);
        }
        match Matcher::builder().https(proxy.clone()).build().intercept(&target) {
            Some(intercept) if intercept.uri().scheme_str() == Some("http") => Ok(Some(Self {
                uri: intercept.uri().clone(),
                authorization: intercept.basic_auth().cloned(),
            })),
            Some(_) | None => Err(InvalidProxy { variable }),
        }
    }
}

/// A valid proxy.
const EXAMPLE: &str = "http://proxy.internal:3128";

/// The hosts of `NO_PROXY` that are exempt at this port: `host:port` applies to one port, `host` to all.
fn hosts_for_port(exempt: &str, port: u16) -> String {
    let host = |entry: &str| {
        let entry = entry.trim();
        match entry.rsplit_once(':') {
            // More than one colon without brackets is an IPv6 address without a port.
            Some((host, named)) if !host.contains(':') || host.ends_with(']') => {
                let bare = host.trim_start_matches('[').trim_end_matches(']');
                (named.parse() == Ok(port)).then(|| bare.to_owned())
            }
            Some(_) | None => Some(entry.trim_start_matches('[').trim_end_matches(']').to_owned()),
        }
    };
    exempt.split(',').filter_map(host).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(url: &str, variables: &[(&str, &str)]) -> Result<Option<Proxy>, InvalidProxy> {
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
    fn no_proxy_exempts_hosts_domains_and_hosts_at_a_port() {
        let is_exempt = |url: &str, exempt: &str| {
            proxy(url, &[("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", exempt)]).unwrap().is_none()
        };
        for exempt in [
            "api.credira.com",
            ".credira.com",
            "credira.com",
            "*",
            "other, api.credira.com",
            "api.credira.com:443",
            ".credira.com:443",
            "other:1, api.credira.com:443 ",
        ] {
            assert!(is_exempt(UPSTREAM, exempt), "{exempt}");
        }
        for exempt in ["", "example.org", "api.credira.com:8443", "api.credira.com:", "credira.com:80"] {
            assert!(!is_exempt(UPSTREAM, exempt), "{exempt}");
        }
        assert!(is_exempt("https://upstream.test:8443", "upstream.test:8443"));
        assert!(!is_exempt("https://upstream.test:8443", "upstream.test:443"));
        for exempt in ["::1", "[::1]", "[::1]:8443", "::/0"] {
            assert!(is_exempt("https://[::1]:8443", exempt), "{exempt}");
        }
        assert!(!is_exempt("https://[::1]:8443", "[::1]:443"));
        assert!(is_exempt("https://10.1.2.3:8443", "10.0.0.0/8"));
    }

    #[test]
    fn an_invalid_proxy_does_not_matter_where_the_upstream_is_exempt() {
        let odd = ("HTTPS_PROXY", "socks5://p:1");
        for exempt in ["api.credira.com", "api.credira.com:443"] {
            assert_eq!(proxy(UPSTREAM, &[odd, ("NO_PROXY", exempt)]), Ok(None));
        }
        assert_eq!(proxy("http://127.0.0.1:1", &[odd]), Ok(None));
    }

    #[test]
    fn credentials_are_taken_and_not_shown() {
        let found = proxy(UPSTREAM, &[("HTTPS_PROXY", "http://user:hunter2@p:1")]).unwrap().unwrap();
        assert_eq!(found.authorization.as_ref().unwrap(), "Basic dXNlcjpodW50ZXIy");
        assert!(!format!("{found:?}").contains("hunter2"));
    }

    #[test]
    fn a_proxy_that_speaks_no_http_is_refused_under_the_name_of_its_variable() {
        for odd in ["socks5://p:1", "https://p:1", "::"] {
            for variable in ["HTTPS_PROXY", "https_proxy"] {
                let refused = proxy(UPSTREAM, &[(variable, odd)]);
                assert_eq!(refused, Err(InvalidProxy { variable: variable.into() }), "{odd}");
            }
        }
    }
}
