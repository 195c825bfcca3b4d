//! `[[passthrough]]`.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::checker::{Checker, well_formed};
use crate::config::section::Section;
use crate::config::units::Size;
use crate::domain::{METHODS, PassthroughEndpoint, PathTemplate, TenantName};

/// The largest body that may be passed through.
const LARGEST_BODY: u64 = 16 << 20;

/// Further endpoints of the API, passed through with the tenant's key. None by default, and nothing matches by
/// prefix.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "Passthroughs")]
pub(crate) struct RawPassthroughs(#[schemars(with = "Vec<RawPassthrough>")] Vec<Option<RawPassthrough>>);

/// One endpoint.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Passthrough")]
pub(crate) struct RawPassthrough {
    /// `GET`, `HEAD`, `POST`, `PUT`, `PATCH` or `DELETE`.
    #[schemars(with = "String")]
    method: Option<String>,
    /// Literal segments `[A-Za-z0-9_.-]+`, and `{id}` for one of `[A-Za-z0-9_-]{1,64}`. Not one that the gateway
    /// itself answers.
    #[schemars(with = "String")]
    path: Option<String>,
    /// Names of the parameters that the query may have, each at most once, with values of
    /// `[A-Za-z0-9_.:@-]{1,128}`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    query: Vec<Option<String>>,
    /// The largest body, at most 16MiB; `"0B"`, the default for `GET` and `HEAD`: none. Default `"64KiB"`
    /// otherwise.
    max_body_bytes: Option<Size>,
    /// The tenants that may use it.
    #[schemars(with = "Vec<String>")]
    tenants: Vec<Option<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PassthroughSettings {
    pub(crate) endpoint: PassthroughEndpoint,
    /// The tenants that may use it.
    pub(crate) tenants: Vec<TenantName>,
}

#[derive(Debug, Serialize)]
pub(crate) struct EffectivePassthrough {
    method: String,
    path: String,
    query: Vec<String>,
    max_body_bytes: Size,
    tenants: Vec<String>,
}

impl Section for Vec<PassthroughSettings> {
    type Raw = RawPassthroughs;
    type Effective = Vec<EffectivePassthrough>;

    fn check(RawPassthroughs(raw): RawPassthroughs, checker: &mut Checker<'_>) -> Option<Self> {
        let mut all = Self::with_capacity(raw.len());
        let mut all_right = true;
        for (place, raw) in well_formed(&raw) {
            let key = format!("passthrough[{place}]");
            let Some(next) = PassthroughSettings::check(&key, raw, checker) else {
                all_right = false;
                continue;
            };
            let collides = |known: &PassthroughSettings| {
                known.endpoint.collides_with(&next.endpoint)
                    && known.tenants.iter().any(|tenant| next.tenants.contains(tenant))
            };
            if all.iter().any(collides) {
                checker
                    .problem(&format!("{key}.path"), "another entry of the same tenant answers this already");
            }
            all.push(next);
        }
        all_right.then_some(all)
    }

    fn show(&self) -> Vec<EffectivePassthrough> {
        let show = |PassthroughSettings { endpoint, tenants }: &PassthroughSettings| EffectivePassthrough {
            method: endpoint.method.to_string(),
            path: endpoint.path().as_str().to_owned(),
            query: endpoint.query().to_vec(),
            max_body_bytes: endpoint.max_body_bytes.into(),
            tenants: tenants.iter().map(ToString::to_string).collect(),
        };
        self.iter().map(show).collect()
    }
}

impl PassthroughSettings {
    fn check(key: &str, raw: &RawPassthrough, checker: &mut Checker<'_>) -> Option<Self> {
        let method = METHODS.into_iter().find(|method| raw.method.as_deref() == Some(method.as_str()));
        let expected = "expected \"GET\", \"HEAD\", \"POST\", \"PUT\", \"PATCH\" or \"DELETE\"";
        let method = checker.take(&format!("{key}.method"), method.ok_or(expected));
        let path = raw.path.as_deref().map(PathTemplate::parse);
        let path = path.and_then(|path| checker.take(&format!("{key}.path"), path));
        let mut query: Vec<String> = Vec::new();
        for (place, name) in well_formed(&raw.query) {
            if !PassthroughEndpoint::is_parameter(name) || query.contains(name) {
                checker
                    .problem(&format!("{key}.query[{place}]"), "expected a name [A-Za-z0-9_-]+, each once");
            }
            query.push(name.clone());
        }
        let mut tenants = Vec::new();
        for (place, name) in well_formed(&raw.tenants) {
            let name = TenantName::parse(name).map_err(|_| "expected the name of a tenant");
            tenants.extend(checker.take(&format!("{key}.tenants[{place}]"), name));
        }
        if raw.tenants.is_empty() {
            checker.problem(&format!("{key}.tenants"), "expected at least one tenant");
        }
        let (method, path) = (method?, path?);
        let is_read = matches!(method, Method::GET | Method::HEAD);
        let default = if is_read { Size::kib(0) } else { Size::kib(64) };
        let max = raw.max_body_bytes.unwrap_or(default).bytes();
        if max > LARGEST_BODY || (is_read && max > 0) {
            let expected =
                if is_read { "expected \"0B\": this method takes no body" } else { "expected at most 16MiB" };
            checker.problem(&format!("{key}.max_body_bytes"), expected);
        }
        if format!("{}/", path.as_str()).starts_with("/v1/users/") {
            checker
                .warn(&format!("{key}.path"), "answers about users hold API keys, which callers would see");
        }
        let endpoint =
            PassthroughEndpoint::new(method, path, query, usize::try_from(max).unwrap_or(usize::MAX));
        Some(Self { endpoint: checker.take(&format!("{key}.path"), endpoint)?, tenants })
    }
}
