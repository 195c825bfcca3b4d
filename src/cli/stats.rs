//! `stats`.

use std::fmt::Write;

use http::Method;
use serde_json::Value;

use super::admin_plane::{AdminPlane, pretty};
use super::args::AdminArgs;
use super::outcome::{Exit, print};

pub fn run(args: &AdminArgs) -> Result<(), Exit> {
    let stats = AdminPlane::of(args)?.api(Method::GET, "/api/v1/stats")?;
    print(&if args.json { pretty(&stats) } else { for_people(&stats) })
}

fn for_people(stats: &Value) -> String {
    let text = |path: &str| stats.pointer(path).and_then(Value::as_str).unwrap_or("?").to_owned();
    let number = |path: &str| stats.pointer(path).and_then(Value::as_f64).unwrap_or(0.0);
    let mut out = format!(
        "credira-gateway {} ({}), {}, up {}\nconnections {}, requests in flight {}, log lines dropped {}\n",
        text("/version"),
        text("/revision"),
        text("/state"),
        duration(number("/uptime_seconds")),
        number("/connections"),
        number("/requests_in_flight"),
        number("/log_lines_dropped"),
    );
    if let Some(problems) =
        stats.pointer("/last_reload/problems").and_then(Value::as_array).filter(|p| !p.is_empty())
    {
        let _ = writeln!(out, "the last reload failed: {} problem(s), see readyz?verbose", problems.len());
    }
    let tenants = stats.get("tenants").and_then(Value::as_object).into_iter().flatten();
    let rows: Vec<Vec<String>> = tenants.map(|(name, tenant)| row(name, tenant)).collect();
    let header =
        ["tenant", "lookups", "hits", "stale", "misses", "entries", "size", "of", "upstream", "breaker"];
    out.push('\n');
    out.push_str(&table(&header, &rows));
    out
}

fn row(name: &str, tenant: &Value) -> Vec<String> {
    let count = |path: &str| tenant.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let outcomes = tenant.get("outcomes").and_then(Value::as_object);
    let lookups: u64 = outcomes.into_iter().flat_map(|all| all.values()).filter_map(Value::as_u64).sum();
    let hits = count("/outcomes/hit") + count("/outcomes/negative");
    let share = |part: u64| match lookups {
        0 => "-".to_owned(),
        all => format!("{:.1} %", 100.0 * part as f64 / all as f64),
    };
    let upstream = tenant.pointer("/upstream/requests").and_then(Value::as_object);
    let asked: u64 = upstream.into_iter().flat_map(|all| all.values()).filter_map(Value::as_u64).sum();
    vec![
        name.to_owned(),
        lookups.to_string(),
        share(hits),
        share(count("/outcomes/stale")),
        share(lookups - hits.min(lookups) - count("/outcomes/stale").min(lookups - hits.min(lookups))),
        count("/cache/entries").to_string(),
        mebibytes(count("/cache/bytes")),
        mebibytes(count("/cache/max_bytes")),
        asked.to_string(),
        tenant.pointer("/upstream/breaker").and_then(Value::as_str).unwrap_or("?").to_owned(),
    ]
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

/// Columns as wide as their widest cell; the first to the left, the others to the right.
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

    #[test]
    fn people_get_a_table() {
        let stats = serde_json::json!({
            "version": "1.2.3", "revision": "abc", "state": "ready", "uptime_seconds": 7260.5, "connections": 3,
            "tenants": {
                "billing": {
                    "outcomes": { "hit": 6, "negative": 1, "stale": 1, "miss": 2 },
                    "cache": { "entries": 2, "bytes": 1_048_576, "max_bytes": 67_108_864 },
                    "upstream": { "requests": { "200": 2, "404": 1 }, "breaker": "closed" },
                },
                "idle": { "outcomes": { "hit": 0 }, "upstream": { "breaker": "open" } },
            },
        });
        assert_eq!(
            for_people(&stats),
            "credira-gateway 1.2.3 (abc), ready, up 2 h 1 min\n\
             connections 3, requests in flight 0, log lines dropped 0\n\n\
             tenant   lookups    hits   stale  misses  entries     size        of  upstream  breaker\n\
             billing       10  70.0 %  10.0 %  20.0 %        2  1.0 MiB  64.0 MiB         3   closed\n\
             idle           0       -       -       -        0  0.0 MiB   0.0 MiB         0     open\n"
        );
    }
}
