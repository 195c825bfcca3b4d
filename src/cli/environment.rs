//! The process's environment, in the configuration's form.

use std::collections::BTreeMap;

/// Every variable in UTF-8; others can't be named in a configuration.
pub(crate) fn variables() -> BTreeMap<String, String> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}
