//! The fields of a client's request for media that have a meaning upstream. Each is parsed and written anew; what
//! can't be parsed is ignored.

use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::cache::{is_tag, is_weak};
use crate::domain::ByteRange;
use crate::message::{HttpDate, Validators, list_members, single_date};
use crate::upstream::Wanted;

/// What a client wants, as far as the upstream has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::gateway) struct MediaFields {
    pub(super) wanted: Wanted,
    pub(super) range: Option<ByteRange>,
    /// A strong tag or a date; only beside a range.
    pub(super) if_range: Option<HeaderValue>,
    /// What the client has already.
    pub(super) conditions: Option<Validators>,
}

impl MediaFields {
    pub(in crate::gateway) fn read(method: &Method, headers: &HeaderMap) -> Self {
        let wanted = if *method == Method::HEAD { Wanted::Length } else { Wanted::Body };
        let range = single(headers, &RANGE).and_then(|range| ByteRange::parse(range.as_bytes()));
        let range = range.filter(|_| wanted == Wanted::Body);
        let if_range = range.and_then(|_| if_range(headers));
        let conditions =
            Validators { etag: none_match(headers), last_modified: date(headers, &IF_MODIFIED_SINCE) };
        let conditions = (!conditions.are_empty()).then_some(conditions);
        Self { wanted, range, if_range, conditions }
    }
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none())
}

/// A weak tag never matches (RFC 9110 section 13.1.5), so it is none.
fn if_range(headers: &HeaderMap) -> Option<HeaderValue> {
    let text = single(headers, &IF_RANGE)?.to_str().ok()?.trim();
    if is_tag(text) && !is_weak(text) { HeaderValue::from_str(text).ok() } else { date(headers, &IF_RANGE) }
}

/// The tags of all lines as one list, if every one of them is a tag.
fn none_match(headers: &HeaderMap) -> Option<HeaderValue> {
    let lines = headers.get_all(IF_NONE_MATCH).iter().map(HeaderValue::to_str);
    let lines: Vec<_> = lines.collect::<Result<_, _>>().ok()?;
    if lines.iter().map(|line| line.trim()).eq(["*"]) {
        return Some(HeaderValue::from_static("*"));
    }
    let tags: Vec<_> = lines.iter().flat_map(|line| list_members(line)).collect();
    let are_tags = !tags.is_empty() && tags.iter().all(|tag| is_tag(tag));
    if are_tags { HeaderValue::try_from(tags.join(", ")).ok() } else { None }
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    single_date(headers, name).and_then(HttpDate::to_header_value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: Method, lines: &[(&'static str, &str)]) -> MediaFields {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        MediaFields::read(&method, &headers)
    }

    fn get(lines: &[(&'static str, &str)]) -> MediaFields {
        read(Method::GET, lines)
    }

    const DATE: &str = "Mon, 15 Jan 2024 10:30:00 GMT";

    // T97.
    #[test]
    fn a_range_is_one_well_formed_line_and_none_on_head() {
        assert_eq!(get(&[("range", "bytes=0-9")]).range, ByteRange::parse(b"bytes=0-9"));
        assert_eq!(get(&[("range", "bytes=0-9"), ("range", "bytes=0-9")]).range, None);
        assert_eq!(get(&[("range", "bytes=0-,1-")]).range, None);
        let head = read(Method::HEAD, &[("range", "bytes=0-9"), ("if-range", "\"a\"")]);
        assert_eq!((head.wanted, head.range, head.if_range), (Wanted::Length, None, None));
    }

    #[test]
    fn if_range_is_a_strong_tag_or_a_date_beside_a_range() {
        let if_range = |value: &str| get(&[("range", "bytes=0-9"), ("if-range", value)]).if_range;
        assert_eq!(if_range("\"a\"").unwrap(), "\"a\"");
        assert_eq!(if_range("Monday, 15-Jan-24 10:30:00 GMT").unwrap(), DATE, "written anew");
        for bad in ["W/\"a\"", "a", "\"a\", \"b\"", "yesterday", "*"] {
            assert_eq!(if_range(bad), None, "{bad}");
        }
        assert_eq!(get(&[("if-range", "\"a\"")]).if_range, None);
    }

    #[test]
    fn conditions_are_tags_and_dates_alone() {
        let tags = |value: &str| get(&[("if-none-match", value)]).conditions.and_then(|found| found.etag);
        assert_eq!(tags(" \"a\",W/\"b\" ").unwrap(), "\"a\", W/\"b\"");
        assert_eq!(tags("*").unwrap(), "*");
        for bad in ["", "a", "\"a\", b", "\"a\", *"] {
            assert_eq!(tags(bad), None, "{bad}");
        }
        let lines = [("if-none-match", "\"a\""), ("if-none-match", "\"b\"")];
        assert_eq!(get(&lines).conditions.unwrap().etag.unwrap(), "\"a\", \"b\"");
        assert_eq!(get(&[("if-modified-since", DATE)]).conditions.unwrap().last_modified.unwrap(), DATE);
        assert_eq!(get(&[("if-modified-since", "soon")]).conditions, None);
        assert_eq!(get(&[]).conditions, None);
    }
}
