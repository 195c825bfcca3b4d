//! The process's memory holds keys, tokens and calls: it is nobody's to read, not even after a crash.
//!
//! What secrets are read into is wiped when it is dropped, and of tokens only digests are kept. What
//! stays in memory are the upstream keys, in the header values that requests are made of (the HTTP
//! library's own copies are wiped by nobody), the environment, the text of the configuration while it is
//! read, and the cached calls: for those there is this.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Forbids core dumps of this process, and its memory and environment to other processes of the same
/// user. Whoever may trace any process, as root usually may, still can.
pub fn forbid_dumps() -> io::Result<()> {
    let closed = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    // For what looks at the limit alone, as the programs do that some kernels hand dumps to.
    let limited = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    Ok(closed.and(limited)?)
}
