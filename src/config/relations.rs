//! Checks between sections, and of the environment. Takes only the sections that could be made, so that these
//! problems are reported beside all others.

use super::address::Address;
use super::checker::Checker;
use super::sections::Sections;
use super::units::{Size, Span};
use super::variables::resembles_override;

/// A cache below this holds a few dozen calls.
const SMALL_CACHE: u64 = 1 << 20;

/// Notes what is wrong or risky between sections.
pub(crate) fn check(sections: &Sections, checker: &mut Checker<'_>) {
    listeners(sections, checker);
    sockets(sections, checker);
    drain(sections, checker);
    caches(sections, checker);
    memory(sections, checker);
    passthroughs(sections, checker);
    fleet(sections, checker);
    variables(checker);
}

fn listeners(sections: &Sections, checker: &mut Checker<'_>) {
    let Some(listen) = &sections.listen else { return };
    let admin = sections.admin.iter().flat_map(|admin| &admin.addresses);
    if admin.into_iter().any(|admin| listen.addresses.iter().any(|address| address.collides_with(admin))) {
        checker.problem("admin.address", "expected another address than those of listen.address");
    }
    let connections = sections.limits.as_ref().map(|limits| limits.max_connections);
    if connections.is_some_and(|most| most < listen.addresses.len()) {
        // Each listener that waits for a client holds a permit for it.
        checker.problem("limits.max_connections", "expected at least one for each of listen.address");
    }
}

fn sockets(sections: &Sections, checker: &mut Checker<'_>) {
    let (Some(listen), Some(admin)) = (&sections.listen, &sections.admin) else { return };
    let mode = listen.socket_mode;
    let is_open = mode.admits_everyone() && admin.token.is_none();
    if is_open && admin.addresses.iter().any(Address::is_unix) {
        let message = format!(
            "with {mode}, every user of this machine may use the admin plane, which has no admin.token: set one, \
             or a mode such as \"0660\""
        );
        checker.warn("listen.socket_mode", message);
    }
}

fn drain(sections: &Sections, checker: &mut Checker<'_>) {
    let (Some(shutdown), Some(upstream)) = (&sections.shutdown, &sections.upstream) else { return };
    let (drain, total) = (shutdown.drain_timeout, upstream.total_timeout);
    if drain < total {
        let [drain, total] = [drain, total].map(Span::from);
        let message = format!(
            "{drain} is shorter than upstream.total_timeout ({total}): a stop ends lookups with 503 that the \
             upstream could still answer"
        );
        checker.warn("shutdown.drain_timeout", message);
    }
}

fn caches(sections: &Sections, checker: &mut Checker<'_>) {
    let (Some(cache), Some(tenants)) = (&sections.cache, &sections.tenants) else { return };
    if cache.cacheable_statuses.is_empty() {
        let message = "empty: no call is ever stored, and none is final, so that a lookup waits to its end";
        checker.warn("cache.cacheable_statuses", message);
    }
    let mut warn = |key: &str, bytes: u64| {
        let size = Size::from(bytes);
        let entry = Size::from(cache.max_entry_bytes);
        if bytes < SMALL_CACHE {
            checker.warn(key, format!("{size} is a very small cache: it holds a few dozen calls at most"));
        } else if bytes < entry.bytes() {
            let message =
                format!("{size} is less than cache.max_entry_bytes ({entry}): larger calls are never stored");
            checker.warn(key, message);
        }
    };
    warn("cache.max_bytes_per_tenant", cache.max_bytes_per_tenant);
    for (place, tenant) in tenants.iter().enumerate() {
        if tenant.cache_max_bytes != cache.max_bytes_per_tenant {
            warn(&format!("tenants[{place}].cache_max_bytes"), tenant.cache_max_bytes);
        }
    }
}

fn passthroughs(sections: &Sections, checker: &mut Checker<'_>) {
    let (Some(passthroughs), Some(tenants)) = (&sections.passthrough, &sections.tenants) else { return };
    for (place, passthrough) in passthroughs.iter().enumerate() {
        for (at, name) in passthrough.tenants.iter().enumerate() {
            if !tenants.iter().any(|tenant| tenant.name == *name) {
                checker.problem(&format!("passthrough[{place}].tenants[{at}]"), "no tenant of this name");
            }
        }
    }
}

fn fleet(sections: &Sections, checker: &mut Checker<'_>) {
    let (Some(shared), Some(tenants)) = (&sections.shared, &sections.tenants) else { return };
    let has_limits = tenants.iter().any(|tenant| tenant.rate_limit.or(tenant.upstream_limit).is_some());
    let is_unsaid =
        shared.engine.as_ref().is_some_and(|engine| engine.limits && engine.expected_gateways.is_none());
    if has_limits && is_unsaid {
        let message = "not set, so a gateway that has never reached the engine allows each limit in full: set the \
                       number of gateways";
        checker.warn("shared.expected_gateways", message);
    }
}

fn memory(sections: &Sections, checker: &mut Checker<'_>) {
    let (Some(tenants), Some(limit)) = (&sections.tenants, checker.machine.memory_limit) else { return };
    let caches = tenants.iter().fold(0_u64, |sum, tenant| sum.saturating_add(tenant.cache_max_bytes));
    if caches > limit {
        let [caches, limit] = [caches, limit].map(Size::from);
        let message = format!(
            "the caches of all tenants may grow to {caches}, but the memory limit of this process is {limit}: \
             lower the size or raise the limit"
        );
        checker.warn("cache.max_bytes_per_tenant", message);
    }
}

/// Names that are nearly overrides. A variable that the file reads a secret from is meant as it is.
fn variables(checker: &mut Checker<'_>) {
    let similar = checker.secrets.variables.keys().filter(|name| resembles_override(name));
    let similar: Vec<String> = similar.filter(|name| !checker.reads_secret_from(name)).cloned().collect();
    for name in similar {
        let message =
            "overrides nothing: keys are overridden by CREDIRA_GATEWAY__SECTION__KEY, with two underscores";
        checker.warn(&format!("environment variable {name}"), message);
    }
}
