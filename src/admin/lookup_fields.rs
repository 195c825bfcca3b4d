//! The header fields of a lookup that is to be explained, from the query: `?cache-control=no-cache&prefer=wait%3D30`.

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::message::PREFER;

/// The fields on which a lookup's decisions depend.
const FIELDS: [HeaderName; 2] = [CACHE_CONTROL, PREFER];

/// Reads a query. `None`: another field, one twice, or a value with other characters than printable
/// ASCII.
pub(super) fn lookup_fields(query: &str) -> Option<HeaderMap> {
    let mut fields = HeaderMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        let name = FIELDS.into_iter().find(|field| field == name)?;
        let value = decoded(value).filter(|value| value.iter().all(|byte| matches!(byte, b' '..=b'~')))?;
        let value = HeaderValue::from_bytes(&value).ok()?;
        if fields.insert(name, value).is_some() {
            return None;
        }
    }
    Some(fields)
}

/// Percent-decoded, with `+` for a space, as forms and most libraries write it.
fn decoded(value: &str) -> Option<Vec<u8>> {
    let mut bytes = value.bytes();
    let mut out = Vec::with_capacity(value.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            other => other,
        });
    }
    Some(out)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(query: &str) -> Option<(Option<String>, Option<String>)> {
        let fields = lookup_fields(query)?;
        let value = |name| fields.get(name).map(|value| value.to_str().unwrap().to_owned());
        Some((value(CACHE_CONTROL), value(PREFER)))
    }

    #[test]
    fn the_fields_are_read_encoded_or_not() {
        let both = Some((Some("no-cache, max-age=0".to_owned()), Some("wait=30".to_owned())));
        assert_eq!(of("cache-control=no-cache,+max-age=0&prefer=wait=30"), both);
        assert_eq!(of("prefer=wait%3D30&cache-control=no-cache%2c%20max-age%3d0"), both);
        assert_eq!(of(""), Some((None, None)));
    }

    #[test]
    fn what_is_not_understood_is_refused_and_never_ignored() {
        for query in [
            "x",
            "x=1",
            "cache-control",
            "prefer=wait=1&prefer=wait=2",
            "prefer=%",
            "prefer=%3",
            "prefer=%zz",
            "prefer=%0d%0ax:1",
            "prefer=wait%3D1%0a",
            "prefer=%09wait%3D1",
            "prefer=%C3%BC",
            "authorization=Bearer+x",
        ] {
            assert_eq!(of(query), None, "{query}");
        }
    }
}
