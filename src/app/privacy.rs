//! Protects the process's memory, which holds keys, tokens and calls, from other processes and from core dumps.
//!
//! Buffers that secrets were read into are wiped when dropped, and of tokens only digests are kept. Upstream keys
//! stay in memory, in the header values of requests (the HTTP library's copies are not wiped), as do the environment,
//! the text of the configuration while it is read, and cached calls. This module covers those.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Forbids core dumps of this process, and access to its memory and environment by other processes of the same user.
/// A process that may trace any other, as root's usually may, still can.
pub(crate) fn forbid_dumps() -> io::Result<()> {
    let closed = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    // For programs that check only the limit, such as the dump handlers that some kernels start.
    let limited = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    Ok(closed.and(limited)?)
}
