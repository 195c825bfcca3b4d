//! The admin plane's routes.

use http::Method;

use crate::domain::{CallId, TenantName};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
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
    Purge(Scope),
    /// `POST /api/v1/reload`.
    Reload,
}

/// What is purged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// One call of a tenant.
    Call(TenantName, CallId),
    /// A tenant.
    Tenant(TenantName),
    /// Everything.
    All,
}

/// Why nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoute {
    /// There is no such path.
    NotFound,
    /// There is, but not for this method; these are.
    Method(&'static str),
}

/// What kind of path it is, which decides who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// `/`: a page for browsers.
    Page,
    /// `/api/`.
    Api,
    /// The rest.
    Open,
}

/// The area of a path.
pub fn area(path: &str) -> Area {
    match path {
        "/" => Area::Page,
        "/api" => Area::Api,
        _ if path.starts_with("/api/") => Area::Api,
        _ => Area::Open,
    }
}

/// Every path, as the description has it, with the methods that it takes; `HEAD` goes with `GET`.
#[cfg(test)]
pub const ALL: [(&str, &[&str]); 13] = [
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
];

/// Reads method and path.
pub fn route(method: &Method, path: &str) -> Result<Route, NoRoute> {
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
        ["api", "v1", "cache"] => allow(method, &[Method::DELETE], "DELETE", Route::Purge(Scope::All)),
        ["api", "v1", "cache", tenant] => {
            allow(method, &[Method::DELETE], "DELETE", Route::Purge(Scope::Tenant(name(tenant)?)))
        }
        ["api", "v1", "cache", tenant, id] => {
            let (tenant, id) = (name(tenant)?, CallId::parse(id.as_bytes()).map_err(|_| NoRoute::NotFound)?);
            if *method == Method::DELETE {
                return Ok(Route::Purge(Scope::Call(tenant, id)));
            }
            allow(method, &[Method::GET, Method::HEAD], "GET, HEAD, DELETE", Route::Entry(tenant, id))
        }
        _ => Err(NoRoute::NotFound),
    }
}

fn name(segment: &str) -> Result<TenantName, NoRoute> {
    TenantName::parse(segment).map_err(|_| NoRoute::NotFound)
}

fn allow(method: &Method, allowed: &[Method], told: &'static str, route: Route) -> Result<Route, NoRoute> {
    if allowed.contains(method) { Ok(route) } else { Err(NoRoute::Method(told)) }
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
        assert_eq!(of("DELETE", "/api/v1/cache"), Ok(Route::Purge(Scope::All)));
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
        assert_eq!(of("DELETE", "/api/v1/cache/a"), Ok(Route::Purge(Scope::Tenant(tenant.clone()))));
        assert_eq!(of("DELETE", "/api/v1/cache/a/call_1"), Ok(Route::Purge(Scope::Call(tenant, id))));
        for path in
            ["/api/v1/cache/", "/api/v1/cache/*", "/api/v1/cache/a/", "/api/v1/cache/a/*", "/api/v1/cache/A"]
        {
            assert_eq!(of("DELETE", path), Err(NoRoute::NotFound), "{path}");
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
            let path = path.replace("{tenant}", "a").replace("{id}", "call_1");
            for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
                let listed = methods.contains(&method) || (method == "HEAD" && methods.contains(&"GET"));
                assert_eq!(of(method, &path).is_ok(), listed, "{method} {path}");
            }
        }
        assert_eq!(of("OPTIONS", "*"), Err(NoRoute::NotFound));
    }
}
