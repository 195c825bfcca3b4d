//! The report as text: problems first, then a row for each tenant.

use std::fmt::Write;

use serde_json::Value;

use crate::telemetry::Colour;

const HEADER: [&str; 14] = [
    "tenant", "lookups", "hits", "stale", "misses", "covered", "saved", "errors", "429s", "entries", "cache",
    "upstream", "breaker", "key",
];

/// The whole report.
pub(super) fn text(stats: &Value, colour: Colour) -> String {
    let words = |path: &str| stats.pointer(path).and_then(Value::as_str).unwrap_or("?").to_owned();
    let number = |path: &str| stats.pointer(path).and_then(Value::as_f64).unwrap_or(0.0);
    let mut out = format!(
        "credira-gateway {} ({}), {}, up {}\nconnections {}, requests in flight {}, log lines dropped {}\n",
        words("/version"),
        words("/revision"),
        words("/state"),
        duration(number("/uptime_seconds")),
        number("/connections"),
        number("/requests_in_flight"),
        number("/log_lines_dropped"),
    );
    if let Some(recent) = stats.get("recent") {
        out += &coverage(recent);
    }
    if let Some(members) = stats.get("fleet").and_then(Value::as_array) {
        out += &fleet(members);
    }
    let problems = stats.get("problems").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    out.push('\n');
    out += &match problems {
        [] => "no problems\n".to_owned(),
        all => all.iter().map(|problem| problem_line(problem, colour)).collect(),
    };
    let tenants = stats.get("tenants").and_then(Value::as_object).into_iter().flatten();
    let rows: Vec<Vec<String>> = tenants.map(|(name, tenant)| row(name, tenant)).collect();
    out.push('\n');
    out + &table(&HEADER, &rows)
}

/// The effect of an outage now, and what the cache has saved.
fn coverage(recent: &Value) -> String {
    let count = |key: &str| recent.get(key).and_then(Value::as_u64).unwrap_or(0);
    let seconds = recent.get("seconds").and_then(Value::as_f64).unwrap_or(0.0);
    format!(
        "last {}: {} lookups, {} covered without the upstream, {} upstream requests saved\n",
        duration(seconds),
        count("lookups"),
        share(count("covered"), count("lookups")),
        count("saved"),
    )
}

/// The gateways of the fleet, this one first.
fn fleet(members: &[Value]) -> String {
    let name = |member: &Value| {
        let name = member.get("name").and_then(Value::as_str).unwrap_or("?");
        let is_silent = member.get("is_silent").and_then(Value::as_bool).unwrap_or(false);
        if is_silent { format!("{name} (silent)") } else { name.to_owned() }
    };
    let mut names = members.iter().map(name);
    let own = names.next().unwrap_or_default();
    let others: Vec<_> = names.collect();
    let others = if others.is_empty() { "no other".to_owned() } else { others.join(", ") };
    format!("fleet: {own} (this gateway), {others}\n")
}

fn problem_line(problem: &Value, colour: Colour) -> String {
    let words = |key: &str| problem.get(key).and_then(Value::as_str);
    let (start, end) = match colour {
        Colour::Ansi => ("\x1b[31m", "\x1b[0m"),
        Colour::Plain => ("", ""),
    };
    let mut line = format!("{start}{}{end}", words("kind").unwrap_or("?"));
    if let Some(tenant) = words("tenant") {
        let _ = write!(line, "  {tenant}");
    }
    let (since, message) = (words("since").unwrap_or("?"), words("message").unwrap_or("?"));
    line + &format!("  since {since}\n    {message}\n")
}

fn row(name: &str, tenant: &Value) -> Vec<String> {
    let count = |path: &str| tenant.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let word = |path: &str| tenant.pointer(path).and_then(Value::as_str).unwrap_or("?").to_owned();
    let sum = |path: &str, is_counted: fn(&str) -> bool| -> u64 {
        let counts = tenant.pointer(path).and_then(Value::as_object).into_iter().flatten();
        counts.filter(|(key, _)| is_counted(key)).filter_map(|(_, count)| count.as_u64()).sum()
    };
    let lookups = sum("/outcomes", |_| true);
    let (hits, stale) = (count("/outcomes/hit") + count("/outcomes/negative"), count("/outcomes/stale"));
    let key = match tenant.pointer("/upstream/key_rejected").and_then(Value::as_bool) {
        Some(true) => "rejected".to_owned(),
        Some(false) | None => word("/upstream/key"),
    };
    vec![
        name.to_owned(),
        lookups.to_string(),
        share(hits, lookups),
        share(stale, lookups),
        share(lookups.saturating_sub(hits + stale), lookups),
        share(count("/recent/covered"), count("/recent/lookups")),
        count("/recent/saved").to_string(),
        sum("/answers", |status| status.starts_with('5')).to_string(),
        count("/answers/429").to_string(),
        count("/cache/entries").to_string(),
        format!("{} of {}", mebibytes(count("/cache/bytes")), mebibytes(count("/cache/max_bytes"))),
        sum("/upstream/requests", |_| true).to_string(),
        word("/upstream/breaker"),
        key,
    ]
}

fn share(part: u64, all: u64) -> String {
    match all {
        0 => "-".to_owned(),
        all => format!("{:.1} %", 100.0 * part as f64 / all as f64),
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn duration(seconds: f64) -> String {
    let seconds = seconds as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// Columns as wide as their widest cell; the first one left-aligned, the others right-aligned.
fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(header.get(column).map(|cell| cell.len())).max().unwrap_or(0)
    };
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.enumerate().map(|(column, cell)| match column {
            0 => format!("{cell:<0$}", width(column)),
            _ => format!("{cell:>0$}", width(column)),
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let mut out = line(&mut header.iter().copied());
    for row in rows {
        out += &line(&mut row.iter().map(String::as_str));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats() -> Value {
        serde_json::json!({
            "version": "1.2.3", "revision": "abc", "state": "ready", "uptime_seconds": 7260.5, "connections": 3,
            "problems": [],
            "recent": { "seconds": 312.0, "lookups": 8, "covered": 6, "saved": 5 },
            "tenants": {
                "billing": {
                    "recent": { "lookups": 8, "covered": 6, "saved": 5 },
                    "outcomes": { "hit": 6, "negative": 1, "stale": 1, "miss": 2 },
                    "answers": { "200": 9, "429": 4, "502": 1, "503": 2 },
                    "cache": { "entries": 2, "bytes": 1_048_576, "max_bytes": 67_108_864 },
                    "upstream": { "requests": { "200": 2, "404": 1 }, "breaker": "closed", "key": "next" },
                },
                "idle": {
                    "outcomes": { "hit": 0 },
                    "upstream": { "breaker": "open", "key": "primary", "key_rejected": true },
                },
            },
        })
    }

    #[test]
    fn tenants_are_rows_of_a_table() {
        assert_eq!(
            text(&stats(), Colour::Plain),
            "credira-gateway 1.2.3 (abc), ready, up 2 h 1 min\n\
             connections 3, requests in flight 0, log lines dropped 0\n\
             last 5 min: 8 lookups, 75.0 % covered without the upstream, 5 upstream requests saved\n\n\
             no problems\n\n\
             tenant   lookups    hits   stale  misses  covered  saved  errors  429s  entries                cache  upstream  breaker       key\n\
             billing       10  70.0 %  10.0 %  20.0 %   75.0 %      5       3     4        2  1.0 MiB of 64.0 MiB         3   closed      next\n\
             idle           0       -       -       -        -      0       0     0        0   0.0 MiB of 0.0 MiB         0     open  rejected\n"
        );
    }

    #[test]
    fn problems_come_first_and_in_colour_where_that_is_wanted() {
        let mut stats = stats();
        stats["problems"] = serde_json::json!([
            { "kind": "reload-refused", "tenant": null, "since": "T1", "message": "Fix the file." },
            { "kind": "breaker-open", "tenant": "billing", "since": "T2", "message": "It is open." },
        ]);
        let plain = text(&stats, Colour::Plain);
        let wanted = "reload-refused  since T1\n    Fix the file.\n\
                      breaker-open  billing  since T2\n    It is open.\n\ntenant";
        assert!(plain.contains(wanted), "{plain}");
        assert!(text(&stats, Colour::Ansi).contains("\x1b[31mbreaker-open\x1b[0m  billing"));
    }
}
