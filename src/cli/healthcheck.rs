//! `healthcheck`.

use http::{Method, StatusCode};
use serde_json::json;

use super::admin_plane::{AdminPlane, pretty};
use super::args::AdminArgs;
use super::outcome::{Exit, print};
use crate::admin::AdminReply;

pub(crate) fn run(args: &AdminArgs) -> Result<(), Exit> {
    let AdminReply { status, body } = AdminPlane::for_probe(args)?.ask(&Method::GET, "/readyz")?;
    let state = String::from_utf8_lossy(&body);
    let ready = status == StatusCode::OK;
    if args.json {
        print(&pretty(&json!({ "ready": ready, "state": state.trim() })))?;
        return if ready { Ok(()) } else { Err(Exit::Silent) };
    }
    if ready { print(&state) } else { Err(Exit::failure(state.trim())) }
}
