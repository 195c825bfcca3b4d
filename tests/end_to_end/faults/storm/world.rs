//! The ground truth of the storm: the tenants, their calls, and the upstream's answers about them.

use crate::support::{Act, Config, Seen, reply};

use super::weather::Sky;

pub(super) const TENANTS: usize = 4;
pub(super) const NAMES: [&str; TENANTS] = ["alpha", "beta", "gamma", "delta"];
pub(super) const TOKENS: [&str; TENANTS] = [
    crate::support::TOKENS[0],
    crate::support::TOKENS[1],
    "token-of-gamma-0123456789abcdefghij",
    "token-of-delta-0123456789abcdefghij",
];
/// Each tenant's keys of one account.
pub(super) const KEYS: [[&str; 2]; TENANTS] = [
    ["upstream-key-of-alpha", "upstream-key-of-alpha"],
    ["upstream-key-of-beta", "upstream-key-of-beta"],
    ["upstream-key-of-gamma", "upstream-key-of-gamma"],
    ["upstream-key-of-delta", "second-upstream-key-of-delta"],
];
/// The tenant with a rate limit.
pub(super) const LIMITED: usize = 2;
pub(super) const MAX_CONNECTIONS: usize = 16;
/// Calls of a tenant.
const CALLS: u32 = 120;

/// One of the configurations that reloads change between. None changes what a client may see, but for
/// how long answers are kept.
pub(super) fn configuration(number: usize) -> Config {
    let pick = |choices: [&'static str; 3]| choices[number % 3];
    let upstream = format!(
        "connect_timeout = \"1s\"\nfirst_byte_timeout = \"1500ms\"\ntotal_timeout = \"3s\"\nmax_connections = {MAX_CONNECTIONS}"
    );
    let cache = pick([
        "ttl = \"24h\"",
        "ttl = \"1h\"\nsettle_ttl = \"10s\"",
        "ttl = \"2h\"\nnot_found_ttl = \"1s\"\nmax_entry_bytes = \"100KiB\"",
    ]);
    Config::default()
        .with("upstream", &upstream)
        .with("upstream.breaker", "open_for = \"300ms\"\nmin_requests = 10\nwindow = \"2s\"")
        .with("upstream.retry", pick(["", "max_attempts = 3", "budget_percent = 50"]))
        .with("cache", cache)
        .with("log", "access = \"all\"\nlevel = \"debug\"")
        .and(&format!(
            "[[tenants]]\nname = \"gamma\"\ntokens = [{{ value = \"{}\" }}]\nupstream_key = {{ value = \"{}\" }}\n\
             rate_limit = {{ per_second = 40, burst = 40 }}\n\
             [[tenants]]\nname = \"delta\"\ntokens = [{{ value = \"{}\" }}]\nupstream_key = {{ value = \"{}\" }}\n\
             upstream_key_next = {{ value = \"{}\" }}\n",
            TOKENS[2], KEYS[2][0], TOKENS[3], KEYS[3][0], KEYS[3][1]
        ))
}

/// A call that clients may request.
pub(super) fn id(random: &mut fastrand::Rng) -> String {
    let number = random.u32(..CALLS);
    match random.u8(..20) {
        0 => format!("call_missing{number}"),
        _ => format!("call_storm{number}"),
    }
}

/// Whether there is no such call.
pub(super) fn is_missing(id: &str) -> bool {
    id.starts_with("call_missing")
}

/// A word that is in every answer to this tenant about this call, and in no other.
pub(super) fn canary(tenant: usize, id: &str) -> String {
    format!("canary-of-{}-{id}", NAMES[tenant])
}

/// The number in a call's ID, which determines its properties.
fn number(id: &str) -> usize {
    id.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0)
}

/// Bytes of a call's largest field.
pub(super) fn filler(id: &str) -> String {
    let number = number(id);
    let bytes = if number % 20 == 7 { 150_000 } else { 50 + 17 * number };
    "x".repeat(bytes)
}

pub(super) fn body(tenant: usize, id: &str, request: usize) -> String {
    let status = if number(id) % 10 == 3 { "in_progress" } else { "completed" };
    format!(
        "{{\"success\":true,\"data\":{{\"id\":\"{id}\",\"status\":\"{status}\",\"canary\":\"{}\",\
         \"phone_number\":\"+12025550143\",\"summary\":\"promised to pay\",\"filler\":\"{}\"}},\
         \"meta\":{{\"request_id\":\"req_{request}\"}}}}",
        canary(tenant, id),
        filler(id)
    )
}

/// What the upstream does with a request.
pub(super) fn answer(seen: &Seen, sky: Sky) -> Vec<Act> {
    let json = "Content-Type: application/json";
    let key = seen.header("authorization").and_then(|line| line.strip_prefix("Bearer "));
    let tenant = KEYS.iter().position(|keys| key.is_some_and(|key| keys.contains(&key)));
    let Some(tenant) = tenant.filter(|_| key != sky.rejected_key()) else {
        return reply("401 Unauthorized", &[json], "{\"success\":false}");
    };
    match sky {
        Sky::Error(status) => return reply(&format!("{status} X"), &[json], "{\"success\":false}"),
        Sky::Page => return reply("200 OK", &["Content-Type: text/html"], "<html>promised to pay</html>"),
        Sky::TooMany => return reply("429 X", &["Retry-After: 1"], "{\"success\":false}"),
        // Another call than the one asked for.
        Sky::MixUp => return reply("200 OK", &[json], &body(tenant, "call_storm999", seen.number)),
        Sky::Clear | Sky::SecondKeyAlone => {}
    }
    if is_missing(seen.id()) {
        let envelope = "{\"success\":false,\"error\":{\"code\":\"NOT_FOUND\",\"message\":\"Call not found\"},\"meta\":{}}";
        return reply("404 Not Found", &[json], envelope);
    }
    let tag = format!("\"{}\"", number(seen.id()));
    if seen.header("if-none-match") == Some(tag.as_str()) {
        return vec![Act::Send(format!("HTTP/1.1 304 Not Modified\r\nETag: {tag}\r\n\r\n").into_bytes())];
    }
    let tag = format!("ETag: {tag}");
    // Some are stale soon, so that there is something to renew.
    let lines: &[&str] = match number(seen.id()) % 4 {
        0 => &[json, "Cache-Control: max-age=0, stale-while-revalidate=30, stale-if-error=3600", &tag],
        1 => &[json, "Cache-Control: max-age=1, stale-if-error=3600", &tag],
        _ => &[json],
    };
    reply("200 OK", lines, &body(tenant, seen.id(), seen.number))
}
