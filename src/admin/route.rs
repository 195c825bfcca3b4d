//! The admin plane's routes.

use http::Method;

use crate::domain::{CallId, PurgeTarget, TenantName};

/// A request's route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// `GET /`.
    Page,
    /// `GET /openapi.yaml`.
    OpenApi,
    /// `GET /metrics`.
    Metrics,
    /// `GET /livez`.
    Livez,
    /// `GET /readyz`.
    Readyz,
    /// `GET /api/v1/stats`.
    Stats,
    /// `GET /api/v1/history`.
    History,
    /// `GET /api/v1/config`.
    Config,
    /// `GET /api/v1/cache/{tenant}/{id}`.
    Entry(TenantName, CallId),
    /// `GET /api/v1/explain/{tenant}/{id}`; the ID as it was sent.
    Explain(TenantName, String),
    /// `DELETE` below `/api/v1/cache`.
    Purge(PurgeTarget),
    /// `POST /api/v1/cache/{tenant}/{id}/refresh`.
    Refresh(TenantName, CallId),
    /// `POST /api/v1/reload`.
    Reload,
    /// `DELETE /api/v1/fleet/{name}`: a gateway that won't come back.
    Forget(String),
}

impl Route {
    /// Whether it changes anything.
    pub(crate) const fn is_mutation(&self) -> bool {
        match self {
            Self::Purge(_) | Self::Refresh(..) | Self::Reload | Self::Forget(_) => true,
            Self::Page
            | Self::OpenApi
            | Self::Metrics
            | Self::Livez
            | Self::Readyz
            | Self::Stats
            | Self::History
            | Self::Config
            | Self::Entry(..)
            | Self::Explain(..) => false,
        }
    }
}

/// Why there is no route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoute {
    /// Unknown path.
    NotFound,
    /// Known path with a malformed tenant name.
    Tenant,
    /// Known path with a malformed call ID.
    CallId,
    /// Known path that supports these other methods.
    Method(&'static str),
}

/// The area of a path, which determines who has access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Area {
    /// `/`: a page for browsers.
    Page,
    Api,
    /// The rest.
    Open,
}

/// The area of a path.
pub(crate) fn area(path: &str) -> Area {
    match path {
        "/" => Area::Page,
        "/api" => Area::Api,
        _ if path.starts_with("/api/") => Area::Api,
        _ => Area::Open,
    }
}

/// Every path, as in the OpenAPI description, with its methods. `HEAD` comes with `GET`.
#[cfg(test)]
pub(crate) const ALL: [(&str, &[&str]); 15] = [
    ("/", &["GET"]),
    ("/openapi.yaml", &["GET"]),
    ("/metrics", &["GET"]),
    ("/livez", &["GET"]),
    ("/readyz", &["GET"]),
    ("/api/v1/stats", &["GET"]),
    ("/api/v1/history", &["GET"]),
    ("/api/v1/config", &["GET"]),
    ("/api/v1/explain/{tenant}/{id}", &["GET"]),
    ("/api/v1/reload", &["POST"]),
    ("/api/v1/cache", &["DELETE"]),
    ("/api/v1/cache/{tenant}", &["DELETE"]),
    ("/api/v1/cache/{tenant}/{id}", &["GET", "DELETE"]),
    ("/api/v1/cache/{tenant}/{id}/refresh", &["POST"]),
    ("/api/v1/fleet/{name}", &["DELETE"]),
];

/// Whether a request is one for a refresh, whatever its tenant and call.
pub(crate) fn asks_for_refresh(method: &Method, path: &str) -> bool {
    let object = path.strip_prefix("/api/v1/cache/").and_then(|rest| rest.strip_suffix("/refresh"));
    *method == Method::POST && object.is_some_and(|object| object.matches('/').count() == 1)
}

/// Reads method and path.
pub(crate) fn route(method: &Method, path: &str) -> Result<Route, NoRoute> {
    let Some(path) = path.strip_prefix('/') else { return Err(NoRoute::NotFound) };
    let segments: Vec<&str> = path.split('/').collect();
    let get = |route| allow(method, &[Method::GET, Method::HEAD], "GET, HEAD", route);
    match segments.as_slice() {
        [""] => get(Route::Page),
        ["openapi.yaml"] => get(Route::OpenApi),
        ["metrics"] => get(Route::Metrics),
        ["livez"] => get(Route::Livez),
        ["readyz"] => get(Route::Readyz),
        ["api", "v1", "stats"] => get(Route::Stats),
        ["api", "v1", "history"] => get(Route::History),
        ["api", "v1", "config"] => get(Route::Config),
        ["api", "v1", "explain", tenant, id] => get(Route::Explain(name(tenant)?, (*id).to_owned())),
        ["api", "v1", "reload"] => allow(method, &[Method::POST], "POST", Route::Reload),
        ["api", "v1", "cache"] => allow(method, &[Method::DELETE], "DELETE", Route::Purge(PurgeTarget::All)),
        ["api", "v1", "cache", tenant] => {
            allow(method, &[Method::DELETE], "DELETE", Route::Purge(PurgeTarget::Tenant(name(tenant)?)))
        }
        ["api", "v1", "cache", tenant, id] => {
            let (tenant, id) = (name(tenant)?, CallId::parse(id.as_bytes()).map_err(|_| NoRoute::CallId)?);
            if *method == Method::DELETE {
                return Ok(Route::Purge(PurgeTarget::Call(tenant, id)));
            }
            allow(method, &[Method::GET, Method::HEAD], "GET, HEAD, DELETE", Route::Entry(tenant, id))
        }
        ["api", "v1", "fleet", member] if is_member_name(member) => {
            allow(method, &[Method::DELETE], "DELETE", Route::Forget((*member).to_owned()))
        }
        ["api", "v1", "cache", tenant, id, "refresh"] => {
            let (tenant, id) = (name(tenant)?, CallId::parse(id.as_bytes()).map_err(|_| NoRoute::CallId)?);
            allow(method, &[Method::POST], "POST", Route::Refresh(tenant, id))
        }
        _ => Err(NoRoute::NotFound),
    }
}

fn is_member_name(segment: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    (1..=255).contains(&segment.len()) && segment.bytes().all(is_plain)
}

fn name(segment: &str) -> Result<TenantName, NoRoute> {
    TenantName::parse(segment).map_err(|_| NoRoute::Tenant)
}

fn allow(method: &Method, allowed: &[Method], shown: &'static str, route: Route) -> Result<Route, NoRoute> {
    if allowed.contains(method) { Ok(route) } else { Err(NoRoute::Method(shown)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: &str, path: &str) -> Result<Route, NoRoute> {
        route(&method.parse().unwrap(), path)
    }

    #[test]
    fn what_changes_something_is_never_a_get() {
        assert_eq!(of("POST", "/api/v1/reload"), Ok(Route::Reload));
        assert_eq!(of("GET", "/api/v1/reload"), Err(NoRoute::Method("POST")));
        assert_eq!(of("DELETE", "/api/v1/cache"), Ok(Route::Purge(PurgeTarget::All)));
        for method in ["GET", "POST", "PUT"] {
            assert_eq!(of(method, "/api/v1/cache"), Err(NoRoute::Method("DELETE")));
            assert_eq!(of(method, "/api/v1/cache/a"), Err(NoRoute::Method("DELETE")));
        }
        assert_eq!(of("POST", "/api/v1/cache/a/call_1"), Err(NoRoute::Method("GET, HEAD, DELETE")));
        assert_eq!(of("DELETE", "/metrics"), Err(NoRoute::Method("GET, HEAD")));
    }

    #[test]
    fn the_scope_of_a_purge_is_its_path() {
        let tenant = TenantName::parse("a").unwrap();
        let id = CallId::parse(b"call_1").unwrap();
        assert_eq!(of("DELETE", "/api/v1/cache/a"), Ok(Route::Purge(PurgeTarget::Tenant(tenant.clone()))));
        assert_eq!(of("DELETE", "/api/v1/cache/a/call_1"), Ok(Route::Purge(PurgeTarget::Call(tenant, id))));
        for (path, why) in [
            ("/api/v1/cache/", NoRoute::Tenant),
            ("/api/v1/cache/*", NoRoute::Tenant),
            ("/api/v1/cache/A", NoRoute::Tenant),
            ("/api/v1/cache/a/", NoRoute::CallId),
            ("/api/v1/cache/a/*", NoRoute::CallId),
            ("/api/v1/cache/a/call_1/", NoRoute::NotFound),
        ] {
            assert_eq!(of("DELETE", path), Err(why), "{path}");
        }
    }

    #[test]
    fn only_the_api_is_the_api() {
        assert_eq!((area("/api/v1/stats"), area("/api"), area("/api/")), (Area::Api, Area::Api, Area::Api));
        assert_eq!((area("/metrics"), area("/apix"), area("/")), (Area::Open, Area::Open, Area::Page));
    }

    #[test]
    fn the_list_has_every_path_with_its_methods() {
        for (path, methods) in ALL {
            let path = path.replace("{tenant}", "a").replace("{id}", "call_1").replace("{name}", "pod-7");
            for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
                let listed = methods.contains(&method) || (method == "HEAD" && methods.contains(&"GET"));
                assert_eq!(of(method, &path).is_ok(), listed, "{method} {path}");
            }
        }
        assert_eq!(of("OPTIONS", "*"), Err(NoRoute::NotFound));
    }
}
