//! `purge`.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{self, BufRead, Write};

use futures_util::future::join_all;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::admin_plane::{AdminPlane, block_on, parse, pretty, refusal, texts};
use super::args::{PurgeArgs, Verbosity};
use super::arguments::{CALL_ID_FORMAT, call_id, tenant};
use super::outcome::{Exit, print};
use super::progress::ProgressLine;
use crate::admin::{AdminConnection, AdminReply, AskError};
use crate::domain::{CallId, TenantName};
use crate::message::HttpVersion;

/// The maximum number of concurrent requests for a list of calls.
const PARALLEL: usize = 64;
/// The ID that means "read IDs from standard input".
const STANDARD_INPUT: &str = "-";

pub(crate) fn run(args: &PurgeArgs) -> Result<(), Exit> {
    if let Some(name) = &args.forget {
        return forget(args, name);
    }
    let Some(tenant) = args.tenant.as_deref().map(tenant).transpose()? else {
        return purge(args, "/api/v1/cache", "every tenant's cache");
    };
    if let [one] = args.ids.as_slice()
        && one == STANDARD_INPUT
    {
        return purge_list(args, &tenant, &standard_input()?);
    }
    // A single mistyped argument must not purge the rest.
    let ids: Vec<CallId> = args.ids.iter().map(|id| call_id(id)).collect::<Result<_, _>>()?;
    match ids.as_slice() {
        [] => purge(args, &format!("/api/v1/cache/{tenant}"), &format!("the cache of {tenant}")),
        [id] => purge(args, &path_of(&tenant, id), &format!("{} of {tenant}", id.as_str())),
        _ => purge_list(args, &tenant, &ids.into_iter().map(ListLine::Call).collect::<Vec<_>>()),
    }
}

fn purge(args: &PurgeArgs, path: &str, what: &str) -> Result<(), Exit> {
    let plane = AdminPlane::of(&args.admin)?;
    let asked = plane.ask(&Method::DELETE, path)?;
    let answer = parse(&asked);
    if args.admin.json {
        print(&pretty(&answer))?;
    }
    if !asked.status.is_success() {
        return Err(plane.refused(&asked));
    }
    if args.admin.json || args.verbosity() == Verbosity::Quiet {
        return Ok(());
    }
    let purged = answer.get("purged").and_then(Value::as_u64).unwrap_or(0);
    let mut text = format!("purged {what}: {}", plural(purged, "entry", "entries"));
    if let Some(reach) = answer.get("gateways") {
        let count = |key: &str| reach.get(key).and_then(Value::as_u64).unwrap_or(0);
        text += &format!(
            " here, applied by {} of {}",
            count("done"),
            plural(count("told"), "gateway", "gateways")
        );
    }
    print(&format!("{text}\n"))?;
    warn_of_silent(texts(answer.pointer("/gateways/silent")))
}

/// Names the gateways from which nothing is heard.
fn warn_of_silent<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<(), Exit> {
    for name in names {
        writeln!(
            io::stderr(),
            "warning: nothing is heard of {name}: purge again when it is back, or, if it has ended for good, \
             `purge --forget {name}`"
        )?;
    }
    Ok(())
}

/// Ends the membership of a gateway of the fleet.
fn forget(args: &PurgeArgs, name: &str) -> Result<(), Exit> {
    let answer = AdminPlane::of(&args.admin)?.api(&Method::DELETE, &format!("/api/v1/fleet/{name}"))?;
    match (args.admin.json, args.verbosity()) {
        (true, _) => print(&pretty(&answer)),
        (false, Verbosity::Quiet) => Ok(()),
        (false, Verbosity::Normal) => print(&format!("forgotten: purges no longer wait for {name}\n")),
    }
}

fn path_of(tenant: &TenantName, id: &CallId) -> String {
    format!("/api/v1/cache/{tenant}/{}", id.as_str())
}

/// A line of a list of IDs.
enum ListLine {
    Call(CallId),
    /// Not an ID; the original line.
    Invalid(String),
}

fn standard_input() -> Result<Vec<ListLine>, Exit> {
    let mut listed = Vec::new();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let word = line.trim();
        match CallId::parse(word.as_bytes()) {
            _ if word.is_empty() => {}
            Ok(id) => listed.push(ListLine::Call(id)),
            Err(_) => listed.push(ListLine::Invalid(word.to_owned())),
        }
    }
    Ok(listed)
}

/// The results so far.
struct PurgeReport {
    entries: u64,
    calls: u64,
    /// Each ID with the reason.
    failed: Vec<(String, String)>,
    /// Gateways of the fleet that were silent at any of them.
    silent: BTreeSet<String>,
    progress: ProgressLine,
}

fn purge_list(args: &PurgeArgs, tenant: &TenantName, listed: &[ListLine]) -> Result<(), Exit> {
    let plane = AdminPlane::of(&args.admin)?;
    let done = PurgeReport {
        entries: 0,
        calls: 0,
        failed: Vec::new(),
        silent: BTreeSet::new(),
        progress: ProgressLine::new(args.verbosity()),
    };
    let done = RefCell::new(done);
    block_on(async {
        let mut rest = listed.iter();
        // The first one alone: it shows whether the gateway is reachable and knows the tenant.
        let Some(first) = rest.by_ref().find_map(|one| take(one, &done)) else { return Ok(()) };
        let (connection, asked) =
            plane.connect(HttpVersion::Http2, &Method::DELETE, &path_of(tenant, first)).await?;
        if matches!(asked.status, StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(Exit::failure(refusal(&asked)));
        }
        done.borrow_mut().note(first, Ok(asked), listed.len());
        let rest = RefCell::new(rest);
        join_all((0..PARALLEL).map(|_| work(connection.fork(), tenant, &rest, &done, listed.len()))).await;
        Ok(())
    })?;
    let mut done = done.into_inner();
    done.progress.clear();
    done.report(args, tenant)
}

/// The next call of a list; an invalid line is noted.
fn take<'a>(listed: &'a ListLine, done: &RefCell<PurgeReport>) -> Option<&'a CallId> {
    match listed {
        ListLine::Call(id) => Some(id),
        ListLine::Invalid(line) => {
            let reason = format!("no call ID: expected {CALL_ID_FORMAT}");
            done.borrow_mut().failed.push((line.clone(), reason));
            None
        }
    }
}

async fn work(
    mut connection: AdminConnection<'_>,
    tenant: &TenantName,
    rest: &RefCell<std::slice::Iter<'_, ListLine>>,
    done: &RefCell<PurgeReport>,
    of: usize,
) {
    loop {
        let Some(listed) = rest.borrow_mut().next() else { return };
        let Some(id) = take(listed, done) else { continue };
        let path = path_of(tenant, id);
        let mut asked = connection.ask(&Method::DELETE, &path).await;
        if matches!(asked, Err(AskError::NoAnswer)) {
            // The connection broke. Purging twice does no harm.
            asked = connection.ask(&Method::DELETE, &path).await;
        }
        done.borrow_mut().note(id, asked, of);
    }
}

impl PurgeReport {
    fn note(&mut self, id: &CallId, asked: Result<AdminReply, AskError>, of: usize) {
        let reason = match asked {
            Ok(asked) if asked.status == StatusCode::OK => {
                self.calls += 1;
                let answer = parse(&asked);
                self.entries += answer.get("purged").and_then(Value::as_u64).unwrap_or(0);
                self.silent.extend(texts(answer.pointer("/gateways/silent")).into_iter().map(str::to_owned));
                None
            }
            Ok(asked) => Some(refusal(&asked)),
            Err(error) => Some(error.to_string()),
        };
        self.failed.extend(reason.map(|reason| (id.as_str().to_owned(), reason)));
        self.progress.show(&format!("purged {} of {of}, {} failed", self.calls, self.failed.len()));
    }

    fn report(self, args: &PurgeArgs, tenant: &TenantName) -> Result<(), Exit> {
        let Self { entries, calls, failed, silent, .. } = self;
        if args.admin.json {
            let failed: Vec<_> =
                failed.iter().map(|(id, reason)| json!({ "id": id, "reason": reason })).collect();
            let mut told = Map::from_iter([
                ("purged".to_owned(), entries.into()),
                ("failed".to_owned(), Value::Array(failed)),
            ]);
            if !silent.is_empty() {
                told.insert("silent".to_owned(), silent.into_iter().collect());
            }
            print(&pretty(&Value::Object(told)))?;
        } else {
            warn_of_silent(silent.iter().map(String::as_str))?;
            for (id, reason) in &failed {
                writeln!(io::stderr(), "{id}: {reason}")?;
            }
            if args.verbosity() == Verbosity::Normal {
                let (calls, entries) = (plural(calls, "call", "calls"), plural(entries, "entry", "entries"));
                print(&format!("purged {calls} of {tenant}: {entries}\n"))?;
            }
        }
        match failed.len() {
            0 => Ok(()),
            number => Err(Exit::failure(format!("{number} of the list could not be purged"))),
        }
    }
}

fn plural(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
