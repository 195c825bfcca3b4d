//! The limit of open files, and the share of clients' connections in it: the rest is reserved for the upstream, the
//! admin plane and the process itself, so that no number of clients can prevent answers.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Settings;

/// The admin plane's connections, and additional ones for probes and scrapes.
pub(super) const ADMIN_CONNECTIONS: usize = 64;
pub(super) const KEPT_FOR_PROBES: usize = 8;

/// Files of the process itself: listeners, timers, the log, secrets while they are read.
const OWN: usize = 32;

/// The limit of open files.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenFiles(usize);

impl OpenFiles {
    /// Raises the limit as far as permitted: the usual default is far too low for a server.
    pub(super) fn raised() -> Self {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: limit.maximum, ..limit };
        let current = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit.maximum,
            Err(_) => limit.current,
        };
        // No number means no limit.
        Self(current.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX))
    }

    /// The number of client connections that fits, at most as configured. Files needed for other purposes are
    /// reserved, up to half of all.
    pub(super) fn client_connections(self, settings: &Settings) -> usize {
        let upstream = settings.tenants.len().saturating_mul(settings.upstream.max_connections);
        let others = upstream.saturating_add(OWN + ADMIN_CONNECTIONS + KEPT_FOR_PROBES).min(self.0 / 2);
        let room = self.0 - others;
        let wanted = settings.limits.max_connections;
        if room < wanted {
            tracing::warn!(
                open_files = self.0,
                room,
                "the limit of open files leaves room for fewer client connections than limits.max_connections: \
                 further clients wait. Raise it (ulimit -n, LimitNOFILE=)"
            );
        }
        room.clamp(1, wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::super::in_process;
    use super::*;

    /// With `tenants` that each have 10 connections, and 1000 clients.
    fn room(files: usize, tenants: usize) -> usize {
        let mut text = String::from(
            "[upstream]\nbase_url = \"http://127.0.0.1:1\"\nmax_connections = 10\n[limits]\nmax_connections = 1000\n",
        );
        for n in 0..tenants {
            text += &format!(
                "[[tenants]]\nname = \"t{n}\"\ntokens = [{{ value = \"a-token-of-tenant-number-{n:012}\" }}]\n\
                 upstream_key = {{ value = \"key\" }}\n"
            );
        }
        OpenFiles(files).client_connections(&in_process::settings(&text))
    }

    #[test]
    fn files_for_other_purposes_are_reserved_up_to_half() {
        assert_eq!(room(usize::MAX, 2), 1000);
        assert_eq!(room(1024, 2), 1024 - 20 - 104);
        assert_eq!(room(256, 2), 256 - 20 - 104);
        assert_eq!(room(256, 100), 128);
        assert_eq!(room(0, 1), 1, "at least one client must be served");
    }

    #[test]
    fn the_limit_is_raised_to_the_hard_one() {
        OpenFiles::raised();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
