//! `healthcheck`.

use http::{Method, StatusCode};

use super::admin_plane::AdminPlane;
use super::args::AdminArgs;
use super::outcome::{Exit, print};
use crate::admin::Asked;

pub fn run(args: &AdminArgs) -> Result<(), Exit> {
    let Asked { status, body } = AdminPlane::of(args)?.ask(Method::GET, "/readyz")?;
    let body = String::from_utf8_lossy(&body);
    if status == StatusCode::OK { print(&body) } else { Err(Exit::failure(body.trim())) }
}
