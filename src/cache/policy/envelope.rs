//! Reads the upstream's envelope around a call, just far enough to know which call the answer is about and whether
//! that may change. Bodies are never rewritten, and only their bytes are kept.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use jiff::Timestamp;
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::json_limits::is_nested_within_limits;
use super::links;

/// The content of a 200's body.
pub(crate) enum CallEnvelope<'a> {
    /// Not a JSON object, malformed, not UTF-8, with a byte-order mark, or nested too deep.
    Unreadable,
    /// `data`, or the ID in it, occurs twice: parsers may differ about which call this is.
    Ambiguous,
    /// Readable.
    Read(Read<'a>),
}

/// A readable envelope.
pub(crate) struct Read<'a> {
    /// Whether `success` is `true`.
    pub(crate) success: bool,
    /// `data.id`, if it is a string.
    pub(crate) id: Option<Cow<'a, str>>,
    /// `data.status`, if it is a string.
    pub(crate) status: Option<Cow<'a, str>>,
    /// When the call last changed.
    pub(crate) changed: Changed,
    /// When the first of its links expires, in seconds since 1970, if that can be read.
    pub(crate) links_expire: Option<i64>,
    /// Whether another key of the envelope, or of the top of `data`, occurs twice.
    pub(crate) duplicate_keys: bool,
    /// The bytes of `data`.
    pub(crate) data: &'a [u8],
}

/// When a call last changed: `updated_time`, else `end_time`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Changed {
    /// At this time.
    At(Timestamp),
    /// Neither exists, or the value is unreadable.
    Unknown,
}

impl<'a> CallEnvelope<'a> {
    pub(crate) fn read(body: &'a [u8]) -> Self {
        let Some(text) = std::str::from_utf8(body).ok().filter(|text| is_nested_within_limits(text)) else {
            return Self::Unreadable;
        };
        let Ok(Outer { success, data, duplicate_data, duplicate_keys }) = serde_json::from_str(text) else {
            return Self::Unreadable;
        };
        if duplicate_data {
            return Self::Ambiguous;
        }
        let data_text = data.map_or("null", RawValue::get);
        let call = match serde_json::from_str(data_text) {
            Ok(call) => call,
            // An unreadable part may contain another ID.
            Err(_) if data_text.starts_with('{') => return Self::Unreadable,
            // `data` is an object for a call; any other value has no ID.
            Err(_) => CallData::default(),
        };
        if call.duplicate_id {
            return Self::Ambiguous;
        }
        let (changed, links_expire) = (call.changed(), call.links_expire());
        Self::Read(Read {
            success,
            id: call.id.text(),
            status: call.status.text(),
            changed,
            links_expire,
            duplicate_keys: duplicate_keys || call.duplicate_keys,
            data: data_text.as_bytes(),
        })
    }
}

/// The content of a 200's body with the calls of an invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListEnvelope {
    /// Not a JSON object, malformed, or `data` is neither an array nor `false`.
    Unreadable,
    /// An item belongs to another invoice, or `data` occurs twice.
    Ambiguous,
    /// `success` is not `true`.
    Failed,
    /// A list of this invoice's calls, or `false` for none.
    Calls,
}

impl ListEnvelope {
    /// Reads the body of a response to a request for the list of `invoice`.
    pub(crate) fn read(body: &[u8], invoice: &str) -> Self {
        let Some(text) = std::str::from_utf8(body).ok().filter(|text| is_nested_within_limits(text)) else {
            return Self::Unreadable;
        };
        let Ok(Outer { success, data, duplicate_data, .. }) = serde_json::from_str(text) else {
            return Self::Unreadable;
        };
        if duplicate_data {
            return Self::Ambiguous;
        }
        if !success {
            return Self::Failed;
        }
        let data = data.map_or("null", RawValue::get);
        if data == "false" {
            return Self::Calls;
        }
        match serde_json::from_str::<Vec<Item<'_>>>(data) {
            Ok(items) if items.iter().all(|item| item.0.iter().all(|named| named == invoice)) => Self::Calls,
            Ok(_) => Self::Ambiguous,
            Err(_) => Self::Unreadable,
        }
    }
}

/// The invoices named by an item of a list; none if it isn't an object.
struct Item<'a>(Vec<Cow<'a, str>>);

impl<'de> Deserialize<'de> for Item<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&RawValue>::deserialize(deserializer)?.get();
        if !text.starts_with('{') {
            return Ok(Self(Vec::new()));
        }
        let Invoices(named) = serde_json::from_str(text).map_err(de::Error::custom)?;
        Ok(Self(named))
    }
}

struct Invoices<'a>(Vec<Cow<'a, str>>);

impl<'de> Deserialize<'de> for Invoices<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InvoicesVisitor;
        impl<'de> Visitor<'de> for InvoicesVisitor {
            type Value = Invoices<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Invoices<'de>, A::Error> {
                let mut named = Vec::new();
                while let Some(Key(key)) = map.next_key()? {
                    if key == "invoice_id" {
                        named.extend(map.next_value::<Scalar<'de>>()?.text());
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Invoices(named))
            }
        }
        deserializer.deserialize_map(InvoicesVisitor)
    }
}

/// Whether a body is a JSON object, as is required of an error's body.
pub(crate) fn is_object(body: &[u8]) -> bool {
    let text = std::str::from_utf8(body).ok().filter(|text| is_nested_within_limits(text));
    text.is_some_and(|text| serde_json::from_str::<Outer<'_>>(text).is_ok())
}

/// Whether a body is the upstream's error envelope: `success` is `false` and `error` is an object.
pub(crate) fn is_error(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Failure<'a> {
        success: bool,
        #[serde(borrow)]
        error: &'a RawValue,
    }
    let text = std::str::from_utf8(body).ok().filter(|text| is_nested_within_limits(text));
    let failure = text.and_then(|text| serde_json::from_str::<Failure<'_>>(text).ok());
    failure.is_some_and(|failure| !failure.success && failure.error.get().starts_with('{'))
}

#[derive(Default)]
struct Outer<'a> {
    success: bool,
    data: Option<&'a RawValue>,
    duplicate_data: bool,
    duplicate_keys: bool,
}

/// The top of `data`.
#[derive(Default)]
struct CallData<'a> {
    id: Scalar<'a>,
    status: Scalar<'a>,
    updated_time: Scalar<'a>,
    end_time: Scalar<'a>,
    call_recording_url: Scalar<'a>,
    transcription_url: Scalar<'a>,
    duplicate_id: bool,
    duplicate_keys: bool,
}

impl CallData<'_> {
    fn changed(&self) -> Changed {
        let time = match (&self.updated_time, &self.end_time) {
            (Scalar::Nothing, other) | (other, _) => other,
        };
        match time {
            Scalar::Text(text) => text.parse().map_or(Changed::Unknown, Changed::At),
            Scalar::Nothing | Scalar::Other => Changed::Unknown,
        }
    }

    fn links_expire(&self) -> Option<i64> {
        let links = [&self.call_recording_url, &self.transcription_url];
        links::earliest_expiry(links.into_iter().filter_map(|link| match link {
            Scalar::Text(text) => Some(text.as_ref()),
            Scalar::Nothing | Scalar::Other => None,
        }))
    }
}

/// A value of which only strings matter.
#[derive(Default)]
enum Scalar<'a> {
    /// Absent or `null`.
    #[default]
    Nothing,
    Text(Cow<'a, str>),
    Other,
}

impl<'a> Scalar<'a> {
    fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Nothing | Self::Other => None,
        }
    }
}

/// The keys of one object, to detect duplicates. Calls have 25 keys; beyond a few dozen a hash set takes over, so
/// that a body with a million keys does not take quadratic time.
struct Keys<'a> {
    few: Vec<Cow<'a, str>>,
    many: HashSet<Cow<'a, str>>,
    /// A bit for each hash of a key seen so far; most keys are the first with theirs.
    kinds: u64,
}

impl<'a> Keys<'a> {
    const FEW: usize = 48;

    fn new() -> Self {
        Self { few: Vec::with_capacity(32), many: HashSet::new(), kinds: 0 }
    }

    /// Whether the key was seen before.
    fn has_seen(&mut self, key: Cow<'a, str>) -> bool {
        let kind = 1 << (Self::mix(key.as_bytes()) % 64);
        let known_kind = self.kinds & kind != 0;
        self.kinds |= kind;
        if known_kind && (self.few.contains(&key) || self.many.contains(&key)) {
            return true;
        }
        if self.few.len() < Self::FEW {
            self.few.push(key);
        } else {
            self.many.insert(key);
        }
        false
    }

    /// Uses only the length and both ends, which distinguish a call's keys well enough.
    fn mix(key: &[u8]) -> u64 {
        let end = |byte: Option<&u8>| byte.map_or(0, |byte| u64::from(*byte));
        (key.len() as u64).wrapping_mul(7)
            ^ end(key.first()).wrapping_mul(3)
            ^ end(key.last()).wrapping_mul(29)
    }
}

/// A key, borrowed unless it has escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(ScalarVisitor)? {
            Scalar::Text(text) => Ok(Self(text)),
            Scalar::Nothing | Scalar::Other => Err(de::Error::custom("a key is a string")),
        }
    }
}

impl<'de> Deserialize<'de> for Outer<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OuterVisitor;
        impl<'de> Visitor<'de> for OuterVisitor {
            type Value = Outer<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Outer<'de>, A::Error> {
                let mut outer = Outer::default();
                let mut keys = Keys::new();
                while let Some(Key(key)) = map.next_key()? {
                    match key.as_ref() {
                        "data" => {
                            outer.duplicate_data |= outer.data.is_some();
                            outer.data = Some(map.next_value()?);
                        }
                        "success" => outer.success = map.next_value::<&RawValue>()?.get() == "true",
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                    outer.duplicate_keys |= keys.has_seen(key);
                }
                Ok(outer)
            }
        }
        deserializer.deserialize_map(OuterVisitor)
    }
}

impl<'de> Deserialize<'de> for CallData<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CallVisitor;
        impl<'de> Visitor<'de> for CallVisitor {
            type Value = CallData<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<CallData<'de>, A::Error> {
                let mut call = CallData::default();
                let mut keys = Keys::new();
                while let Some(Key(key)) = map.next_key()? {
                    let is_id = key == "id";
                    match key.as_ref() {
                        "id" => call.id = map.next_value()?,
                        "status" => call.status = map.next_value()?,
                        "updated_time" => call.updated_time = map.next_value()?,
                        "end_time" => call.end_time = map.next_value()?,
                        "call_recording_url" => call.call_recording_url = map.next_value()?,
                        "transcription_url" => call.transcription_url = map.next_value()?,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                    let seen = keys.has_seen(key);
                    call.duplicate_id |= seen && is_id;
                    call.duplicate_keys |= seen;
                }
                Ok(call)
            }
        }
        deserializer.deserialize_map(CallVisitor)
    }
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Nothing)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Read<'_> {
        match CallEnvelope::read(body.as_bytes()) {
            CallEnvelope::Read(read) => read,
            CallEnvelope::Unreadable | CallEnvelope::Ambiguous => panic!("not read: {body}"),
        }
    }

    fn unreadable(body: &[u8]) -> bool {
        matches!(CallEnvelope::read(body), CallEnvelope::Unreadable)
    }

    #[test]
    fn a_whole_call_is_read() {
        let body = include_str!("../../mock/call.json")
            .replace("{id}", "call_123456789")
            .replace("{status}", "completed");
        let body = body.replace("{updated}", "2024-01-15T10:33:00Z");
        let call = read(&body);
        assert!(call.success && !call.duplicate_keys);
        assert_eq!(call.id.as_deref(), Some("call_123456789"));
        assert_eq!(call.status.as_deref(), Some("completed"));
        assert_eq!(call.changed, Changed::At("2024-01-15T10:33:00Z".parse().unwrap()));
        assert!(call.data.starts_with(b"{") && call.data.ends_with(b"}"));
    }

    #[test]
    fn anything_but_a_json_object_is_unreadable() {
        for body in
            ["", " ", "[]", "null", "\"a\"", "1", "{", "{}x", "{\"a\":}", "<html>", "{\"a\":1,}", "{'a':1}"]
        {
            assert!(unreadable(body.as_bytes()), "{body}");
        }
        assert!(unreadable(b"\xef\xbb\xbf{}"), "a byte-order mark");
        assert!(unreadable(b"{\"a\":\"\xff\"}"), "not UTF-8");
        assert!(unreadable(b"{\"a\":\"\\ud83d"), "cut in an escape");
    }

    #[test]
    fn lone_surrogates_matter_only_in_keys_and_in_strings_that_are_read() {
        for summary in [r"Thanks \ud83d", r"\udc00", r"\ud800x\udc00", r"\ud800\n", r"\ud83d\ude00"] {
            let body = format!(
                r#"{{"success":true,"data":{{"id":"call_1","summary":"{summary}","tags":["{summary}"],"metadata":{{"{summary}":1}}}},"meta":"{summary}"}}"#
            );
            assert_eq!(read(&body).id.as_deref(), Some("call_1"), "{summary}");
        }
        for body in [
            r#"{"\ud800":1}"#,
            r#"{"data":{"\ud800":1}}"#,
            r#"{"data":{"id":"\ud800"}}"#,
            r#"{"data":{"status":"\udc00"}}"#,
            r#"{"data":{"updated_time":"\ud800\n"}}"#,
        ] {
            assert!(unreadable(body.as_bytes()), "{body}");
        }
    }

    #[test]
    fn numbers_beyond_every_range_matter_only_where_they_are_read() {
        assert_eq!(read(r#"{"data":{"id":"call_1","cost":1e400}}"#).id.as_deref(), Some("call_1"));
        assert!(unreadable(br#"{"data":{"id":1e400}}"#));
    }

    #[test]
    fn a_million_keys_are_read() {
        let keys: String = (0..100_000).map(|n| format!("\"k{n}\":1,")).collect();
        let read_one = read(&format!("{{\"data\":{{{keys}\"id\":\"x\"}}}}")).id.is_some();
        assert!(read_one);
    }

    #[test]
    fn data_or_its_id_twice_is_ambiguous() {
        for body in [
            r#"{"data":{"id":"a"},"data":{"id":"a"}}"#,
            r#"{"data":{"id":"a","id":"a"}}"#,
            r#"{"data":{"id":"a","\u0069d":"b"}}"#,
            r#"{"d\u0061ta":{"id":"a"},"data":{"id":"b"}}"#,
        ] {
            assert!(matches!(CallEnvelope::read(body.as_bytes()), CallEnvelope::Ambiguous), "{body}");
        }
    }

    #[test]
    fn other_keys_twice_are_noticed_at_both_levels_and_no_deeper() {
        assert!(read(r#"{"success":true,"success":true,"data":{}}"#).duplicate_keys);
        assert!(read(r#"{"meta":1,"meta":2}"#).duplicate_keys);
        assert!(read(r#"{"data":{"status":"completed","status":"x"}}"#).duplicate_keys);
        assert!(!read(r#"{"data":{"metadata":{"a":1,"a":2}}}"#).duplicate_keys);
    }

    #[test]
    fn only_the_word_true_is_success() {
        assert!(read(r#"{"success": true}"#).success);
        for body in
            [r#"{"success":false}"#, r#"{"success":1}"#, r#"{"success":"true"}"#, r#"{"success":null}"#, "{}"]
        {
            assert!(!read(body).success, "{body}");
        }
    }

    #[test]
    fn an_id_or_status_that_is_not_a_string_is_absent() {
        for value in ["null", "1", "1.5", "[\"a\"]", "{\"a\":1}", "true"] {
            let body = format!(r#"{{"data":{{"id":{value},"status":{value}}}}}"#);
            let call = read(&body);
            assert!(call.id.is_none() && call.status.is_none(), "{value}");
        }
        assert_eq!(read(r#"{"data":{"\u0069d":"a\u0062"}}"#).id.as_deref(), Some("ab"));
        for data in ["false", "[]", "null", "\"x\"", "7"] {
            assert!(read(&format!("{{\"data\":{data}}}")).id.is_none(), "{data}");
        }
    }

    #[test]
    fn the_last_change_is_updated_time_else_end_time() {
        let changed = |fields: &str| read(&format!("{{\"data\":{{{fields}}}}}")).changed;
        let at = |text: &str| Changed::At(text.parse().unwrap());
        let (updated, ended) =
            (r#""updated_time":"2024-01-15T10:33:00Z""#, r#""end_time":"2024-01-15T09:00:00Z""#);
        assert_eq!(changed(&format!("{updated},{ended}")), at("2024-01-15T10:33:00Z"));
        assert_eq!(changed(ended), at("2024-01-15T09:00:00Z"));
        assert_eq!(changed(&format!("\"updated_time\":null,{ended}")), at("2024-01-15T09:00:00Z"));
        assert_eq!(changed(""), Changed::Unknown);
        for odd in ["\"soon\"", "17", "\"2024-01-15\"", "\"2024-01-15T10:33:00\"", "[]", "\"\""] {
            assert_eq!(changed(&format!("\"updated_time\":{odd},{ended}")), Changed::Unknown, "{odd}");
        }
    }

    #[test]
    fn errors_are_distinguished_from_other_objects() {
        assert!(is_error(br#"{"success":false,"error":{"code":"NOT_FOUND","message":"x"},"meta":{}}"#));
        for body in [
            r#"{"success":true,"error":{}}"#,
            r#"{"success":false,"error":"x"}"#,
            r#"{"success":false}"#,
            "[]",
        ] {
            assert!(!is_error(body.as_bytes()), "{body}");
        }
        assert!(is_object(b"{}") && !is_object(b"[]") && !is_object(b"<html>"));
    }
}
