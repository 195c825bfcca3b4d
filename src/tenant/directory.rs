//! Finds tenants by token.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use http::HeaderValue;

use super::digest_hasher::DigestHasher;
use super::owned::Tenant;
use super::passed_tokens::PassedTokens;
use crate::domain::{Refusal, TenantName, TokenHash};
use crate::message::bearer_token;

/// The tenants of one configuration. The data plane reaches a tenant only through its token.
pub(crate) struct Directory {
    by_token: HashMap<TokenHash, Arc<Tenant>, BuildHasherDefault<DigestHasher>>,
    by_name: HashMap<TenantName, Arc<Tenant>>,
    passed: Option<PassedTokens>,
}

impl Directory {
    /// A directory of tenants; the configuration ensures that no two share a token.
    pub(crate) fn new(tenants: impl IntoIterator<Item = Arc<Tenant>>) -> Self {
        let mut directory =
            Self { by_token: HashMap::default(), by_name: HashMap::new(), passed: PassedTokens::new() };
        for tenant in tenants {
            for hash in tenant.token_hashes() {
                directory.by_token.insert(*hash, Arc::clone(&tenant));
            }
            directory.by_name.insert(tenant.name().clone(), tenant);
        }
        directory
    }

    /// The tenant whose token is in the request's only `Authorization`. All kinds of invalid tokens look the same to
    /// clients. An invalid token costs one digest and leaves nothing behind.
    pub(crate) fn recognise(&self, authorization: Option<&HeaderValue>) -> Result<&Arc<Tenant>, Refusal> {
        authorization.and_then(bearer_token).and_then(|token| self.owner(token)).ok_or(Refusal::Unauthorized)
    }

    fn owner(&self, token: &[u8]) -> Option<&Arc<Tenant>> {
        let Some(passed) = &self.passed else { return self.by_token.get(&TokenHash::of(token)) };
        let hash = passed.hash(token);
        if let Some(digest) = passed.digest(hash) {
            return self.by_token.get(&digest);
        }
        let digest = TokenHash::of(token);
        let tenant = self.by_token.get(&digest)?;
        passed.note(hash, digest);
        Some(tenant)
    }

    /// A tenant by name, for the admin plane.
    pub(crate) fn named(&self, name: &TenantName) -> Option<&Arc<Tenant>> {
        self.by_name.get(name)
    }

    /// All tenants, for the admin plane.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.by_name.values()
    }
}
