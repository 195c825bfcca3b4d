//! `refresh`.

use http::Method;

use super::admin_plane::{AdminPlane, pretty};
use super::args::{RefreshArgs, Verbosity};
use super::arguments::{call_id, tenant};
use super::outcome::{Exit, print};

pub(super) fn run(args: &RefreshArgs) -> Result<(), Exit> {
    let (tenant, id) = (tenant(&args.tenant)?, call_id(&args.id)?);
    let path = format!("/api/v1/cache/{tenant}/{}/refresh", id.as_str());
    let answer = AdminPlane::of(&args.admin)?.api(&Method::POST, &path)?;
    if args.admin.json {
        return print(&pretty(&answer));
    }
    match args.verbosity() {
        Verbosity::Quiet => Ok(()),
        Verbosity::Normal => print(&format!("{tenant}/{}: refreshing\n", id.as_str())),
    }
}
