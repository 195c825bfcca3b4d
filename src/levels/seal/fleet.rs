//! Seals what the gateways of a fleet tell each other, under keys derived from the fleet's own key. A gateway with
//! another key or prefix can neither read nor write it.

use std::fmt;

use ring::aead::Aad;
use ring::hkdf::{self, HKDF_SHA256, Prk};
use ring::hmac;

use super::{KEY_LEN, SALT_LEN, derived, one_time_key};
use crate::config::LevelKey;
use crate::domain::TenantName;

const FLEET_FORMAT: &[u8] = b"credira-gateway fleet 1";

/// Names a tenant, or all tenants, to the engine, which learns nothing from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TenantTag(pub(crate) [u8; 16]);

impl TenantTag {
    /// All tenants.
    pub(crate) const ALL: Self = Self([0; 16]);
}

/// The fleet's keys.
pub(crate) struct FleetSeal {
    statements: Prk,
    tags: hmac::Key,
}

impl FleetSeal {
    /// `None` if the keys can't be derived, which does not happen with the lengths used here.
    pub(crate) fn new(key: &LevelKey, prefix: &str) -> Option<Self> {
        let root = hkdf::Salt::new(HKDF_SHA256, FLEET_FORMAT).extract(key.expose());
        let statements = derived::<KEY_LEN>(&root, &[b"statements\0", prefix.as_bytes()])?;
        let tags = derived::<KEY_LEN>(&root, &[b"tags\0", prefix.as_bytes()])?;
        Some(Self {
            statements: Prk::new_less_safe(HKDF_SHA256, &statements),
            tags: hmac::Key::new(hmac::HMAC_SHA256, &tags),
        })
    }

    pub(crate) fn tag(&self, tenant: &TenantName) -> TenantTag {
        TenantTag(self.keyed(&[b"tenant\0", tenant.as_str().as_bytes()]))
    }

    /// Tells two texts apart, and reveals neither.
    pub(crate) fn digest(&self, text: &[u8]) -> [u8; 16] {
        self.keyed(&[b"digest\0", text])
    }

    fn keyed(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mac = hmac::sign(&self.tags, &parts.concat());
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(mac.as_ref()).for_each(|(place, byte)| *place = *byte);
        bytes
    }

    /// Seals a statement; it is bound to `context`, without which it can't be opened.
    pub(crate) fn seal(&self, context: &[u8], statement: &[u8]) -> Option<Vec<u8>> {
        let mut salt = [0; SALT_LEN];
        getrandom::fill(&mut salt).ok()?;
        let (key, nonce) = one_time_key(&self.statements, &salt)?;
        let mut sealed = [&salt[..], statement].concat();
        let contents = sealed.get_mut(SALT_LEN..)?;
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(context), contents).ok()?;
        sealed.extend_from_slice(tag.as_ref());
        Some(sealed)
    }

    /// The statement, if a gateway of this fleet sealed it in this context.
    pub(crate) fn open(&self, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (salt, contents) = sealed.split_at_checked(SALT_LEN)?;
        let (key, nonce) = one_time_key(&self.statements, salt)?;
        let mut bytes = contents.to_vec();
        let len = key.open_in_place(nonce, Aad::from(context), &mut bytes).ok()?.len();
        bytes.truncate(len);
        Some(bytes)
    }
}

/// Shows no key.
impl fmt::Debug for FleetSeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FleetSeal(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(key: &str, prefix: &str) -> FleetSeal {
        FleetSeal::new(&LevelKey::for_tests(key), prefix).unwrap()
    }

    #[test]
    fn only_the_same_fleet_opens_a_statement_and_only_in_its_context() {
        let own = fleet("key", "cg1");
        let sealed = own.seal(b"a", b"purge call_canary").unwrap();
        assert_eq!(own.open(b"a", &sealed).unwrap(), b"purge call_canary");
        assert!(!sealed.windows(6).any(|part| part == b"canary"));
        assert_eq!(own.open(b"b", &sealed), None);
        assert_eq!(fleet("other", "cg1").open(b"a", &sealed), None);
        assert_eq!(fleet("key", "cg2").open(b"a", &sealed), None);
        for place in 0..sealed.len() {
            let mut other = sealed.clone();
            other[place] ^= 1;
            assert_eq!(own.open(b"a", &other), None);
            assert_eq!(own.open(b"a", &sealed[..place]), None);
        }
    }

    #[test]
    fn tags_tell_tenants_apart_and_differ_from_fleet_to_fleet() {
        let [alpha, beta] = ["alpha", "beta"].map(|name| TenantName::parse(name).unwrap());
        let own = fleet("key", "cg1");
        assert_ne!(own.tag(&alpha), own.tag(&beta));
        assert_ne!(own.tag(&alpha), fleet("other", "cg1").tag(&alpha));
        assert_ne!(own.tag(&alpha), TenantTag::ALL);
    }
}
