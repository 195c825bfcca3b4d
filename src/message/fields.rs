//! Which header fields of the upstream are passed on and stored, and which ones the gateway adds to them permanently
//! (RFC 9111 section 3.1, RFC 9110 section 7.6). Fields that differ between requests, such as `Age`, are added when a
//! response is written.

use http::header::{
    AGE, ALT_SVC, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
    CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, LOCATION, REFRESH, SERVER, SET_COOKIE,
    STRICT_TRANSPORT_SECURITY, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VARY, VIA, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::list_syntax::is_well_formed;
use super::names::{CACHE_STATUS, OUR_CACHE_CONTROL, OUR_VARY, OUR_VIA, X_REQUEST_ID};

/// Header fields in the order of arrival; names may repeat.
pub(crate) type HeaderFields = Vec<(HeaderName, HeaderValue)>;

/// Which of a response's fields the gateway added because the upstream sent none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct OwnFields {
    pub(crate) etag: bool,
    pub(crate) cache_control: bool,
}

/// Neither passed on nor stored, by name.
const DROPPED: [HeaderName; 19] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    SET_COOKIE,
    HeaderName::from_static("set-cookie2"),
    SERVER,
    WWW_AUTHENTICATE,
    LOCATION,
    REFRESH,
    ALT_SVC,
    STRICT_TRANSPORT_SECURITY,
    HeaderName::from_static("clear-site-data"),
    HeaderName::from_static("x-sendfile"),
    X_REQUEST_ID,
    // Generated for each answer.
    AGE,
    CONTENT_LENGTH,
];

/// Neither passed on nor stored, by prefix of the name.
const DROPPED_PREFIXES: [&str; 5] = ["proxy-", "access-control-", "x-accel-", "ratelimit", "x-ratelimit-"];

/// Describe the body, which a 304 does not have.
const OF_THE_BODY: [HeaderName; 4] = [CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE];

/// The fields of an upstream response that may be passed on, unchanged.
pub(crate) fn passed(headers: &HeaderMap) -> HeaderFields {
    let named: Vec<String> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|line| String::from_utf8_lossy(line.as_bytes()).split(',').map(trimmed).collect::<Vec<_>>())
        .collect();
    let passes = |name: &HeaderName| {
        let text = name.as_str();
        !DROPPED.contains(name)
            && !DROPPED_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
            && !named.iter().any(|named| named == text)
            // Any coding but "identity" was refused earlier.
            && *name != CONTENT_ENCODING
    };
    headers
        .iter()
        .filter(|(name, _)| passes(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn trimmed(name: &str) -> String {
    name.trim().to_ascii_lowercase()
}

/// Adds what every response has: our members of `Via` and `Vary`, its `Date`, a `Cache-Control`. The
/// `Cache-Status` of the caches behind us becomes one line, to which our member is appended when a response
/// is written.
///
/// A line of these lists that cannot be parsed is dropped: our member appended to it would be unreadable, too.
pub(crate) fn finish(mut fields: HeaderFields, date: &HeaderValue) -> HeaderFields {
    append_member(&mut fields, VIA, Some(&OUR_VIA));
    append_member(&mut fields, VARY, Some(&OUR_VARY));
    append_member(&mut fields, CACHE_STATUS, None);
    fields.retain(|(name, _)| *name != DATE);
    fields.push((DATE, date.clone()));
    if !has(&fields, &CACHE_CONTROL) {
        fields.push((CACHE_CONTROL, OUR_CACHE_CONTROL.clone()));
    }
    fields
}

/// Removes what [`finish`] added, so that a 304 can update the upstream's own fields. `own_cache_control` says
/// whether the `Cache-Control` is ours.
fn unfinish(mut fields: HeaderFields, own_cache_control: bool) -> HeaderFields {
    remove_member(&mut fields, &VIA, &OUR_VIA);
    remove_member(&mut fields, &VARY, &OUR_VARY);
    fields.retain(|(name, _)| !(own_cache_control && *name == CACHE_CONTROL));
    fields
}

/// The fields as the upstream had them, but for what is never stored: takes back what the gateway made up or added.
pub(crate) fn unfinished(fields: HeaderFields, own: OwnFields) -> HeaderFields {
    let mut fields = unfinish(fields, own.cache_control);
    fields.retain(|(name, _)| !(own.etag && *name == ETAG));
    fields
}

/// Applies the fields of a 304 to stored ones (RFC 9111 section 3.2) and [`finish`]es them again. Fields that
/// describe the body's format keep their stored values.
pub(crate) fn updated(
    stored: HeaderFields,
    own_cache_control: bool,
    newer: &HeaderMap,
    date: &HeaderValue,
) -> HeaderFields {
    let mut newer = passed(newer);
    newer.retain(|(name, _)| !OF_THE_BODY.contains(name));
    let mut fields = unfinish(stored, own_cache_control);
    // A 304 without a date is dated by its arrival.
    fields.retain(|(name, _)| *name != DATE && !has(&newer, name));
    fields.extend(newer);
    finish(fields, date)
}

pub(crate) fn has(fields: &HeaderFields, name: &HeaderName) -> bool {
    fields.iter().any(|(have, _)| have == name)
}

/// Joins all lines of a name into one, with `member` at its end if there is one.
fn append_member(fields: &mut HeaderFields, name: HeaderName, member: Option<&HeaderValue>) {
    let is_theirs = |field: &&(HeaderName, HeaderValue)| field.0 == name && is_well_formed(&name, &field.1);
    let theirs = fields.iter().filter(is_theirs).map(|(_, value)| value);
    let members: Vec<&[u8]> = theirs.chain(member).map(HeaderValue::as_bytes).collect();
    // Joined from header values, so it is one.
    let line = HeaderValue::try_from(members.join(&b", "[..]));
    let is_empty = members.is_empty();
    fields.retain(|(have, _)| *have != name);
    if !is_empty {
        fields.extend(line.map(|line| (name, line)));
    }
}

fn remove_member(fields: &mut HeaderFields, name: &HeaderName, member: &HeaderValue) {
    fields.retain_mut(|(have, value)| {
        let ours = have == name && value.as_bytes().ends_with(member.as_bytes());
        if !ours {
            return true;
        }
        let rest = value.as_bytes().len() - member.len();
        let theirs = value.as_bytes().get(..rest).and_then(|rest| rest.strip_suffix(b", "));
        match theirs.and_then(|theirs| HeaderValue::from_bytes(theirs).ok()) {
            Some(theirs) => {
                *value = theirs;
                true
            }
            None => false,
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    fn text(fields: &HeaderFields) -> Vec<String> {
        let mut lines: Vec<_> = fields.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    const DATE_VALUE: HeaderValue = HeaderValue::from_static("Mon, 15 Jan 2024 10:30:00 GMT");

    #[test]
    fn hop_by_hop_and_private_fields_are_dropped() {
        let headers = map(&[
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("keep-alive", "1"),
            ("transfer-encoding", "chunked"),
            ("trailer", "x"),
            ("set-cookie", "a=b"),
            ("server", "x"),
            ("proxy-authenticate", "x"),
            ("www-authenticate", "x"),
            ("location", "http://evil.example"),
            ("refresh", "1"),
            ("alt-svc", "x"),
            ("strict-transport-security", "x"),
            ("clear-site-data", "x"),
            ("access-control-allow-origin", "*"),
            ("x-accel-redirect", "/x"),
            ("x-sendfile", "/x"),
            ("ratelimit", "x"),
            ("ratelimit-policy", "x"),
            ("x-ratelimit-limit", "x"),
            ("x-request-id", "x"),
            ("age", "1"),
            ("content-length", "1"),
            ("content-encoding", "identity"),
            ("content-type", "application/json"),
            ("x-kept", "1"),
        ]);
        assert_eq!(text(&passed(&headers)), ["content-type: application/json", "x-kept: 1"]);
    }

    #[test]
    fn common_fields_are_added_to_the_upstreams() {
        let bare = finish(HeaderFields::new(), &DATE_VALUE);
        assert_eq!(
            text(&bare),
            [
                "cache-control: private, no-cache",
                "date: Mon, 15 Jan 2024 10:30:00 GMT",
                "vary: Authorization",
                "via: 1.1 credira-gateway"
            ]
        );
        let full = map(&[
            ("via", "1.1 a"),
            ("via", "1.1 b"),
            ("vary", "Accept"),
            ("cache-control", "max-age=1"),
            ("date", "x"),
        ]);
        assert_eq!(
            text(&finish(passed(&full), &DATE_VALUE)),
            [
                "cache-control: max-age=1",
                "date: Mon, 15 Jan 2024 10:30:00 GMT",
                "vary: Accept, Authorization",
                "via: 1.1 a, 1.1 b, 1.1 credira-gateway"
            ]
        );
    }

    #[test]
    fn malformed_lists_of_the_upstream_are_dropped() {
        let broken = map(&[
            ("via", "1.1 a (unclosed"),
            ("via", "1.1 b"),
            ("vary", "\"accept"),
            ("cache-status", "edge; detail=\"unclosed"),
            ("cache-status", "?"),
        ]);
        assert_eq!(
            text(&finish(passed(&broken), &DATE_VALUE)),
            [
                "cache-control: private, no-cache",
                "date: Mon, 15 Jan 2024 10:30:00 GMT",
                "vary: Authorization",
                "via: 1.1 b, 1.1 credira-gateway"
            ]
        );
    }

    #[test]
    fn a_304_replaces_what_it_names_and_keeps_the_rest() {
        let stored = finish(
            passed(&map(&[("x-a", "1"), ("x-b", "1"), ("via", "1.1 a"), ("date", "old")])),
            &DATE_VALUE,
        );
        let newer = map(&[
            ("x-b", "2"),
            ("vary", "Accept"),
            ("content-range", "x"),
            ("content-type", "text/html"),
            ("content-length", "0"),
        ]);
        assert_eq!(
            text(&updated(stored, true, &newer, &DATE_VALUE)),
            [
                "cache-control: private, no-cache",
                "date: Mon, 15 Jan 2024 10:30:00 GMT",
                "vary: Accept, Authorization",
                "via: 1.1 a, 1.1 credira-gateway",
                "x-a: 1",
                "x-b: 2"
            ]
        );
    }

    #[test]
    fn a_304s_cache_control_replaces_ours_and_the_upstreams_stays() {
        let ours = finish(HeaderFields::new(), &DATE_VALUE);
        let newer = updated(ours, true, &map(&[("cache-control", "max-age=5")]), &DATE_VALUE);
        assert!(text(&newer).contains(&"cache-control: max-age=5".to_owned()));
        let kept = updated(newer, false, &HeaderMap::new(), &DATE_VALUE);
        assert!(text(&kept).contains(&"cache-control: max-age=5".to_owned()));
    }
}
