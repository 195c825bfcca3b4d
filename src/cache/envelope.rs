//! Reading the upstream's envelope around a call: just enough of it to know what the answer is about
//! and whether it may change. Bodies are never rewritten, and nothing of one is kept but its bytes.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use jiff::Timestamp;
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// How deep values may nest; more is not this API's doing.
const MAX_DEPTH: u32 = 128;

/// What a 200's body says of itself.
pub enum Envelope<'a> {
    /// Not a JSON object, malformed, not UTF-8, with a byte-order mark, or nested too deep.
    Unreadable,
    /// `data`, or the ID in it, stands there twice: readers may differ on which call this is.
    Ambiguous,
    /// Readable.
    Read(Read<'a>),
}

/// A readable envelope.
pub struct Read<'a> {
    /// Whether `success` is `true`.
    pub success: bool,
    /// `data.id`, if it is a string.
    pub id: Option<Cow<'a, str>>,
    /// `data.status`, if it is a string.
    pub status: Option<Cow<'a, str>>,
    /// When the call last changed.
    pub changed: Changed,
    /// Whether another key of the envelope, or of the top of `data`, stands there twice.
    pub duplicate_keys: bool,
    /// The bytes of `data`.
    pub data: &'a [u8],
}

/// When a call last changed: `updated_time`, else `end_time`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// Then.
    At(Timestamp),
    /// There is neither, or it can't be read.
    Unknown,
}

impl<'a> Envelope<'a> {
    /// Reads a body.
    pub fn read(body: &'a [u8]) -> Self {
        let Some(text) = std::str::from_utf8(body).ok().filter(|text| within_limits(text)) else {
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
            // What stands in it that can't be read, a number out of range say, may hide another ID.
            Err(_) if data_text.starts_with('{') => return Self::Unreadable,
            // `data` is an object for a call; what else it may be in other answers has no ID.
            Err(_) => Call::default(),
        };
        if call.duplicate_id {
            return Self::Ambiguous;
        }
        let changed = call.changed();
        Self::Read(Read {
            success,
            id: call.id.text(),
            status: call.status.text(),
            changed,
            duplicate_keys: duplicate_keys || call.duplicate_keys,
            data: data_text.as_bytes(),
        })
    }
}

/// Whether a body is a JSON object, as far as the body of an error is concerned.
pub fn is_object(body: &[u8]) -> bool {
    let text = std::str::from_utf8(body).ok().filter(|text| within_limits(text));
    text.is_some_and(|text| serde_json::from_str::<Outer<'_>>(text).is_ok())
}

/// Whether a body is the upstream's error envelope: `success` is `false` and `error` is an object.
pub fn is_error(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Failure<'a> {
        success: bool,
        #[serde(borrow)]
        error: &'a RawValue,
    }
    let text = std::str::from_utf8(body).ok().filter(|text| within_limits(text));
    let failure = text.and_then(|text| serde_json::from_str::<Failure<'_>>(text).ok());
    failure.is_some_and(|failure| !failure.success && failure.error.get().starts_with('{'))
}

/// What the JSON reader passes over in values that it skips: nesting without end, and escapes of
/// surrogates that have no partner.
fn within_limits(text: &str) -> bool {
    let mut rest = text.as_bytes();
    // Nearly always: no escapes, and fewer brackets than may nest.
    let opening = rest.iter().filter(|byte| matches!(byte, b'{' | b'[')).count();
    if opening <= MAX_DEPTH as usize && memchr::memchr(b'\\', rest).is_none() {
        return true;
    }
    let mut depth = 0_u32;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => match string_end(after) {
                Some(after) => rest = after,
                None => return false,
            },
            _ => {}
        }
        if depth > MAX_DEPTH {
            return false;
        }
    }
    true
}

/// What follows the string that `rest` is inside of; `None` if it has no end or a lone surrogate.
fn string_end(mut rest: &[u8]) -> Option<&[u8]> {
    let mut high_surrogate = false;
    loop {
        let at = memchr::memchr2(b'"', b'\\', rest)?;
        let escape = rest.get(at) == Some(&b'\\');
        // A high surrogate's partner is the very next escape.
        if high_surrogate && !(escape && at == 0) {
            return None;
        }
        if !escape {
            return rest.get(at + 1..);
        }
        let unicode = rest.get(at + 1) == Some(&b'u');
        let digits =
            rest.get(at + 2..at + 6).filter(|_| unicode).and_then(|hex| std::str::from_utf8(hex).ok());
        let unit = digits.and_then(|hex| u16::from_str_radix(hex, 16).ok());
        let is_low = unit.is_some_and(|unit| (0xDC00..=0xDFFF).contains(&unit));
        if is_low != high_surrogate {
            return None;
        }
        high_surrogate = unit.is_some_and(|unit| (0xD800..=0xDBFF).contains(&unit));
        // Past the backslash and what it escapes.
        rest = rest.get(at + if unicode { 6 } else { 2 }..)?;
    }
}

/// The envelope.
#[derive(Default)]
struct Outer<'a> {
    success: bool,
    data: Option<&'a RawValue>,
    duplicate_data: bool,
    duplicate_keys: bool,
}

/// The top of `data`.
#[derive(Default)]
struct Call<'a> {
    id: Scalar<'a>,
    status: Scalar<'a>,
    updated_time: Scalar<'a>,
    end_time: Scalar<'a>,
    duplicate_id: bool,
    duplicate_keys: bool,
}

impl Call<'_> {
    fn changed(&self) -> Changed {
        let time = match (&self.updated_time, &self.end_time) {
            (Scalar::Nothing, other) | (other, _) => other,
        };
        match time {
            Scalar::Text(text) => text.parse().map_or(Changed::Unknown, Changed::At),
            Scalar::Nothing | Scalar::Other => Changed::Unknown,
        }
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

/// The keys of one object, to notice the second of a kind. Calls have 25 keys; beyond a few dozen
/// a hash set takes over, so that a body of a million keys costs no square.
struct Keys<'a> {
    few: Vec<Cow<'a, str>>,
    many: HashSet<Cow<'a, str>>,
    /// A bit for each kind of key that was there; most keys are the first of their kind.
    kinds: u64,
}

impl<'a> Keys<'a> {
    const FEW: usize = 48;

    fn new() -> Self {
        Self { few: Vec::with_capacity(32), many: HashSet::new(), kinds: 0 }
    }

    /// Whether the key was there before.
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

    /// Of length and ends alone: these tell a call's keys apart well enough.
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

impl<'de> Deserialize<'de> for Call<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CallVisitor;
        impl<'de> Visitor<'de> for CallVisitor {
            type Value = Call<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Call<'de>, A::Error> {
                let mut call = Call::default();
                let mut keys = Keys::new();
                while let Some(Key(key)) = map.next_key()? {
                    let is_id = key == "id";
                    match key.as_ref() {
                        "id" => call.id = map.next_value()?,
                        "status" => call.status = map.next_value()?,
                        "updated_time" => call.updated_time = map.next_value()?,
                        "end_time" => call.end_time = map.next_value()?,
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
        match Envelope::read(body.as_bytes()) {
            Envelope::Read(read) => read,
            Envelope::Unreadable | Envelope::Ambiguous => panic!("not read: {body}"),
        }
    }

    fn unreadable(body: &[u8]) -> bool {
        matches!(Envelope::read(body), Envelope::Unreadable)
    }

    #[test]
    fn a_whole_call_is_read() {
        let body = include_str!("../mock/call.json")
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
    fn what_is_no_json_object_is_unreadable() {
        for body in
            ["", " ", "[]", "null", "\"a\"", "1", "{", "{}x", "{\"a\":}", "<html>", "{\"a\":1,}", "{'a':1}"]
        {
            assert!(unreadable(body.as_bytes()), "{body}");
        }
        assert!(unreadable(b"\xef\xbb\xbf{}"), "a byte-order mark");
        assert!(unreadable(b"{\"a\":\"\xff\"}"), "not UTF-8");
        assert!(unreadable(b"{\"a\":\"\\ud800\"}"), "a lone surrogate");
        assert!(unreadable(b"{\"a\":\"\\udc00\"}"), "a lone low surrogate");
        assert!(unreadable(b"{\"a\":\"\\ud800x\\udc00\"}"), "parted surrogates");
        assert!(unreadable(b"{\"a\":\"\\ud800\\n\"}"), "a surrogate and another escape");
        assert!(unreadable(b"{\"a\":\"\\ud83d"), "cut in an escape");
    }

    #[test]
    fn nesting_is_limited_and_brackets_in_strings_are_none() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(!unreadable(nested(127).as_bytes()));
        assert!(unreadable(nested(128).as_bytes()));
        assert!(unreadable(nested(100_000).as_bytes()));
        assert!(!unreadable(format!("{{\"a\":\"{}\\\"{{\"}}", "[".repeat(1000)).as_bytes()));
    }

    #[test]
    fn surrogate_pairs_and_other_escapes_are_fine() {
        assert!(!unreadable(b"{\"a\":\"\\ud83d\\ude00 \\\\ \\\" \\u00e9\\n\"}"));
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
            assert!(matches!(Envelope::read(body.as_bytes()), Envelope::Ambiguous), "{body}");
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
    fn an_id_or_status_that_is_no_string_is_absent() {
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
    fn errors_are_told_from_other_objects() {
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
