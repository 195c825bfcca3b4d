//! The process's memory holds keys, tokens and calls: it is nobody's to read, not even after a crash.
//!
//! Tokens are wiped once their digests were taken. What stays in memory unwiped are the upstream keys,
//! in the header values that requests are made of, the environment's variables and the cached calls:
//! for those there is this.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Forbids core dumps of this process, and its memory and environment to other processes of the same
/// user. Whoever may trace any process, as root usually may, still can.
pub fn forbid_dumps() -> io::Result<()> {
    // Some kernels hand dumps to a program, which looks at this limit.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}
