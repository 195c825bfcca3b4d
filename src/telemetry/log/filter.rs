//! Which events are written: `log.level`, and what `RUST_LOG` changes about it.

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

use crate::config::LogLevel;

/// Only the program's own events are written, whatever `RUST_LOG` says: traces of libraries may contain the bytes of
/// headers and bodies.
const OWN_TARGET: &str = "credira_gateway";

/// Whether an event is one of the program's own.
pub(super) fn is_own(target: &str) -> bool {
    target.strip_prefix(OWN_TARGET).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// What `RUST_LOG` says about this program. Directives for other targets are left out: the variable is
/// often set for everything in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Directives {
    /// Instead of `log.level`.
    level: Option<LevelFilter>,
    /// For parts of the program.
    targets: Vec<(String, LevelFilter)>,
}

impl Directives {
    /// Reads a comma-separated list of `LEVEL`, `TARGET=LEVEL` and `TARGET`. The second part lists unreadable
    /// directives, which have no effect.
    pub(super) fn read(text: &str) -> (Self, Vec<String>) {
        let (mut read, mut unread) = (Self::default(), Vec::new());
        for directive in text.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
            let (target, level) = directive.split_once('=').map_or((directive, None), |(t, l)| (t, Some(l)));
            match (level, target.parse::<LevelFilter>()) {
                (None, Ok(level)) => read.level = Some(level),
                (None, Err(_)) if is_own(target) => read.add(target, LevelFilter::TRACE),
                (Some(level), _) if is_own(target) => match level.parse() {
                    Ok(level) => read.add(target, level),
                    Err(_) => unread.push(directive.to_owned()),
                },
                // Another program's.
                (Some(_), _) => {}
                (None, Err(_)) if target.contains("::") => {}
                // A single word is more often a mistaken level than another program's target.
                (None, Err(_)) => unread.push(directive.to_owned()),
            }
        }
        (read, unread)
    }

    fn add(&mut self, target: &str, level: LevelFilter) {
        self.targets.push((target.to_owned(), level));
    }

    /// The filter, where the configuration says `configured`.
    pub(super) fn filter(&self, configured: LogLevel) -> Targets {
        let level = self.level.unwrap_or_else(|| as_filter(configured));
        Targets::new().with_target(OWN_TARGET, level).with_targets(self.targets.iter().cloned())
    }
}

const fn as_filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::from_level(Level::ERROR),
        LogLevel::Warn => LevelFilter::from_level(Level::WARN),
        LogLevel::Info => LevelFilter::from_level(Level::INFO),
        LogLevel::Debug => LevelFilter::from_level(Level::DEBUG),
        LogLevel::Trace => LevelFilter::from_level(Level::TRACE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The least severe level written for a target with `log.level = "warn"`.
    fn written(rust_log: &str, target: &str) -> Option<Level> {
        let (directives, _) = Directives::read(rust_log);
        let filter = directives.filter(LogLevel::Warn);
        let levels = [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR];
        levels.into_iter().find(|level| filter.would_enable(target, level))
    }

    #[test]
    fn directives_of_other_programs_leave_the_configured_level_in_force() {
        for rust_log in
            ["", ",", "myapp=debug", "h2::codec=trace, rustls=off", "myapp::db", "verbose", "warning"]
        {
            assert_eq!(written(rust_log, "credira_gateway::admin"), Some(Level::WARN), "{rust_log}");
            assert_eq!(written(rust_log, "hyper"), None, "{rust_log}");
        }
    }

    #[test]
    fn a_level_alone_or_of_this_program_wins() {
        for (rust_log, level) in [
            ("debug", Some(Level::DEBUG)),
            ("INFO", Some(Level::INFO)),
            ("off", None),
            ("myapp=trace,error", Some(Level::ERROR)),
            ("credira_gateway=info", Some(Level::INFO)),
            ("credira_gateway", Some(Level::TRACE)),
            ("error,credira_gateway::admin=debug", Some(Level::DEBUG)),
            ("credira_gateway::access=off", Some(Level::WARN)),
        ] {
            assert_eq!(written(rust_log, "credira_gateway::admin"), level, "{rust_log}");
        }
        assert_eq!(written("credira_gateway::access=off", "credira_gateway::access"), None);
        assert!(is_own("credira_gateway") && is_own("credira_gateway::access"));
        assert!(!is_own("credira_gatewayish") && !is_own("hyper"));
    }

    #[test]
    fn mistaken_levels_are_distinguished_from_other_programs_targets() {
        let unread = |text| Directives::read(text).1;
        assert_eq!(unread("verbose"), ["verbose"]);
        assert_eq!(unread("warning,myapp=loud,credira_gateway=loud"), ["warning", "credira_gateway=loud"]);
        assert!(unread("myapp=debug,a::b,info,").is_empty());
    }
}
