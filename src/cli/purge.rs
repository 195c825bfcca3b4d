//! `purge`.

use http::Method;
use serde_json::Value;

use super::admin_plane::{AdminPlane, pretty};
use super::args::PurgeArgs;
use super::outcome::{Exit, print};

pub fn run(args: &PurgeArgs) -> Result<(), Exit> {
    // The path is the scope; the names have no character that it would need to escape.
    let parts = args.tenant.iter().chain(&args.id);
    if !parts.clone().all(|part| part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')))
    {
        return Err(Exit::Usage("expected a tenant's name and a call's ID".into()));
    }
    let (path, what) = match (&args.tenant, &args.id) {
        (None, _) => ("/api/v1/cache".to_owned(), "every tenant's cache".to_owned()),
        (Some(tenant), None) => (format!("/api/v1/cache/{tenant}"), format!("the cache of {tenant}")),
        (Some(tenant), Some(id)) => (format!("/api/v1/cache/{tenant}/{id}"), format!("{id} of {tenant}")),
    };
    let answer = AdminPlane::of(&args.admin)?.api(Method::DELETE, &path)?;
    if args.admin.json {
        return print(&pretty(&answer));
    }
    let purged = answer.get("purged").and_then(Value::as_u64).unwrap_or(0);
    let entries = if purged == 1 { "entry" } else { "entries" };
    print(&format!("purged {what}: {purged} {entries}\n"))
}
