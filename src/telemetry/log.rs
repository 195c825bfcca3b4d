//! Log lines on standard error, written by a thread of their own: a reader that stalls costs lines,
//! which are counted, and never a request.

use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sha2::{Digest, Sha256};
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{FilterExt, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::config::{Log, LogFormat, LogLevel};
use crate::domain::{CallId, hex};

/// Only the program's own events are written, whatever `RUST_LOG` says: what libraries trace may
/// hold the bytes of headers and bodies.
const OWN_TARGET: &str = "credira_gateway";

/// Lines that may wait for the writer. Room for all of them is taken at the start: 40 bytes a line.
const QUEUE_LINES: usize = 2048;

/// Ends the writer, after what is queued, when it is dropped.
#[must_use]
pub struct LogGuard {
    _worker: WorkerGuard,
    control: LogControl,
}

impl LogGuard {
    /// What a running program can ask and change of its log.
    pub fn control(&self) -> LogControl {
        self.control.clone()
    }
}

/// The log of a running program.
#[derive(Clone)]
pub struct LogControl {
    drops: LogDrops,
    /// Where the level can be changed; not where `RUST_LOG` wins.
    levels: Option<reload::Handle<Targets, Registry>>,
}

impl LogControl {
    /// Of a process that writes no log.
    #[cfg(any(test, feature = "bench"))]
    pub const fn none() -> Self {
        Self { drops: LogDrops(None), levels: None }
    }

    /// How many lines were dropped.
    pub fn drops(&self) -> LogDrops {
        self.drops.clone()
    }

    /// Changes the least severity that is written.
    pub fn set_level(&self, wanted: LogLevel) {
        if let Some(levels) = &self.levels {
            // It fails only when the log has ended.
            let _ = levels.reload(Targets::new().with_default(level(wanted)));
        }
    }
}

/// How many lines the writer's queue had no room for, or its file took not.
#[derive(Clone)]
pub struct LogDrops(Option<(ErrorCounter, Arc<AtomicU64>)>);

/// Standard error, with a count of the lines that it did not take.
struct Errors {
    lost: Arc<AtomicU64>,
}

impl Write for Errors {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        io::stderr().write(line).inspect_err(|error| {
            if error.kind() != io::ErrorKind::Interrupted {
                self.lost.fetch_add(1, Relaxed);
            }
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl LogDrops {
    /// Of a process that writes no log.
    #[cfg(test)]
    pub const fn none() -> Self {
        Self(None)
    }

    /// The count.
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, |(queue, lost)| queue.dropped_lines() as u64 + lost.load(Relaxed))
    }
}

/// Starts logging as configured, for the whole process. `rust_log` is the value of `RUST_LOG`, which
/// wins over the configured level; one that can't be read is warned of.
pub fn start(log: &Log, rust_log: Option<&str>) -> LogGuard {
    let queue =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(QUEUE_LINES).thread_name("log");
    let lost = Arc::default();
    let (writer, worker) = queue.finish(Errors { lost: Arc::clone(&lost) });
    let drops = LogDrops(Some((writer.error_counter(), lost)));
    let wanted = rust_log.map(Targets::from_str);
    let (filter, wins) = match &wanted {
        Some(Ok(targets)) => (targets.clone(), true),
        Some(Err(_)) | None => (Targets::new().with_default(level(log.level)), false),
    };
    let (filter, handle) = reload::Layer::new(filter);
    let own = filter_fn(|metadata| metadata.target().starts_with(OWN_TARGET));
    let subscriber =
        tracing_subscriber::registry().with(lines(log.format, writer).with_filter(filter.and(own)));
    // A second start in one process leaves the first in place.
    let _ = subscriber.try_init();
    std::panic::set_hook(Box::new(report_panic));
    if let Some(Err(_)) = wanted {
        tracing::warn!("RUST_LOG can't be read as a list of targets and levels; log.level applies instead");
    }
    LogGuard { _worker: worker, control: LogControl { drops, levels: (!wins).then_some(handle) } }
}

/// A panic is a line as any other; its message may hold a request's data and is left out.
fn report_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(place, "the program panicked, which is a bug in it; the request fails, the rest goes on");
}

fn lines<S>(format: LogFormat, writer: NonBlocking) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    match format {
        LogFormat::Json => {
            let layer =
                fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
            layer.with_writer(writer).boxed()
        }
        LogFormat::Text => fmt::layer().with_ansi(io::stderr().is_terminal()).with_writer(writer).boxed(),
    }
}

const fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::from_level(Level::ERROR),
        LogLevel::Warn => LevelFilter::from_level(Level::WARN),
        LogLevel::Info => LevelFilter::from_level(Level::INFO),
        LogLevel::Debug => LevelFilter::from_level(Level::DEBUG),
        LogLevel::Trace => LevelFilter::from_level(Level::TRACE),
    }
}

/// Turns call IDs into what may stand in a log line: a hash with a key that this process made up,
/// so that lines about one call can be found together and nobody can tell which call it is.
#[derive(Clone)]
pub struct CallHasher {
    key: [u8; 32],
}

impl CallHasher {
    /// A hasher with a new key.
    pub fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// 16 hexadecimal digits.
    pub fn digest(&self, id: &CallId) -> String {
        let digest = Sha256::new().chain_update(self.key).chain_update(id.as_bytes()).finalize();
        hex(digest.get(..8).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_one_digest_a_process() {
        let id = CallId::parse(b"call_1").unwrap();
        let (one, other) = (CallHasher::new([1; 32]), CallHasher::new([2; 32]));
        assert_eq!(one.digest(&id), one.digest(&id));
        assert_ne!(one.digest(&id), other.digest(&id));
        assert_eq!(one.digest(&id).len(), 16);
    }
}
