//! A response as it is kept and passed on: status, header fields and body.
//!
//! A header map costs some 100 bytes a field, which every entry would pay for. Here the fields that
//! nearly every call has alike cost a bit, its tag and date the room of a header value, and all text
//! stands in one allocation with the body. Values were checked when they came, so writing an answer
//! only counts them.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, DATE, ETAG, LAST_MODIFIED, VARY, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::etag::Validators;
use super::head::{Fields, OUR_CACHE_CONTROL, OUR_VARY, OUR_VIA};

/// Fields that take a bit: `1 << place` in `Reply::alike`.
static ALIKE: [(HeaderName, HeaderValue); 4] = [
    (CONTENT_TYPE, HeaderValue::from_static("application/json")),
    (CACHE_CONTROL, OUR_CACHE_CONTROL),
    (VARY, OUR_VARY),
    (VIA, OUR_VIA),
];

/// A response. Cheap to clone: clones share its text.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    status: StatusCode,
    alike: u8,
    own: Own,
    etag: Option<HeaderValue>,
    date: Option<HeaderValue>,
    /// The others, in their order.
    others: Option<Arc<[(HeaderName, HeaderValue)]>>,
    body: Bytes,
}

/// Which of a reply's fields the gateway made up, because the upstream gave none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Own {
    /// `ETag`.
    pub etag: bool,
    /// `Cache-Control`.
    pub cache_control: bool,
}

/// What kind of room a field takes.
enum Room {
    /// A bit, at this place.
    Alike(usize),
    Etag,
    Date,
    Other,
}

fn room(name: &HeaderName, value: &HeaderValue, fields: &Fields) -> Room {
    // Of several lines of a name the order counts, which is kept among the others.
    if fields.iter().filter(|(have, _)| have == name).count() > 1 {
        return Room::Other;
    }
    if let Some(place) = ALIKE.iter().position(|(n, v)| n == name && v == value) {
        return Room::Alike(place);
    }
    match *name {
        ETAG => Room::Etag,
        DATE => Room::Date,
        _ => Room::Other,
    }
}

impl Reply {
    /// Copies a response: nothing of what it was read from is kept.
    pub fn new(status: StatusCode, fields: &Fields, body: &[u8]) -> Self {
        let rooms: Vec<_> = fields.iter().map(|(name, value)| room(name, value, fields)).collect();
        let copied = || fields.iter().zip(&rooms).filter(|(_, room)| !matches!(room, Room::Alike(_)));
        let text: usize = copied().map(|((_, value), _)| value.len()).sum();
        let mut bytes = Vec::with_capacity(body.len() + text);
        bytes.extend_from_slice(body);
        for ((_, value), _) in copied() {
            bytes.extend_from_slice(value.as_bytes());
        }
        let bytes = Bytes::from(bytes);
        let (alike, own, etag, date, others) = (0, Own::default(), None, None, None);
        let mut reply = Self { status, alike, own, etag, date, others, body: bytes.slice(..body.len()) };
        let mut others = Vec::new();
        let mut at = body.len();
        for ((name, value), room) in fields.iter().zip(rooms) {
            if let Room::Alike(place) = room {
                reply.alike |= 1 << place;
                continue;
            }
            // A copy of a header value's bytes is one.
            let end = at + value.len();
            let copy = HeaderValue::from_maybe_shared(bytes.slice(at..end)).ok();
            at = end;
            match room {
                Room::Etag => reply.etag = copy,
                Room::Date => reply.date = copy,
                Room::Alike(_) | Room::Other => others.extend(copy.map(|copy| (copied_name(name), copy))),
            }
        }
        reply.others = (!others.is_empty()).then(|| others.into());
        reply
    }

    /// The same, in which these fields are the gateway's own.
    pub fn with_own(self, own: Own) -> Self {
        Self { own, ..self }
    }

    /// Which of its fields are the gateway's own.
    pub const fn own(&self) -> Own {
        self.own
    }

    /// The status.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The body, sharing the reply's allocation.
    pub fn body(&self) -> Bytes {
        self.body.clone()
    }

    /// Bytes of the body.
    pub const fn body_len(&self) -> usize {
        self.body.len()
    }

    /// Bytes that it takes beside its own room: text and the list of other fields.
    pub fn len(&self) -> usize {
        let values = [&self.etag, &self.date].into_iter().flatten().map(HeaderValue::len).sum::<usize>();
        let others = self.others.iter().flat_map(|others| others.iter());
        let room = size_of::<(HeaderName, HeaderValue)>();
        let others: usize = others.map(|(name, value)| room + name.as_str().len() + value.len()).sum();
        self.body.len() + values + others
    }

    /// The fields; several of a name in their order.
    pub fn fields(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        let alike = ALIKE.iter().enumerate().filter(|(place, _)| self.alike & (1 << place) != 0);
        let own = [(&ETAG_NAME, &self.etag), (&DATE_NAME, &self.date)];
        let own = own.into_iter().filter_map(|(name, value)| value.as_ref().map(|value| (name, value)));
        let others = self.others.iter().flat_map(|others| others.iter());
        let pair = |field: &'static (HeaderName, HeaderValue)| (&field.0, &field.1);
        alike.map(move |(_, field)| pair(field)).chain(own).chain(others.map(|(name, value)| (name, value)))
    }

    /// Writes the fields into a map that has none of them.
    pub fn write_fields(&self, headers: &mut HeaderMap) {
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
    pub fn field(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.fields().find(|(have, _)| *have == name).map(|(_, value)| value)
    }

    /// What a client's condition is held against.
    pub fn validators(&self) -> Validators<'_> {
        Validators {
            etag: self.field(&ETAG),
            last_modified: self.field(&LAST_MODIFIED),
            date: self.field(&DATE),
        }
    }
}

static ETAG_NAME: HeaderName = ETAG;
static DATE_NAME: HeaderName = DATE;

/// The same name, without a hold on the head that it was read from.
fn copied_name(name: &HeaderName) -> HeaderName {
    HeaderName::from_bytes(name.as_str().as_bytes()).unwrap_or_else(|_| name.clone())
}

/// Shows no field and no body: both are personal data.
impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reply({}, {} bytes)", self.status, self.len())
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

    /// Sorted by name; lines of one name stay in their order.
    fn sorted(fields: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> Fields {
        let mut sorted: Fields = fields.into_iter().collect();
        sorted.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
        sorted
    }

    fn kept(reply: &Reply) -> Fields {
        sorted(reply.fields().map(|(name, value)| (name.clone(), value.clone())))
    }

    #[test]
    fn what_is_kept_comes_back_byte_for_byte() {
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
        let reply = Reply::new(StatusCode::OK, &fields, b"{\"a\":1}");
        assert_eq!(kept(&reply), sorted(fields.clone()));
        let mut headers = HeaderMap::new();
        reply.write_fields(&mut headers);
        assert_eq!(sorted(headers.iter().map(|(n, v)| (n.clone(), v.clone()))), sorted(fields));
        assert_eq!(reply.body(), "{\"a\":1}");
        assert_eq!((reply.status(), reply.body_len()), (StatusCode::OK, 7));
        assert_eq!(reply.field(&ETAG).unwrap(), "\"a\"");
    }

    #[test]
    fn bytes_outside_ascii_survive() {
        let value = HeaderValue::from_bytes(b"caf\xc3\xa9\xff").unwrap();
        let fields = vec![(HeaderName::from_static("x-name"), value)];
        assert_eq!(kept(&Reply::new(StatusCode::OK, &fields, b"")), fields);
    }

    #[test]
    fn a_reply_of_nothing_is_empty() {
        let reply = Reply::new(StatusCode::NO_CONTENT, &Fields::new(), b"");
        assert_eq!((reply.fields().count(), reply.body_len(), reply.len()), (0, 0, 0));
    }

    #[test]
    fn the_fields_of_nearly_every_call_take_no_room_but_their_text() {
        let fields =
            fields(&[("content-type", "application/json"), ("vary", "Authorization"), ("etag", "\"a\"")]);
        let reply = Reply::new(StatusCode::OK, &fields, b"{}");
        assert_eq!(reply.len(), "{}\"a\"".len());
        assert!(size_of::<Reply>() <= 136, "{}", size_of::<Reply>());
    }

    #[test]
    fn debug_output_shows_neither_fields_nor_body() {
        let reply = Reply::new(StatusCode::OK, &fields(&[("etag", "secret")]), b"+1234567890");
        assert_eq!(format!("{reply:?}"), "Reply(200 OK, 17 bytes)");
    }
}
