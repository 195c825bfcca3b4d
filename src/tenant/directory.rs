//! From token to tenant.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use http::HeaderValue;

use super::credentials::token_hash;
use super::owned::Tenant;
use crate::domain::{Refusal, TenantName, TokenHash};

/// The tenants of one configuration. On the data plane a tenant is reached through its token alone.
pub struct Directory {
    by_token: HashMap<TokenHash, Arc<Tenant>, BuildHasherDefault<DigestHasher>>,
    by_name: HashMap<TenantName, Arc<Tenant>>,
}

impl Directory {
    /// A directory of tenants; the configuration has made sure that no two share a token.
    pub fn new(tenants: impl IntoIterator<Item = Arc<Tenant>>) -> Self {
        let mut directory = Self { by_token: HashMap::default(), by_name: HashMap::new() };
        for tenant in tenants {
            for hash in tenant.token_hashes() {
                directory.by_token.insert(*hash, Arc::clone(&tenant));
            }
            directory.by_name.insert(tenant.name().clone(), tenant);
        }
        directory
    }

    /// The tenant whose token a request bears in its one `Authorization`. All that is wrong with a token
    /// looks the same from outside. A wrong one costs one digest and leaves nothing behind.
    pub fn recognise(&self, authorization: Option<&HeaderValue>) -> Result<&Arc<Tenant>, Refusal> {
        authorization
            .and_then(token_hash)
            .and_then(|hash| self.by_token.get(&hash))
            .ok_or(Refusal::Unauthorized)
    }

    /// A tenant by name, for the admin plane.
    pub fn named(&self, name: &TenantName) -> Option<&Arc<Tenant>> {
        self.by_name.get(name)
    }

    /// All tenants, for the admin plane.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.by_name.values()
    }
}

/// Passes on the part of a digest that [`TokenHash`] writes, which is as random as any hash.
#[derive(Default)]
struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}
