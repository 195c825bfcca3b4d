//! `check`.

use std::io::{self, Write};
use std::path::Path;

use tokio::runtime::Builder;

use super::args::CheckArgs;
use super::environment::variables;
use super::outcome::{Exit, print};
use crate::app::{Probed, probe};
use crate::config::{self, EffectiveConfig, Settings};

pub(crate) fn run(args: &CheckArgs) -> Result<(), Exit> {
    let file = &args.config.config;
    if args.without_secrets {
        let checked = config::check_without_secrets(file, &variables())?;
        note("warning", &checked.warnings)?;
        note("not checked", &checked.skipped)?;
        return if args.print {
            print(&checked.effective.to_toml())
        } else {
            print(&verdict(file, checked.tenants, Some(checked.skipped.len())))
        };
    }
    let loaded = config::load(file, &variables())?;
    note("warning", &loaded.warnings)?;
    if args.print {
        return print(&EffectiveConfig::of(&loaded.settings).to_toml());
    }
    print(&verdict(file, loaded.settings.tenants.len(), None))?;
    if args.probe { run_probes(&loaded.settings) } else { Ok(()) }
}

fn note(what: &str, lines: &[String]) -> Result<(), Exit> {
    let mut err = io::stderr().lock();
    for line in lines {
        writeln!(err, "{what}: {line}")?;
    }
    Ok(())
}

/// The last line of a check without problems.
fn verdict(file: &Path, tenants: usize, skipped: Option<usize>) -> String {
    let s = |count: usize| if count == 1 { "" } else { "s" };
    let skipped = match skipped {
        Some(count @ 1..) => format!(", {count} secret{} or certificate{} not checked", s(count), s(count)),
        Some(0) | None => String::new(),
    };
    format!("{}: valid, {tenants} tenant{}{skipped}\n", file.display(), s(tenants))
}

/// Prints a line for each probe when it ends.
fn run_probes(settings: &Settings) -> Result<(), Exit> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (mut failed, mut printed) = (0, Ok(()));
    let probing = runtime.block_on(probe(settings, |probed| {
        let line = match probed {
            Probed::Passed(line) => format!("ok      {line}\n"),
            Probed::Risky(line) => format!("risk    {line}\n"),
            Probed::Failed(line) => {
                failed += 1;
                format!("failed  {line}\n")
            }
        };
        if printed.is_ok() {
            printed = print(&line);
        }
    }));
    // An unresponsive name server must not delay the exit.
    runtime.shutdown_background();
    probing.map_err(|error| Exit::failure(format!("cannot set up TLS: {error}")))?;
    printed?;
    match failed {
        0 => Ok(()),
        1 => Err(Exit::failure("1 probe failed")),
        _ => Err(Exit::failure(format!("{failed} probes failed"))),
    }
}
