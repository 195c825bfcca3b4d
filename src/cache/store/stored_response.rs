//! A stored response: status, header fields and body, packed.
//!
//! A header map costs some 100 bytes per field, which every entry would pay for. Here a field that nearly every call
//! has in common takes a bit, tag and date take a header value each, and all text shares one allocation with the
//! body. Values were validated when they arrived, so writing an answer only counts references.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, DATE, ETAG, LAST_MODIFIED, VARY, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::cache::policy::Represented;
use crate::message::{ClientResponse, HeaderFields, OUR_CACHE_CONTROL, OUR_VARY, OUR_VIA, OwnFields};

/// Fields that take a bit: `1 << index` in `StoredResponse::alike`.
static ALIKE: [(HeaderName, HeaderValue); 4] = [
    (CONTENT_TYPE, HeaderValue::from_static("application/json")),
    (CACHE_CONTROL, OUR_CACHE_CONTROL),
    (VARY, OUR_VARY),
    (VIA, OUR_VIA),
];

/// A response. Cheap to clone: clones share its text.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct StoredResponse {
    status: StatusCode,
    alike: u8,
    own: OwnFields,
    etag: Option<HeaderValue>,
    date: Option<HeaderValue>,
    /// All other fields, in their order.
    others: Option<Arc<[(HeaderName, HeaderValue)]>>,
    body: Bytes,
}

/// How a field is stored.
enum FieldSlot {
    /// As a bit, at this index.
    Alike(usize),
    Etag,
    Date,
    Other,
}

fn slot(name: &HeaderName, value: &HeaderValue, fields: &HeaderFields) -> FieldSlot {
    // The order of several lines with one name matters, and is kept among the others.
    if fields.iter().filter(|(have, _)| have == name).count() > 1 {
        return FieldSlot::Other;
    }
    if let Some(place) = ALIKE.iter().position(|(n, v)| n == name && v == value) {
        return FieldSlot::Alike(place);
    }
    match *name {
        ETAG => FieldSlot::Etag,
        DATE => FieldSlot::Date,
        _ => FieldSlot::Other,
    }
}

impl StoredResponse {
    /// Packs a response, in which the gateway added the fields in `own`. Copies it, so that nothing it was read from
    /// is kept alive.
    pub(crate) fn new(response: &ClientResponse, own: OwnFields) -> Self {
        let ClientResponse { status, fields, body } = response;
        let slots: Vec<_> = fields.iter().map(|(name, value)| slot(name, value, fields)).collect();
        let copied = || fields.iter().zip(&slots).filter(|(_, slot)| !matches!(slot, FieldSlot::Alike(_)));
        let text: usize = copied().map(|((_, value), _)| value.len()).sum();
        let mut bytes = Vec::with_capacity(body.len() + text);
        bytes.extend_from_slice(body);
        for ((_, value), _) in copied() {
            bytes.extend_from_slice(value.as_bytes());
        }
        let bytes = Bytes::from(bytes);
        let body_copy = bytes.slice(..body.len());
        let (alike, etag, date, others) = (0, None, None, None);
        let mut packed = Self { status: *status, alike, own, etag, date, others, body: body_copy };
        let mut others = Vec::new();
        let mut at = body.len();
        for ((name, value), slot) in fields.iter().zip(slots) {
            if let FieldSlot::Alike(place) = slot {
                packed.alike |= 1 << place;
                continue;
            }
            // A copy of a header value's bytes is valid, too.
            let end = at + value.len();
            let copy = HeaderValue::from_maybe_shared(bytes.slice(at..end)).ok();
            at = end;
            match slot {
                FieldSlot::Etag => packed.etag = copy,
                FieldSlot::Date => packed.date = copy,
                FieldSlot::Alike(_) | FieldSlot::Other => {
                    others.extend(copy.map(|copy| (copied_name(name), copy)))
                }
            }
        }
        packed.others = (!others.is_empty()).then(|| others.into());
        packed
    }

    /// Which of its fields are the gateway's own.
    pub(crate) const fn own(&self) -> OwnFields {
        self.own
    }

    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    /// The body, sharing the response's allocation.
    pub(crate) fn body(&self) -> Bytes {
        self.body.clone()
    }

    pub(crate) const fn body_len(&self) -> usize {
        self.body.len()
    }

    /// Its size in bytes beside its struct: text and the list of other fields.
    pub(crate) fn len(&self) -> usize {
        let values = [&self.etag, &self.date].into_iter().flatten().map(HeaderValue::len).sum::<usize>();
        let others = self.others.iter().flat_map(|others| others.iter());
        let slot = size_of::<(HeaderName, HeaderValue)>();
        let others: usize = others.map(|(name, value)| slot + name.as_str().len() + value.len()).sum();
        self.body.len() + values + others
    }

    /// The response before it was packed.
    pub(crate) fn unpack(&self) -> ClientResponse {
        let fields = self.fields().map(|(name, value)| (name.clone(), value.clone())).collect();
        ClientResponse { status: self.status, fields, body: self.body.clone() }
    }

    /// The fields, in their order per name.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        let alike = ALIKE.iter().enumerate().filter(|(place, _)| self.alike & (1 << place) != 0);
        let own = [(&ETAG_NAME, &self.etag), (&DATE_NAME, &self.date)];
        let own = own.into_iter().filter_map(|(name, value)| value.as_ref().map(|value| (name, value)));
        let others = self.others.iter().flat_map(|others| others.iter());
        let pair = |field: &'static (HeaderName, HeaderValue)| (&field.0, &field.1);
        alike.map(move |(_, field)| pair(field)).chain(own).chain(others.map(|(name, value)| (name, value)))
    }

    /// Writes the fields into a map that contains none of them.
    pub(crate) fn write_fields(&self, headers: &mut HeaderMap) {
        for (place, (name, value)) in ALIKE.iter().enumerate() {
            if self.alike & (1 << place) != 0 {
                headers.insert(name, value.clone());
            }
        }
        if let Some(etag) = &self.etag {
            headers.insert(ETAG, etag.clone());
        }
        if let Some(date) = &self.date {
            headers.insert(DATE, date.clone());
        }
        for (name, value) in self.others.iter().flat_map(|others| others.iter()) {
            headers.append(name, value.clone());
        }
    }

    /// The first field of a name.
    pub(crate) fn field(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.fields().find(|(have, _)| *have == name).map(|(_, value)| value)
    }

    /// The validators that clients' conditions are evaluated against.
    pub(crate) fn represented(&self) -> Represented<'_> {
        Represented { etag: self.field(&ETAG), last_modified: self.field(&LAST_MODIFIED) }
    }
}

static ETAG_NAME: HeaderName = ETAG;
static DATE_NAME: HeaderName = DATE;

/// The same name, without keeping alive the head that it was read from.
fn copied_name(name: &HeaderName) -> HeaderName {
    HeaderName::from_bytes(name.as_str().as_bytes()).unwrap_or_else(|_| name.clone())
}

/// Shows no field and no body: both are personal data.
impl std::fmt::Debug for StoredResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoredResponse({}, {} bytes)", self.status, self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&'static str, &'static str)]) -> HeaderFields {
        let field =
            |(n, v): &(&'static str, &'static str)| (HeaderName::from_static(n), HeaderValue::from_static(v));
        lines.iter().map(field).collect()
    }

    fn packed(status: StatusCode, fields: HeaderFields, body: &'static [u8]) -> StoredResponse {
        StoredResponse::new(&ClientResponse { status, fields, body: body.into() }, OwnFields::default())
    }

    /// Sorted by name; lines of one name stay in their order.
    fn sorted(fields: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> HeaderFields {
        let mut sorted: HeaderFields = fields.into_iter().collect();
        sorted.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
        sorted
    }

    fn kept(response: &StoredResponse) -> HeaderFields {
        sorted(response.fields().map(|(name, value)| (name.clone(), value.clone())))
    }

    #[test]
    fn a_stored_response_is_unpacked_byte_for_byte() {
        let fields = fields(&[
            ("content-type", "application/json"),
            ("content-type", "text/plain"),
            ("etag", "\"a\""),
            ("date", "Mon, 15 Jan 2024 10:30:00 GMT"),
            ("x-spelled-out", "yes"),
            ("x-empty", ""),
            ("via", "1.1 credira-gateway"),
            ("x-twice", "1"),
            ("vary", "Accept"),
            ("x-twice", "2"),
        ]);
        let response = packed(StatusCode::OK, fields.clone(), b"{\"a\":1}");
        assert_eq!(kept(&response), sorted(fields.clone()));
        let mut headers = HeaderMap::new();
        response.write_fields(&mut headers);
        assert_eq!(sorted(headers.iter().map(|(n, v)| (n.clone(), v.clone()))), sorted(fields));
        assert_eq!(response.body(), "{\"a\":1}");
        assert_eq!((response.status(), response.body_len()), (StatusCode::OK, 7));
        assert_eq!(response.field(&ETAG).unwrap(), "\"a\"");
    }

    #[test]
    fn bytes_outside_ascii_survive() {
        let value = HeaderValue::from_bytes(b"caf\xc3\xa9\xff").unwrap();
        let fields = vec![(HeaderName::from_static("x-name"), value)];
        assert_eq!(kept(&packed(StatusCode::OK, fields.clone(), b"")), fields);
    }

    #[test]
    fn an_empty_response_stays_empty() {
        let response = packed(StatusCode::NO_CONTENT, HeaderFields::new(), b"");
        assert_eq!((response.fields().count(), response.body_len(), response.len()), (0, 0, 0));
    }

    #[test]
    fn common_fields_take_no_space_beyond_their_text() {
        let fields =
            fields(&[("content-type", "application/json"), ("vary", "Authorization"), ("etag", "\"a\"")]);
        let response = packed(StatusCode::OK, fields.clone(), b"{}");
        assert_eq!(response.len(), "{}\"a\"".len());
        assert!(size_of::<StoredResponse>() <= 136, "{}", size_of::<StoredResponse>());
    }

    #[test]
    fn debug_output_shows_neither_fields_nor_body() {
        let response = packed(StatusCode::OK, fields(&[("etag", "secret")]).clone(), b"+1234567890");
        assert_eq!(format!("{response:?}"), "StoredResponse(200 OK, 17 bytes)");
    }
}
