//! A response as it is kept and passed on: status, header fields and body in one allocation.
//!
//! A header map costs some 100 bytes a field; packed, a field costs its bytes and three more, and
//! the fields that nearly every call has cost one. Reading a field back shares the allocation.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE, DATE, ETAG, EXPIRES, LAST_MODIFIED,
    LINK, RETRY_AFTER, VARY, VIA,
};
use http::{HeaderName, HeaderValue, StatusCode};

use super::etag::Validators;
use super::head::{CACHE_STATUS, Fields, OUR_CACHE_CONTROL, OUR_VARY, OUR_VIA};

/// Whole fields that take one byte: code `WHOLE + place`.
const WHOLE_FIELDS: [(HeaderName, HeaderValue); 4] = [
    (CONTENT_TYPE, HeaderValue::from_static("application/json")),
    (CACHE_CONTROL, OUR_CACHE_CONTROL),
    (VARY, OUR_VARY),
    (VIA, OUR_VIA),
];

/// Names that take one byte: code `NAMED + place`.
const NAMES: [HeaderName; 13] = [
    DATE,
    ETAG,
    CONTENT_TYPE,
    CACHE_CONTROL,
    LAST_MODIFIED,
    EXPIRES,
    VARY,
    VIA,
    CACHE_STATUS,
    RETRY_AFTER,
    CONTENT_LANGUAGE,
    CONTENT_LOCATION,
    LINK,
];

const SPELLED: u8 = 0;
const NAMED: u8 = 1;
const WHOLE: u8 = 128;

/// A response. Cheap to clone: clones share its one allocation.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    status: StatusCode,
    head_len: u32,
    /// The packed fields, then the body.
    bytes: Bytes,
}

impl Reply {
    /// Packs a response. A field whose name or value is longer than 64 KiB is left out; no response
    /// head is that large.
    pub fn new(status: StatusCode, fields: &Fields, body: &[u8]) -> Self {
        let head: usize = fields.iter().map(|(name, value)| packed_len(name, value)).sum();
        let mut packed = Vec::with_capacity(head + body.len());
        for (name, value) in fields {
            pack(name, value, &mut packed);
        }
        let head_len = u32::try_from(packed.len()).unwrap_or(0);
        packed.extend_from_slice(body);
        Self { status, head_len, bytes: packed.into() }
    }

    /// The status.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The body, sharing the reply's allocation.
    pub fn body(&self) -> Bytes {
        self.bytes.slice(self.body_start()..)
    }

    /// Bytes of fields and body.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of the body.
    pub fn body_len(&self) -> usize {
        self.bytes.len() - self.body_start()
    }

    fn body_start(&self) -> usize {
        (self.head_len as usize).min(self.bytes.len())
    }

    /// The fields in their order, sharing the reply's allocation.
    pub fn fields(&self) -> Unpack<'_> {
        Unpack { bytes: &self.bytes, at: 0, end: self.body_start() }
    }

    /// The first field of a name.
    pub fn field(&self, name: &HeaderName) -> Option<HeaderValue> {
        self.fields().find(|(have, _)| have == name).map(|(_, value)| value)
    }

    /// Calls `look` with what a client's condition is held against.
    pub fn with_validators<T>(&self, look: impl FnOnce(Validators<'_>) -> T) -> T {
        let (etag, last_modified, date) = (self.field(&ETAG), self.field(&LAST_MODIFIED), self.field(&DATE));
        look(Validators { etag: etag.as_ref(), last_modified: last_modified.as_ref(), date: date.as_ref() })
    }
}

/// Shows no field and no body: both are personal data.
impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reply({}, {} bytes)", self.status, self.bytes.len())
    }
}

fn place<T: PartialEq>(list: &[T], item: &T) -> Option<u8> {
    list.iter().position(|have| have == item).and_then(|place| u8::try_from(place).ok())
}

fn whole(name: &HeaderName, value: &HeaderValue) -> Option<u8> {
    let is = |(n, v): &(HeaderName, HeaderValue)| n == name && v == value;
    WHOLE_FIELDS.iter().position(is).and_then(|place| u8::try_from(place).ok())
}

fn packed_len(name: &HeaderName, value: &HeaderValue) -> usize {
    match (whole(name, value), place(&NAMES, name)) {
        (Some(_), _) => 1,
        (None, Some(_)) => 3 + value.len(),
        (None, None) => 5 + name.as_str().len() + value.len(),
    }
}

fn pack(name: &HeaderName, value: &HeaderValue, out: &mut Vec<u8>) {
    if let Some(place) = whole(name, value) {
        return out.push(WHOLE + place);
    }
    let (Ok(name_len), Ok(value_len)) = (u16::try_from(name.as_str().len()), u16::try_from(value.len()))
    else {
        return;
    };
    match place(&NAMES, name) {
        Some(place) => out.push(NAMED + place),
        None => {
            out.push(SPELLED);
            out.extend_from_slice(&name_len.to_le_bytes());
            out.extend_from_slice(name.as_str().as_bytes());
        }
    }
    out.extend_from_slice(&value_len.to_le_bytes());
    out.extend_from_slice(value.as_bytes());
}

/// Reads packed fields back.
pub struct Unpack<'a> {
    bytes: &'a Bytes,
    at: usize,
    end: usize,
}

impl Unpack<'_> {
    fn take(&mut self, len: usize) -> Option<Bytes> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.end)?;
        let taken = self.bytes.slice(self.at..end);
        self.at = end;
        Some(taken)
    }

    fn code(&mut self) -> Option<u8> {
        let code = (self.at < self.end).then(|| self.bytes.get(self.at).copied()).flatten()?;
        self.at += 1;
        Some(code)
    }

    fn length(&mut self) -> Option<usize> {
        let (low, high) = (self.code()?, self.code()?);
        Some(usize::from(u16::from_le_bytes([low, high])))
    }
}

impl Iterator for Unpack<'_> {
    type Item = (HeaderName, HeaderValue);

    fn next(&mut self) -> Option<Self::Item> {
        let code = self.code()?;
        if let Some(place) = code.checked_sub(WHOLE) {
            return WHOLE_FIELDS.get(usize::from(place)).cloned();
        }
        let name = match code.checked_sub(NAMED) {
            Some(place) => NAMES.get(usize::from(place))?.clone(),
            None => {
                let len = self.length()?;
                HeaderName::from_bytes(&self.take(len)?).ok()?
            }
        };
        let len = self.length()?;
        let value = HeaderValue::from_maybe_shared(self.take(len)?).ok()?;
        Some((name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&'static str, &'static str)]) -> Fields {
        let field =
            |(n, v): &(&'static str, &'static str)| (HeaderName::from_static(n), HeaderValue::from_static(v));
        lines.iter().map(field).collect()
    }

    #[test]
    fn what_is_packed_comes_back_byte_for_byte() {
        let fields = fields(&[
            ("content-type", "application/json"),
            ("content-type", "text/plain"),
            ("etag", "\"a\""),
            ("x-spelled-out", "yes"),
            ("x-empty", ""),
            ("via", "1.1 credira-gateway"),
            ("x-twice", "1"),
            ("x-twice", "2"),
        ]);
        let reply = Reply::new(StatusCode::OK, &fields, b"{\"a\":1}");
        assert_eq!(reply.fields().collect::<Fields>(), fields);
        assert_eq!(reply.body(), "{\"a\":1}");
        assert_eq!((reply.status(), reply.body_len()), (StatusCode::OK, 7));
        assert_eq!(reply.field(&ETAG).unwrap(), "\"a\"");
        assert_eq!(reply.len(), reply.bytes.len());
    }

    #[test]
    fn bytes_outside_ascii_survive() {
        let value = HeaderValue::from_bytes(b"caf\xc3\xa9\xff").unwrap();
        let fields = vec![(HeaderName::from_static("x-name"), value)];
        assert_eq!(Reply::new(StatusCode::OK, &fields, b"").fields().collect::<Fields>(), fields);
    }

    #[test]
    fn a_reply_of_nothing_is_empty() {
        let reply = Reply::new(StatusCode::NO_CONTENT, &Fields::new(), b"");
        assert_eq!((reply.fields().count(), reply.body_len()), (0, 0));
    }

    #[test]
    fn the_fields_of_nearly_every_call_take_one_byte() {
        let fields = fields(&[("content-type", "application/json"), ("vary", "Authorization")]);
        assert_eq!(Reply::new(StatusCode::OK, &fields, b"").len(), 2);
    }

    #[test]
    fn debug_output_shows_neither_fields_nor_body() {
        let reply = Reply::new(StatusCode::OK, &fields(&[("x-a", "secret")]), b"+1234567890");
        assert_eq!(format!("{reply:?}"), "Reply(200 OK, 25 bytes)");
    }
}
