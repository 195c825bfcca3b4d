//! `serve`.

use tokio::runtime::Builder;

use super::args::ConfigArgs;
use super::environment::variables;
use super::outcome::Exit;
use crate::app::{App, Signals, Source, forbid_dumps};
use crate::config;
use crate::telemetry::{REVISION, VERSION, start_log};

pub fn run(args: &ConfigArgs) -> Result<(), Exit> {
    // Before any secret is read.
    let dumps = forbid_dumps();
    let variables = variables();
    let loaded = config::load(&args.config, &variables)?;
    let log = start_log(&loaded.settings.log, variables.get("RUST_LOG").map(String::as_str));
    tracing::info!(
        version = VERSION,
        revision = REVISION,
        config = %args.config.display(),
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
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        let source = Source { file: args.config.clone(), variables };
        let app = App::start(loaded.settings, source, log.control()).await.map_err(Exit::failure)?;
        app.run(&mut signals).await;
        Ok::<_, Exit>(())
    })?;
    // What still runs has had its time.
    runtime.shutdown_background();
    Ok(())
}
