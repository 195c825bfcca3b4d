//! `explain`.

use std::fmt::Write;

use http::Method;
use serde_json::Value;

use super::admin_plane::{AdminPlane, pretty};
use super::args::ExplainArgs;
use super::outcome::{Exit, print};

pub(crate) fn run(args: &ExplainArgs) -> Result<(), Exit> {
    // A malformed ID can be explained, too, but it must be a single path segment.
    let segment = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b'?' | b'#'));
    if ![&args.tenant, &args.id].into_iter().all(|text| segment(text)) {
        return Err(Exit::Usage("expected a tenant's name and a call's ID".into()));
    }
    let path = format!("/api/v1/explain/{}/{}{}", args.tenant, args.id, query(args));
    let explanation = AdminPlane::of(&args.admin)?.api(&Method::GET, &path)?;
    print(&if args.admin.json { pretty(&explanation) } else { text(&explanation) })
}

/// The fields of the lookup, where some are given.
fn query(args: &ExplainArgs) -> String {
    let fields = [("cache-control", &args.cache_control), ("prefer", &args.prefer)];
    let pairs = fields.into_iter().filter_map(|(name, value)| {
        let encoded = value.as_ref()?.bytes().map(|byte| format!("%{byte:02X}"));
        Some(format!("{name}={}", encoded.collect::<String>()))
    });
    let query = pairs.collect::<Vec<_>>().join("&");
    if query.is_empty() { query } else { format!("?{query}") }
}

fn text(explanation: &Value) -> String {
    let word = |name: &str| explanation.get(name).and_then(Value::as_str).unwrap_or("?");
    let mut out = format!("{}/{}: {}\n\n", word("tenant"), word("id"), verdict(explanation));
    for decision in explanation.get("decisions").and_then(Value::as_array).into_iter().flatten() {
        let word = |name: &str| decision.get(name).and_then(Value::as_str).unwrap_or("?");
        let _ = writeln!(out, "{:<19} {}", word("step"), word("result"));
        if let Some(details) = decision.get("details") {
            write_details("", details, &mut out);
        }
    }
    for media in explanation.get("media").and_then(Value::as_array).into_iter().flatten() {
        write_media(media, &mut out);
    }
    out
}

/// The verdict on a request for a recording or transcription, and what it depends on.
fn write_media(media: &Value, out: &mut String) {
    let word = |name: &str| media.get(name).and_then(Value::as_str).unwrap_or("?");
    let _ = writeln!(out, "{:<19} {}", word("kind"), verdict(media));
    let facts = ["link", "host", "expires_in_seconds", "streams_left"];
    let facts = facts.into_iter().filter_map(|name| Some((name.to_owned(), media.get(name)?.clone())));
    write_details("", &facts.collect(), out);
}

/// What would happen, and why.
fn verdict(explanation: &Value) -> String {
    let word = |name: &str| explanation.get(name).and_then(Value::as_str).unwrap_or("?");
    let code = explanation.get("code").and_then(Value::as_str).map(|code| format!(" {code}"));
    let again = explanation.get("retry_after").map(|seconds| format!("; retry after {seconds} s"));
    let (code, again) = (code.unwrap_or_default(), again.unwrap_or_default());
    format!("{}{code} ({}{again})", word("would"), word("because"))
}

/// One line for each value, with nested names joined.
fn write_details(prefix: &str, details: &Value, out: &mut String) {
    for (name, value) in details.as_object().into_iter().flatten() {
        let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Object(_) => write_details(&name, value, out),
            Value::Null => {}
            Value::String(text) => drop(writeln!(out, "    {name}: {text}")),
            other => drop(writeln!(out, "    {name}: {other}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_decisions_are_printed_in_order() {
        let explanation = serde_json::json!({
            "tenant": "billing", "id": "call_1", "would": "hit", "because": "fresh for another 9 s",
            "decisions": [
                { "step": "route", "result": "call", "details": { "route": "/v1/calls/{id}" } },
                { "step": "entry", "result": "fresh", "details": { "freshness": { "lifetime_seconds": 10.0 }, "etag": null } },
            ],
            "media": [
                { "kind": "recording", "would": "refuse", "code": "NOT_READY", "detail": "not-ready", "retry_after": 5,
                  "because": "not yet", "link": "absent", "host": null, "expires_in_seconds": null, "streams_left": 16 },
            ],
        });
        assert_eq!(
            text(&explanation),
            "billing/call_1: hit (fresh for another 9 s)\n\n\
             route               call\n    route: /v1/calls/{id}\n\
             entry               fresh\n    freshness.lifetime_seconds: 10.0\n\
             recording           refuse NOT_READY (not yet; retry after 5 s)\n    link: absent\n    streams_left: 16\n"
        );
        let refused = serde_json::json!({
            "tenant": "billing", "id": "call_1", "would": "refuse", "code": "RATE_LIMITED", "because": "spent",
            "detail": "tenant-limit", "retry_after": 7
        });
        assert_eq!(text(&refused), "billing/call_1: refuse RATE_LIMITED (spent; retry after 7 s)\n\n");
    }
}
