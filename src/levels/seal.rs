//! Seals entries: names by HMAC, contents by AES-256-GCM, under keys derived from the upstream key, the level's own
//! key, the upstream's URL and the tenant. So an entry of another tenant, account or call cannot be opened, wherever
//! it is. Knows no level.

mod fleet;

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{self, HKDF_SHA256, KeyType, Prk};
use ring::hmac;

use crate::config::{BaseUrl, LevelKey, UpstreamKey};
use crate::domain::{CallId, Mark, TenantName};

pub(crate) use fleet::{FleetSeal, TenantTag};

/// The format of sealed entries and of their names. Another one has other names, so it is never found.
const FORMAT: &[u8] = b"credira-gateway level 1";

const SALT_LEN: usize = 16;
const RECEIPT_LEN: usize = 8;
const TAG_LEN: usize = 16;
const HEAD_LEN: usize = SALT_LEN + Mark::LEN + RECEIPT_LEN;
const KEY_LEN: usize = 32;

/// The size that sealing adds to an entry.
pub(crate) const OVERHEAD: usize = HEAD_LEN + TAG_LEN;

/// The name of a call under one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SealedName(pub(crate) [u8; 32]);

/// The fleet's and the tenant's generation: random, and replaced by a purge of everything or of the tenant, so that no
/// older entry in the shared level is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NameGeneration(pub(crate) [u8; 32]);

/// Identifies a key without revealing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SealKeyId(pub(crate) [u8; 16]);

/// The metadata of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryStamp {
    /// When its fetch began, in terms of purges.
    pub(crate) mark: Mark,
    /// When the answer arrived, in seconds since 1970.
    pub(crate) receipt: i64,
}

pub(crate) struct OpenedEntry {
    pub(crate) stamp: EntryStamp,
    pub(crate) bytes: Vec<u8>,
}

/// The key for one tenant's entries.
struct SealKey {
    id: SealKeyId,
    names: hmac::Key,
    contents: Prk,
    tenant: TenantName,
}

/// The keys under which a tenant's entries may be sealed: those of its upstream keys, the one last known to be in use
/// first.
pub(crate) struct SealRing {
    keys: Vec<SealKey>,
}

/// A length of derived bytes.
struct DerivedLen(usize);

impl KeyType for DerivedLen {
    fn len(&self) -> usize {
        self.0
    }
}

/// Derives bytes from a key for a purpose. Fails only for more than 8 KiB.
fn derived<const N: usize>(from: &Prk, purpose: &[&[u8]]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    from.expand(purpose, DerivedLen(N)).and_then(|okm| okm.fill(&mut bytes)).ok()?;
    Some(bytes)
}

/// The key and nonce of one message: those of its salt, which no other message has.
fn one_time_key(from: &Prk, salt: &[u8]) -> Option<(LessSafeKey, Nonce)> {
    let bytes = derived::<{ KEY_LEN + NONCE_LEN }>(from, &[b"entry\0", salt])?;
    let (key, nonce) = bytes.split_at_checked(KEY_LEN)?;
    let key = UnboundKey::new(&AES_256_GCM, key).ok()?;
    Some((LessSafeKey::new(key), Nonce::try_assume_unique_for_key(nonce).ok()?))
}

impl SealKey {
    fn derive(
        key: &UpstreamKey,
        level: Option<&LevelKey>,
        url: &BaseUrl,
        tenant: &TenantName,
    ) -> Option<Self> {
        let upstream = key.authorization();
        let level = level.map(LevelKey::expose).unwrap_or_default();
        // Each with its length, so that no two pairs have the same encoding.
        let lengths = [upstream.len(), level.len()].map(|len| (len as u64).to_be_bytes());
        let secret = [&lengths[0], upstream.as_bytes(), &lengths[1], level].concat();
        let account = [url.normalised().as_bytes(), b"\0", tenant.as_str().as_bytes()].concat();
        let root = hkdf::Salt::new(HKDF_SHA256, FORMAT).extract(&secret);
        let contents = derived::<KEY_LEN>(&root, &[b"contents\0", &account])?;
        Some(Self {
            id: SealKeyId(derived(&root, &[b"id\0", &account])?),
            names: hmac::Key::new(hmac::HMAC_SHA256, &derived::<KEY_LEN>(&root, &[b"names\0", &account])?),
            contents: Prk::new_less_safe(HKDF_SHA256, &contents),
            tenant: tenant.clone(),
        })
    }

    fn name(&self, id: &CallId) -> SealedName {
        self.name_of(id.as_bytes())
    }

    fn name_of(&self, text: &[u8]) -> SealedName {
        let tag = hmac::sign(&self.names, text);
        let mut name = [0; 32];
        // An HMAC-SHA256 has 32 bytes.
        name.iter_mut().zip(tag.as_ref()).for_each(|(place, byte)| *place = *byte);
        SealedName(name)
    }

    /// The name of a call in the shared level, which differs in every generation.
    fn shared_name(&self, id: &CallId, generation: &NameGeneration) -> SealedName {
        self.name_of(&[&generation.0, id.as_bytes()].concat())
    }

    /// The data that an entry is bound to besides its key.
    fn bound_to(&self, head: &[u8], id: &CallId) -> Vec<u8> {
        [FORMAT, b"\0", self.tenant.as_str().as_bytes(), b"\0", id.as_bytes(), b"\0", head].concat()
    }

    fn seal(&self, id: &CallId, stamp: EntryStamp, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = Vec::with_capacity(bytes.len() + OVERHEAD);
        let mut salt = [0; SALT_LEN];
        getrandom::fill(&mut salt).ok()?;
        sealed.extend_from_slice(&salt);
        sealed.extend_from_slice(&stamp.mark.to_bytes());
        sealed.extend_from_slice(&stamp.receipt.to_be_bytes());
        let (key, nonce) = one_time_key(&self.contents, &salt)?;
        let aad = Aad::from(self.bound_to(&sealed, id));
        sealed.extend_from_slice(bytes);
        let contents = sealed.get_mut(HEAD_LEN..)?;
        let tag = key.seal_in_place_separate_tag(nonce, aad, contents).ok()?;
        sealed.extend_from_slice(tag.as_ref());
        Some(sealed)
    }

    fn open(&self, id: &CallId, sealed: &[u8]) -> Option<OpenedEntry> {
        let (head, contents) = sealed.split_at_checked(HEAD_LEN)?;
        let (salt, stamp) = head.split_at_checked(SALT_LEN)?;
        let (mark, receipt) = stamp.split_at_checked(Mark::LEN)?;
        let stamp = EntryStamp {
            mark: Mark::from_bytes(mark.try_into().ok()?),
            receipt: i64::from_be_bytes(receipt.try_into().ok()?),
        };
        let (key, nonce) = one_time_key(&self.contents, salt)?;
        let mut bytes = contents.to_vec();
        let len = key.open_in_place(nonce, Aad::from(self.bound_to(head, id)), &mut bytes).ok()?.len();
        bytes.truncate(len);
        Some(OpenedEntry { stamp, bytes })
    }
}

impl SealRing {
    /// The ring of a tenant with these upstream keys. The first one seals.
    pub(crate) fn new<'a>(
        keys: impl IntoIterator<Item = &'a UpstreamKey>,
        level: Option<&LevelKey>,
        url: &BaseUrl,
        tenant: &TenantName,
    ) -> Self {
        let derive = |key| SealKey::derive(key, level, url, tenant);
        Self { keys: keys.into_iter().filter_map(derive).collect() }
    }

    /// Which keys they are.
    pub(crate) fn ids(&self) -> Vec<SealKeyId> {
        self.keys.iter().map(|key| key.id).collect()
    }

    /// The key that seals.
    pub(crate) fn in_use(&self, place: usize) -> Option<SealKeyId> {
        self.keys.get(place).map(|key| key.id)
    }

    /// The names of a call under each key.
    pub(crate) fn names(&self, id: &CallId) -> Vec<SealedName> {
        self.keys.iter().map(|key| key.name(id)).collect()
    }

    /// The names of a call in the shared level under each key.
    pub(crate) fn shared_names(&self, id: &CallId, generation: &NameGeneration) -> Vec<SealedName> {
        self.keys.iter().map(|key| key.shared_name(id, generation)).collect()
    }

    /// Opens an entry that was found under the name of the key at `place`.
    pub(crate) fn open_at(&self, place: usize, id: &CallId, sealed: &[u8]) -> Option<OpenedEntry> {
        self.keys.get(place)?.open(id, sealed)
    }

    /// Seals an entry under the key at `place`.
    pub(crate) fn seal(
        &self,
        place: usize,
        id: &CallId,
        stamp: EntryStamp,
        bytes: &[u8],
    ) -> Option<SealedEntry> {
        let key = self.keys.get(place)?;
        Some(SealedEntry { name: key.name(id), key: key.id, bytes: key.seal(id, stamp, bytes)? })
    }

    /// Opens an entry that was found under a key's ID.
    pub(crate) fn open(&self, under: SealKeyId, id: &CallId, sealed: &[u8]) -> Option<OpenedEntry> {
        self.keys.iter().find(|key| key.id == under)?.open(id, sealed)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct SealedEntry {
    pub(crate) name: SealedName,
    pub(crate) key: SealKeyId,
    pub(crate) bytes: Vec<u8>,
}

/// Shows no key.
impl fmt::Debug for SealRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealRing({} keys)", self.keys.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Epoch;

    fn call(text: &str) -> CallId {
        CallId::parse(text.as_bytes()).unwrap()
    }

    fn ring(key: &str, level: Option<&str>, url: &str, tenant: &str) -> SealRing {
        let keys: Vec<_> = key.split(',').map(|key| UpstreamKey::new(&key.into()).unwrap()).collect();
        let level = level.map(LevelKey::for_tests);
        let url = BaseUrl::parse(url).unwrap();
        SealRing::new(&keys, level.as_ref(), &url, &TenantName::parse(tenant).unwrap())
    }

    const URL: &str = "https://api.credira.com";

    fn stamp() -> EntryStamp {
        let mark = Mark { epoch: Epoch { number: 0, random: 9 }, record: 3 };
        EntryStamp { mark, receipt: 1_700_000_000 }
    }

    fn opens(ring: &SealRing, id: &str, sealed: &SealedEntry) -> bool {
        let ids = ring.ids();
        ids.into_iter().any(|key| ring.open(key, &call(id), &sealed.bytes).is_some())
    }

    #[test]
    fn what_was_sealed_opens_with_its_stamp_and_shows_nothing_of_itself() {
        let ring = ring("key", None, URL, "alpha");
        let sealed = ring.seal(0, &call("call_canary"), stamp(), b"canary +1234567890").unwrap();
        let opened = ring.open(sealed.key, &call("call_canary"), &sealed.bytes).unwrap();
        assert_eq!((opened.stamp, &opened.bytes[..]), (stamp(), &b"canary +1234567890"[..]));
        assert_eq!(sealed.bytes.len(), 18 + OVERHEAD);
        let again = ring.seal(0, &call("call_canary"), stamp(), b"canary +1234567890").unwrap();
        assert_eq!(again.name, sealed.name);
        assert_ne!(again.bytes, sealed.bytes, "a salt of its own");
        let all = [&sealed.bytes[..], &sealed.name.0, &sealed.key.0].concat();
        assert!(!all.windows(6).any(|part| part == b"canary"));
    }

    #[test]
    fn another_call_tenant_account_or_key_opens_nothing_and_has_another_name() {
        let own = ring("key", Some("level"), URL, "alpha");
        let sealed = own.seal(0, &call("call_1"), stamp(), b"{}").unwrap();
        assert!(opens(&own, "call_1", &sealed) && !opens(&own, "call_2", &sealed));
        for other in [
            ring("other", Some("level"), URL, "alpha"),
            ring("key", Some("other"), URL, "alpha"),
            ring("key", None, URL, "alpha"),
            ring("key", Some("level"), "https://other.example", "alpha"),
            ring("key", Some("level"), "http://api.credira.com", "alpha"),
            ring("key", Some("level"), URL, "beta"),
        ] {
            assert!(!opens(&other, "call_1", &sealed));
            assert_ne!(other.names(&call("call_1")), own.names(&call("call_1")));
            assert_ne!(other.ids(), own.ids());
        }
        for same in ["https://api.credira.com:443", "https://API.credira.COM/"] {
            assert!(opens(&ring("key", Some("level"), same, "alpha"), "call_1", &sealed), "{same}");
        }
    }

    #[test]
    fn no_bit_may_differ() {
        let ring = ring("key", None, URL, "alpha");
        let sealed = ring.seal(0, &call("call_1"), stamp(), b"{}").unwrap();
        for place in 0..sealed.bytes.len() {
            let mut other = sealed.clone();
            other.bytes[place] ^= 1;
            assert!(!opens(&ring, "call_1", &other), "{place}");
            other.bytes.truncate(place);
            assert!(!opens(&ring, "call_1", &other), "{place}");
        }
    }

    #[test]
    fn a_ring_opens_what_either_key_sealed() {
        let two = ring("old,new", None, URL, "alpha");
        for key in ["old", "new"] {
            let sealed = ring(key, None, URL, "alpha").seal(0, &call("call_1"), stamp(), b"{}").unwrap();
            assert!(opens(&two, "call_1", &sealed), "{key}");
            assert!(two.names(&call("call_1")).contains(&sealed.name));
        }
        assert_eq!(format!("{two:?}"), "SealRing(2 keys)");
    }
}
