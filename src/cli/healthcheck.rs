//! `healthcheck`.

use http::{Method, StatusCode};

use super::admin_address::admin_address;
use super::args::AdminArgs;
use super::outcome::{Exit, print};
use crate::admin::{Asked, ask};

pub fn run(args: &AdminArgs) -> Result<(), Exit> {
    let address = admin_address(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked = runtime.block_on(ask(&address, Method::GET, "/readyz"));
    let Asked { status, body } = asked.map_err(|error| Exit::failure(format!("{address}: {error}")))?;
    let body = String::from_utf8_lossy(&body);
    if status == StatusCode::OK {
        print(&body)
    } else {
        Err(Exit::failure(format!("{address}: {}", body.trim())))
    }
}
