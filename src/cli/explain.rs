//! `explain`.

use std::fmt::Write;

use http::Method;
use serde_json::Value;

use super::admin_plane::{AdminPlane, pretty};
use super::args::ExplainArgs;
use super::outcome::{Exit, print};

pub fn run(args: &ExplainArgs) -> Result<(), Exit> {
    let path = format!("/api/v1/explain/{}/{}", args.tenant, args.id);
    // An ID need not be a good one to be explained, but it must stay one segment of the path.
    let segment = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b'?' | b'#'));
    if ![&args.tenant, &args.id].into_iter().all(|text| segment(text)) {
        return Err(Exit::Usage("expected a tenant's name and a call's ID".into()));
    }
    let explanation = AdminPlane::of(&args.admin)?.api(Method::GET, &path)?;
    print(&if args.admin.json { pretty(&explanation) } else { for_people(&explanation) })
}

fn for_people(explanation: &Value) -> String {
    let text = |name: &str| explanation.get(name).and_then(Value::as_str).unwrap_or("?");
    let mut out = format!(
        "A lookup of {} by {} would now be: {}, because {}.\n\n",
        text("id"),
        text("tenant"),
        text("would"),
        text("because")
    );
    for decision in explanation.get("decisions").and_then(Value::as_array).into_iter().flatten() {
        let text = |name: &str| decision.get(name).and_then(Value::as_str).unwrap_or("?");
        let _ = writeln!(out, "{:<19} {}", text("step"), text("result"));
        if let Some(details) = decision.get("details") {
            tell("", details, &mut out);
        }
    }
    out
}

/// One line a figure, nested names joined.
fn tell(prefix: &str, details: &Value, out: &mut String) {
    for (name, value) in details.as_object().into_iter().flatten() {
        let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Object(_) => tell(&name, value, out),
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
    fn people_get_the_decisions_in_order() {
        let explanation = serde_json::json!({
            "tenant": "billing", "id": "call_1", "would": "hit", "because": "the entry is fresh for 9 s more",
            "decisions": [
                { "step": "route", "result": "call", "details": { "route": "/v1/calls/{id}" } },
                { "step": "entry", "result": "fresh", "details": { "freshness": { "lifetime_seconds": 10.0 }, "etag": null } },
            ],
        });
        assert_eq!(
            for_people(&explanation),
            "A lookup of call_1 by billing would now be: hit, because the entry is fresh for 9 s more.\n\n\
             route               call\n    route: /v1/calls/{id}\n\
             entry               fresh\n    freshness.lifetime_seconds: 10.0\n"
        );
    }
}
