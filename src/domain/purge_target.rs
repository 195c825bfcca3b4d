//! What a purge removes.

use super::{CallId, TenantName};

/// What a purge removes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum PurgeTarget {
    /// One call of a tenant.
    Call(TenantName, CallId),
    /// A tenant.
    Tenant(TenantName),
    /// Everything.
    All,
}

impl PurgeTarget {
    /// The tenant whose entries it removes; `None` for all tenants.
    pub(crate) const fn tenant(&self) -> Option<&TenantName> {
        match self {
            Self::Call(tenant, _) | Self::Tenant(tenant) => Some(tenant),
            Self::All => None,
        }
    }

    /// As gateways of a fleet write it to each other.
    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::Call(tenant, id) => format!("{tenant}/{}", id.as_str()),
            Self::Tenant(tenant) => tenant.to_string(),
            Self::All => "*".into(),
        }
    }

    /// Reads [`to_text`](Self::to_text).
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        match text.split_once('/') {
            None => TenantName::parse(text).ok().map(Self::Tenant),
            Some((tenant, id)) => {
                Some(Self::Call(TenantName::parse(tenant).ok()?, CallId::parse(id.as_bytes()).ok()?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_survives_being_written() {
        let tenant = TenantName::parse("alpha").unwrap();
        let call = PurgeTarget::Call(tenant.clone(), CallId::parse(b"call_1").unwrap());
        for target in [call, PurgeTarget::Tenant(tenant), PurgeTarget::All] {
            assert_eq!(PurgeTarget::parse(&target.to_text()), Some(target));
        }
        for text in ["", "ALPHA", "alpha/", "alpha/x", "/call_1"] {
            assert_eq!(PurgeTarget::parse(text), None, "{text}");
        }
    }
}
