//! What a running process can't change: a reload that wants it is refused as a whole.

use super::settings::Settings;

/// How two configurations compare in one key.
type Differs = fn(&Settings, &Settings) -> bool;

/// The keys, each with whether it differs. Every other key follows a reload.
const FIXED: [(&str, Differs); 4] = [
    ("listen.address", |old, new| old.listen.addresses != new.listen.addresses),
    // Its files are read again; speaking TLS or not stays as it is.
    ("listen.tls", |old, new| old.listen.tls.is_some() != new.listen.tls.is_some()),
    ("admin.address", |old, new| old.admin.address != new.admin.address),
    ("log.format", |old, new| old.log.format != new.log.format),
];

/// The keys that a running process can't change and `new` wants changed.
pub fn needs_restart(old: &Settings, new: &Settings) -> Vec<&'static str> {
    FIXED.into_iter().filter(|(_, differs)| differs(old, new)).map(|(key, _)| key).collect()
}

/// The keys that a running process can't change.
#[cfg(test)]
pub fn fixed_keys() -> [&'static str; FIXED.len()] {
    FIXED.map(|(key, _)| key)
}
