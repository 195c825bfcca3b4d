//! `check`.

use std::io::{self, Write};

use super::args::CheckArgs;
use super::environment::variables;
use super::outcome::{Exit, print};
use crate::config::{self, Shown};

pub fn run(args: &CheckArgs) -> Result<(), Exit> {
    let loaded = config::load(&args.config.config, &variables())?;
    for warning in &loaded.warnings {
        writeln!(io::stderr(), "warning: {warning}")?;
    }
    if args.print {
        return print(&Shown::of(&loaded.settings).to_toml());
    }
    let tenants = loaded.settings.tenants.len();
    let s = if tenants == 1 { "" } else { "s" };
    print(&format!("{}: valid, {tenants} tenant{s}\n", args.config.config.display()))
}
