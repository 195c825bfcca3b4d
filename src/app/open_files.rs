//! How many files the process may have open, and what of them clients' connections may take: the rest
//! is for the upstream, the admin plane and the process itself, so that clients, however many, keep
//! nobody from an answer.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::listeners::ADMIN_CONNECTIONS;
use crate::config::Settings;

/// Files of the process itself: listeners, timers, the log, secrets while they are read.
const OWN: usize = 32;

/// The limit of open files.
#[derive(Debug, Clone, Copy)]
pub struct OpenFiles(usize);

impl OpenFiles {
    /// Raises the limit as far as the process may. The usual one is for programs of forty years ago.
    pub fn raised() -> Self {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: limit.maximum, ..limit };
        let current = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit.maximum,
            Err(_) => limit.current,
        };
        // No number is no limit.
        Self(current.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX))
    }

    /// The connections of clients that there is room for, at most as many as configured. What others
    /// need is kept back, up to half of all.
    pub fn client_connections(self, settings: &Settings) -> usize {
        let upstream = settings.tenants.len().saturating_mul(settings.upstream.max_connections);
        let others = upstream.saturating_add(OWN + ADMIN_CONNECTIONS).min(self.0 / 2);
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
    use super::super::indoors;
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
        OpenFiles(files).client_connections(&indoors::settings(&text))
    }

    #[test]
    fn what_others_need_is_kept_back_up_to_half() {
        assert_eq!(room(usize::MAX, 2), 1000);
        assert_eq!(room(1024, 2), 1024 - 20 - 96);
        assert_eq!(room(256, 2), 256 - 20 - 96);
        assert_eq!(room(256, 100), 128);
        assert_eq!(room(0, 1), 1, "somebody must be served to be told anything");
    }

    #[test]
    fn the_limit_is_raised_to_the_hard_one() {
        OpenFiles::raised();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
