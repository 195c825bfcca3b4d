//! `serve`.

use std::collections::BTreeMap;

use tokio::runtime::Builder;

use super::args::{ConfigArgs, ServeArgs};
use super::colour::ColourChoice;
use super::environment::variables;
use super::outcome::Exit;
use crate::app::{App, ConfigSource, Signals, forbid_dumps};
use crate::config::{self, Loaded};
use crate::telemetry::{LogOptions, REVISION, VERSION, start_log};

pub(crate) fn run(args: &ServeArgs, colour: ColourChoice) -> Result<(), Exit> {
    // Before any secret is read.
    let dumps = forbid_dumps();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(serve(args, colour, dumps));
    // Remaining tasks have had their time.
    runtime.shutdown_background();
    ended
}

async fn serve(args: &ServeArgs, colour: ColourChoice, dumps: std::io::Result<()>) -> Result<(), Exit> {
    // Before the configuration is read, which may take a while: without handlers, a signal would kill the process.
    let mut signals = Signals::new()?;
    let variables = variables();
    let Some(loaded) = load(&args.config, &variables, &mut signals).await? else { return Ok(()) };
    let options = LogOptions {
        rust_log: variables.get("RUST_LOG").map(String::as_str).or(args.verbosity.as_rust_log()),
        colour: colour.of(&std::io::stderr()),
    };
    let log = start_log(&loaded.settings.log, options);
    tracing::info!(
        version = VERSION,
        revision = REVISION,
        config = %args.config.config.display(),
        tenants = loaded.settings.tenants.len(),
        upstream = %loaded.settings.upstream.base_url,
        "starting"
    );
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    if let Err(error) = dumps {
        tracing::warn!(error = %error.kind(), "cannot forbid core dumps: a crash may write keys to disk");
    }
    let source = ConfigSource { file: args.config.config.clone(), variables };
    let app = App::start(loaded.settings, source, log.control()).await.map_err(Exit::failure)?;
    app.run(&mut signals).await;
    Ok(())
}

/// Loads the configuration off the runtime. `None` if a signal to shut down arrives meanwhile; one to reload is
/// remembered.
async fn load(
    args: &ConfigArgs,
    variables: &BTreeMap<String, String>,
    signals: &mut Signals,
) -> Result<Option<Loaded>, Exit> {
    let (file, variables) = (args.config.clone(), variables.clone());
    let loading = tokio::task::spawn_blocking(move || config::load(&file, &variables));
    tokio::select! {
        biased;
        loaded = loading => Ok(Some(loaded.map_err(Exit::failure)??)),
        _ = signals.end() => Ok(None),
    }
}
