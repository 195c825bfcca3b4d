//! Which of the upstream's header fields are passed on and stored, and what the gateway adds to them
//! for good (RFC 9111 section 3.1, RFC 9110 section 7.6). What differs from answer to answer, such as
//! `Age`, is added when an answer is written.

use http::header::{
    AGE, ALT_SVC, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
    CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE, DATE, LOCATION, REFRESH, SERVER, SET_COOKIE,
    STRICT_TRANSPORT_SECURITY, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VARY, VIA, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

/// `Cache-Status` (RFC 9211).
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// `X-Request-Id`.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Our member of `Via`.
pub const OUR_VIA: HeaderValue = HeaderValue::from_static("1.1 credira-gateway");
/// Our member of `Vary`: answers differ by tenant.
pub const OUR_VARY: HeaderValue = HeaderValue::from_static("Authorization");
/// What is said where the upstream says nothing: the bodies are personal data.
pub const OUR_CACHE_CONTROL: HeaderValue = HeaderValue::from_static("private, no-cache");

/// Header fields in the order in which they came, several of a name possible.
pub type Fields = Vec<(HeaderName, HeaderValue)>;

/// Never passed nor stored, by name.
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
    // Made anew for each answer.
    AGE,
    CONTENT_LENGTH,
];

/// Never passed nor stored, by the start of the name.
const DROPPED_PREFIXES: [&str; 5] = ["proxy-", "access-control-", "x-accel-", "ratelimit", "x-ratelimit-"];

/// What says how a body is to be read, and so is none of a 304's business.
const OF_THE_BODY: [HeaderName; 4] = [CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE];

/// The fields of an upstream response that may be passed on, as the upstream wrote them.
pub fn passed(headers: &HeaderMap) -> Fields {
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
            // Anything but "identity" was refused before.
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

/// Adds what every answer has: our members of `Via` and `Vary`, a `Date`, a `Cache-Control`. What the
/// caches behind us said becomes one line, to which an answer's own member is added.
pub fn finish(mut fields: Fields, date: &HeaderValue) -> Fields {
    append_member(&mut fields, VIA, Some(&OUR_VIA));
    append_member(&mut fields, VARY, Some(&OUR_VARY));
    append_member(&mut fields, CACHE_STATUS, None);
    for (name, default) in [(DATE, date), (CACHE_CONTROL, &OUR_CACHE_CONTROL)] {
        if !has(&fields, &name) {
            fields.push((name, default.clone()));
        }
    }
    fields
}

/// Takes back what [`finish`] added, so that a 304 can update what the upstream had said.
/// `own_cache_control` says whether the `Cache-Control` is ours.
fn unfinish(mut fields: Fields, own_cache_control: bool) -> Fields {
    remove_member(&mut fields, &VIA, &OUR_VIA);
    remove_member(&mut fields, &VARY, &OUR_VARY);
    fields.retain(|(name, _)| !(own_cache_control && *name == CACHE_CONTROL));
    fields
}

/// Lays the fields of a 304 over stored ones (RFC 9111 section 3.2), `finish`ed again. What says how
/// the body is to be read stays as it was stored.
pub fn updated(stored: Fields, own_cache_control: bool, newer: &HeaderMap, date: &HeaderValue) -> Fields {
    let mut newer = passed(newer);
    newer.retain(|(name, _)| !OF_THE_BODY.contains(name));
    let mut fields = unfinish(stored, own_cache_control);
    // A 304 without a date was made when it came.
    fields.retain(|(name, _)| *name != DATE && !has(&newer, name));
    fields.extend(newer);
    finish(fields, date)
}

/// Whether there is such a field.
pub fn has(fields: &Fields, name: &HeaderName) -> bool {
    fields.iter().any(|(have, _)| have == name)
}

/// Makes one line of all of a name's lines, with a member at its end if one is given.
fn append_member(fields: &mut Fields, name: HeaderName, member: Option<&HeaderValue>) {
    let theirs = fields.iter().filter(|(have, _)| *have == name).map(|(_, value)| value);
    let members: Vec<&[u8]> = theirs.chain(member).map(HeaderValue::as_bytes).collect();
    // Joined from header values, so it is one.
    let line = HeaderValue::try_from(members.join(&b", "[..]));
    if members.is_empty() {
        return;
    }
    fields.retain(|(have, _)| *have != name);
    fields.extend(line.map(|line| (name, line)));
}

fn remove_member(fields: &mut Fields, name: &HeaderName, member: &HeaderValue) {
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

    fn text(fields: &Fields) -> Vec<String> {
        let mut lines: Vec<_> = fields.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    const DATE_VALUE: HeaderValue = HeaderValue::from_static("Mon, 15 Jan 2024 10:30:00 GMT");

    #[test]
    fn what_is_the_hops_or_the_upstreams_own_is_dropped() {
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
    fn what_every_answer_has_is_added_to_what_the_upstream_said() {
        let bare = finish(Fields::new(), &DATE_VALUE);
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
                "date: x",
                "vary: Accept, Authorization",
                "via: 1.1 a, 1.1 b, 1.1 credira-gateway"
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
        let ours = finish(Fields::new(), &DATE_VALUE);
        let newer = updated(ours, true, &map(&[("cache-control", "max-age=5")]), &DATE_VALUE);
        assert!(text(&newer).contains(&"cache-control: max-age=5".to_owned()));
        let kept = updated(newer, false, &HeaderMap::new(), &DATE_VALUE);
        assert!(text(&kept).contains(&"cache-control: max-age=5".to_owned()));
    }
}
