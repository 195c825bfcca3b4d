use std::fmt;
use std::sync::Arc;

/// A tenant's name: `[a-z0-9-]{1,63}`. It labels metrics and log lines, and its grammar makes both unforgeable.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TenantName(Arc<str>);

/// The text is not a tenant's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidTenantName;

impl TenantName {
    /// The `tenant` label of requests without a valid tenant. Not a valid name in a configuration.
    pub(crate) const UNKNOWN: &'static str = "-";

    /// Reads a name; a lone `-` is refused, since metrics use it for requests without a tenant.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidTenantName> {
        let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !plain || text.is_empty() || text.len() > 63 || text == Self::UNKNOWN {
            return Err(InvalidTenantName);
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_letters_digits_and_dashes() {
        for good in ["a", "billing", "team-7", "0", &"x".repeat(63)] {
            assert_eq!(TenantName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "-", "Billing", "a b", "a:b", "a_b", "ä", "a\n", "a\u{1b}[31m", &"x".repeat(64)] {
            assert_eq!(TenantName::parse(bad), Err(InvalidTenantName), "{bad:?}");
        }
    }
}
