//! The kinds of the client library's errors. Their texts may hold data, so no more than a kind leaves this file.

use std::error::Error;
use std::io;
use std::sync::Arc;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::failure::EngineFailure;

pub(super) fn failure(error: &RedisError) -> EngineFailure {
    if error.is_timeout() {
        return EngineFailure::Timeout;
    }
    match error.kind() {
        ErrorKind::AuthenticationFailed => EngineFailure::Rejected,
        ErrorKind::Server(ServerErrorKind::NoPerm) => EngineFailure::Forbidden,
        ErrorKind::Server(ServerErrorKind::ReadOnly) => EngineFailure::ReadOnly,
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::TryAgain
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask,
        ) => EngineFailure::NotReady,
        ErrorKind::MasterNameNotFoundBySentinel => EngineFailure::UnknownName,
        ErrorKind::Io => connection_failure(error),
        ErrorKind::ClusterConnectionNotFound | ErrorKind::NoValidReplicasFoundBySentinel => {
            EngineFailure::Unreachable
        }
        _ => match error.code() {
            Some("NOAUTH" | "WRONGPASS") => EngineFailure::Rejected,
            Some("OOM" | "MISCONF" | "NOREPLICAS") => EngineFailure::Full,
            Some("ERR") => error.detail().map_or(EngineFailure::Protocol, script_failure),
            _ => EngineFailure::Protocol,
        },
    }
}

/// The kind of an error within a script, which no code tells: before version 7, the code is in the text.
fn script_failure(text: &str) -> EngineFailure {
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["The user executing the script can't", "ACL failure in script", "-NOPERM "]) {
        EngineFailure::Forbidden
    } else if says(&["-OOM ", "-MISCONF ", "-NOREPLICAS "]) {
        EngineFailure::Full
    } else if says(&["-READONLY "]) {
        EngineFailure::ReadOnly
    } else {
        EngineFailure::Protocol
    }
}

fn connection_failure(error: &RedisError) -> EngineFailure {
    // The library keeps the system's error behind a pointer of its own.
    let kept = error.source().and_then(|source| source.downcast_ref::<Arc<dyn Error + Send + Sync>>());
    let Some(system) = kept.and_then(|kept| kept.downcast_ref::<io::Error>()) else {
        return EngineFailure::Unreachable;
    };
    match system.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_)) => return EngineFailure::Certificate,
        Some(_) => return EngineFailure::Tls,
        None => {}
    }
    match system.kind() {
        io::ErrorKind::ConnectionRefused => EngineFailure::Refused,
        io::ErrorKind::NotFound => EngineFailure::NoSocket,
        io::ErrorKind::PermissionDenied => EngineFailure::NoAccess,
        // The resolver's errors have no kind of their own.
        _ if system.to_string().starts_with("failed to lookup address") => EngineFailure::NoAddress,
        _ => EngineFailure::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_within_scripts_differ_by_their_texts() {
        let in_script = "Error running script (call to f_0): @user_script:28: @user_script: 28: ";
        for (text, expected) in [
            ("The user executing the script can't run this command or subcommand", EngineFailure::Forbidden),
            (
                "ACL failure in script: User a has no permissions to run the 'hset' command",
                EngineFailure::Forbidden,
            ),
            ("-NOPERM this user has no permissions", EngineFailure::Forbidden),
            ("-OOM command not allowed when used memory > 'maxmemory'.", EngineFailure::Full),
            ("-MISCONF Redis is configured to save RDB snapshots", EngineFailure::Full),
            ("-NOREPLICAS Not enough good replicas to write.", EngineFailure::Full),
            ("-READONLY You can't write against a read only replica.", EngineFailure::ReadOnly),
            ("Script attempted to access nonexistent global variable", EngineFailure::Protocol),
        ] {
            assert_eq!(script_failure(&format!("{in_script}{text}")), expected, "{text}");
        }
    }
}
