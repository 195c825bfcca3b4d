//! The interface of a section of the file. Each has one implementation, in a file of its own below
//! `sections/`, which holds everything about the section: the keys with their descriptions and defaults,
//! the check, the settings, how they are shown, and which of them need a restart.

use std::path::PathBuf;

use serde::Serialize;

use super::checker::Checker;

/// A section, as the program uses it once every value is checked.
pub(crate) trait Section: Sized + 'static {
    /// The section as it is written in the file.
    type Raw;
    /// The section as `check --print` and the admin API show it. Built key by key from the settings, so that
    /// nothing is shown by accident.
    type Effective: Serialize;
    /// The keys that a running process can't change. A reload that would change one is rejected as a whole;
    /// every other key follows a reload.
    const RESTART: &'static [RestartKey<Self>] = &[];

    /// Checks what a schema can't express. `None` if there is a problem without which no settings can be
    /// made; less serious problems are noted and the check continues.
    fn check(raw: Self::Raw, checker: &mut Checker<'_>) -> Option<Self>;

    fn show(&self) -> Self::Effective;

    /// The files that the section was read from, as the configuration names them: secrets and certificates.
    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

/// A key that a running process can't change.
pub(crate) struct RestartKey<S> {
    /// Its full name, as `listen.address`.
    pub(crate) key: &'static str,
    /// Whether two configurations differ in it.
    pub(crate) differs: fn(&S, &S) -> bool,
}
