//! Where the admin listener is, for the commands that ask it.

use super::args::AdminArgs;
use super::environment::variables;
use super::outcome::Exit;
use crate::config::{self, Address};

/// The address that was given, else the configuration's. No secret is read.
pub fn admin_address(args: &AdminArgs) -> Result<Address, Exit> {
    if let Some(address) = &args.admin {
        return Ok(address.clone());
    }
    let configured = config::load_admin_address(&args.config.config, &variables())?;
    configured.ok_or_else(|| {
        Exit::failure("the admin listener is turned off in the configuration (admin.address = \"\")")
    })
}
