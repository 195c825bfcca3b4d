//! `mock-upstream`.

use tokio::runtime::Builder;

use super::args::MockArgs;
use super::outcome::{Exit, print};
use crate::app::Signals;
use crate::config::parse_duration;
use crate::mock::{Mock, Options};

pub(crate) fn run(args: MockArgs) -> Result<(), Exit> {
    let latency = parse_duration(&args.latency);
    let latency = latency.map_err(|expected| Exit::Usage(format!("--latency: expected {expected}")))?;
    if !(0.0..=1.0).contains(&args.error_rate) {
        return Err(Exit::Usage("--error-rate: expected a share from 0 to 1".into()));
    }
    let options = Options { api_keys: args.api_keys, latency, error_rate: args.error_rate };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        let started = Mock::start(args.listen, options).await;
        let mock =
            started.map_err(|error| Exit::failure(format!("cannot listen on {}: {error}", args.listen)))?;
        print(&format!(
            "listening on http://{}\nmedia host on http://{}\n",
            mock.address(),
            mock.media_address()
        ))?;
        signals.end().await;
        Ok::<_, Exit>(())
    })?;
    runtime.shutdown_background();
    Ok(())
}
