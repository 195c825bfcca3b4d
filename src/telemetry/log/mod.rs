//! The log: one line per event on standard error, written by a dedicated thread.

mod call_hasher;
mod filter;
mod writer;

use std::panic::PanicHookInfo;

use tracing_subscriber::filter::{FilterExt, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

pub(crate) use self::call_hasher::CallHasher;
use self::filter::{Directives, is_own};
use self::writer::{LineQueue, WriterGuard};
use crate::config::{LogFormat, LogLevel, LogSettings};

/// How the command line and the environment change the configured log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogOptions<'a> {
    /// The value of `RUST_LOG`, which wins over `log.level`.
    pub(crate) rust_log: Option<&'a str>,
    /// Whether text lines are coloured. JSON lines never are.
    pub(crate) colour: Colour,
}

/// Whether text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    /// With ANSI escape sequences.
    Ansi,
    /// Without.
    Plain,
}

/// Keeps the log's thread running; dropping it flushes the queue, within half a second.
#[must_use]
pub(crate) struct LogGuard {
    _writer: WriterGuard,
    control: LogControl,
}

impl LogGuard {
    /// Access to the running program's log.
    pub(crate) fn control(&self) -> LogControl {
        self.control.clone()
    }
}

/// The log of a running program.
#[derive(Clone)]
pub(crate) struct LogControl {
    drops: LogDrops,
    /// `None` for a process that writes no log.
    filter: Option<(Directives, reload::Handle<Targets, Registry>)>,
}

impl LogControl {
    /// Of a process that writes no log.
    #[cfg(any(test, feature = "bench"))]
    pub(crate) const fn none() -> Self {
        Self { drops: LogDrops(None), filter: None }
    }

    /// The count of lost lines.
    pub(crate) fn drops(&self) -> LogDrops {
        self.drops.clone()
    }

    /// Changes the minimum severity, unless `RUST_LOG` sets it.
    pub(crate) fn set_level(&self, configured: LogLevel) {
        if let Some((directives, filter)) = &self.filter {
            // It fails only when the log has ended.
            let _ = filter.reload(directives.filter(configured));
        }
    }
}

/// The count of lines lost because the reader of standard error was too slow or gone.
#[derive(Clone)]
pub(crate) struct LogDrops(Option<LineQueue>);

impl LogDrops {
    /// Of a process that writes no log.
    #[cfg(test)]
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, LineQueue::dropped)
    }
}

/// Starts logging as configured, for the whole process.
pub(crate) fn start(log: &LogSettings, options: LogOptions<'_>) -> LogGuard {
    let (queue, writer) = writer::start();
    let drops = LogDrops(Some(queue.clone()));
    let (directives, unread) = Directives::read(options.rust_log.unwrap_or_default());
    let (filter, handle) = reload::Layer::new(directives.filter(log.level));
    let own = filter_fn(|metadata| is_own(metadata.target()));
    let lines = lines(log.format, options.colour, queue).with_filter(filter.and(own));
    // A second start in one process leaves the first in place.
    let _ = tracing_subscriber::registry().with(lines).try_init();
    std::panic::set_hook(Box::new(report_panic));
    for directive in unread {
        tracing::warn!(
            directive,
            "RUST_LOG: neither a level (off, error, warn, info, debug, trace) nor TARGET=LEVEL; ignored"
        );
    }
    LogGuard { _writer: writer, control: LogControl { drops, filter: Some((directives, handle)) } }
}

/// Logs a panic as any other event. Its message may hold a request's data and is left out.
fn report_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(place, "panic in the request handler (bug); this request failed, others are unaffected");
}

fn lines<S>(format: LogFormat, colour: Colour, queue: LineQueue) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    match format {
        LogFormat::Json => {
            let layer =
                fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
            layer.with_writer(queue).boxed()
        }
        LogFormat::Text => fmt::layer().with_ansi(colour == Colour::Ansi).with_writer(queue).boxed(),
    }
}
