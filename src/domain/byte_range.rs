//! Byte ranges (RFC 9110 section 14): what a client asks for, what a response says it holds, and whether the two
//! agree.

use std::fmt;

/// One range of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ByteRange {
    /// From `first` to `last`, both included, or to the end.
    From { first: u64, last: Option<u64> },
    /// So many bytes at the end.
    Suffix(u64),
}

impl ByteRange {
    /// The first byte: all that is needed to learn the length of the whole.
    pub(crate) const FIRST_BYTE: Self = Self::From { first: 0, last: Some(0) };

    /// Reads the value of a `Range` field. `None` for several ranges, another unit and whatever is malformed: such a
    /// field is ignored (section 14.2).
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        const UNIT: &[u8] = b"bytes=";
        let (unit, range) = value.split_at_checked(UNIT.len())?;
        if !unit.eq_ignore_ascii_case(UNIT) {
            return None;
        }
        let dash = range.iter().position(|byte| *byte == b'-')?;
        let (first, last) = (range.get(..dash)?, range.get(dash + 1..)?);
        match (first.is_empty(), last.is_empty()) {
            (true, true) => None,
            (true, false) => decimal(last).map(Self::Suffix),
            (false, true) => Some(Self::From { first: decimal(first)?, last: None }),
            (false, false) => {
                let (first, last) = (decimal(first)?, decimal(last)?);
                (first <= last).then_some(Self::From { first, last: Some(last) })
            }
        }
    }

    /// The bytes of a whole of this length that it names, if there are any.
    pub(crate) const fn within(self, length: u64) -> Option<ByteSpan> {
        let Some(end) = length.checked_sub(1) else { return None };
        match self {
            Self::From { first, .. } if first > end => None,
            Self::From { first, last: Some(last) } if last < end => Some(ByteSpan { first, last }),
            Self::From { first, .. } => Some(ByteSpan { first, last: end }),
            Self::Suffix(0) => None,
            Self::Suffix(bytes) => Some(ByteSpan { first: length.saturating_sub(bytes), last: end }),
        }
    }

    /// Whether a response that holds these bytes answers it: it begins where it should and ends no further.
    pub(crate) fn is_answered_by(self, held: ContentRange) -> bool {
        let ContentRange { span: ByteSpan { first, last }, complete } = held;
        match self {
            Self::From { first: asked, last: None } => asked == first,
            Self::From { first: asked, last: Some(end) } => asked == first && last <= end,
            Self::Suffix(bytes) => match complete {
                Some(complete) => first == complete.saturating_sub(bytes),
                None => held.span.bytes() <= bytes,
            },
        }
    }
}

/// As a `Range` field has it.
impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::From { first, last: Some(last) } => write!(f, "bytes={first}-{last}"),
            Self::From { first, last: None } => write!(f, "bytes={first}-"),
            Self::Suffix(bytes) => write!(f, "bytes=-{bytes}"),
        }
    }
}

/// The bytes from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ByteSpan {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl ByteSpan {
    pub(crate) const fn bytes(self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }
}

/// The `Content-Range` of a response with status 206.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ContentRange {
    pub(crate) span: ByteSpan,
    /// The length of the whole, if the response says so.
    pub(crate) complete: Option<u64>,
}

impl ContentRange {
    /// Reads the value of the field. `None` where it is malformed, or the span lies outside of the whole.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let (span, complete) = split_content_range(value)?;
        let dash = span.iter().position(|byte| *byte == b'-')?;
        let (first, last) = (decimal(span.get(..dash)?)?, decimal(span.get(dash + 1..)?)?);
        let complete = if complete == b"*" { None } else { Some(decimal(complete)?) };
        let is_within = first <= last && complete.is_none_or(|complete| last < complete);
        is_within.then_some(Self { span: ByteSpan { first, last }, complete })
    }
}

/// As the field has it.
impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { span: ByteSpan { first, last }, complete } = self;
        match complete {
            Some(complete) => write!(f, "bytes {first}-{last}/{complete}"),
            None => write!(f, "bytes {first}-{last}/*"),
        }
    }
}

/// The length of the whole that the `Content-Range` of a response with status 416 gives.
pub(crate) fn length_of_unsatisfied(value: &[u8]) -> Option<u64> {
    let (span, complete) = split_content_range(value)?;
    if span == b"*" { decimal(complete) } else { None }
}

fn split_content_range(value: &[u8]) -> Option<(&[u8], &[u8])> {
    const UNIT: &[u8] = b"bytes ";
    let (unit, rest) = value.split_at_checked(UNIT.len())?;
    let slash = rest.iter().position(|byte| *byte == b'/')?;
    unit.eq_ignore_ascii_case(UNIT).then_some((rest.get(..slash)?, rest.get(slash + 1..)?))
}

/// Digits alone, within 64 bits.
fn decimal(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if is_number { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<ByteRange> {
        ByteRange::parse(text.as_bytes())
    }

    // T97.
    #[test]
    fn one_well_formed_range_is_read_and_written_alike() {
        for (text, range) in [
            ("bytes=0-0", ByteRange::FIRST_BYTE),
            ("bytes=0-499", ByteRange::From { first: 0, last: Some(499) }),
            ("bytes=500-", ByteRange::From { first: 500, last: None }),
            ("bytes=-500", ByteRange::Suffix(500)),
            ("bytes=0-18446744073709551615", ByteRange::From { first: 0, last: Some(u64::MAX) }),
        ] {
            assert_eq!(parse(text), Some(range));
            assert_eq!(range.to_string(), text);
        }
        assert_eq!(parse("BYTES=007-0010").unwrap().to_string(), "bytes=7-10", "written anew");
    }

    // T97.
    #[test]
    fn several_ranges_other_units_and_malformed_ones_are_ignored() {
        let commas = format!("bytes={}", ",".repeat(64 << 10));
        let many = format!("bytes={}", "0-,".repeat(1000));
        for text in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=0",
            "bytes=0-,0-",
            "bytes=0-1,",
            "bytes=5-2",
            "bytes=18446744073709551616-",
            "bytes=-18446744073709551616",
            "bytes=+1-2",
            "bytes=1-+2",
            "bytes=1--2",
            "bytes= 0-1",
            "bytes=0-1 ",
            "bytes=0x0-1",
            "bytes=a-b",
            "bytes 0-1",
            "items=0-1",
            "byte=0-1",
            &commas,
            &many,
        ] {
            assert_eq!(parse(text), None, "{:.40}", text);
        }
        assert_eq!(ByteRange::parse(b"bytes=\xef\xbc\x91-"), None);
    }

    #[test]
    fn a_range_names_the_bytes_that_are_there() {
        let within = |text, length| parse(text).unwrap().within(length).map(|span| (span.first, span.last));
        assert_eq!(within("bytes=0-499", 1000), Some((0, 499)));
        assert_eq!(within("bytes=500-", 1000), Some((500, 999)));
        assert_eq!(within("bytes=900-2000", 1000), Some((900, 999)));
        assert_eq!(within("bytes=-300", 1000), Some((700, 999)));
        assert_eq!(within("bytes=-3000", 1000), Some((0, 999)));
        assert_eq!(within("bytes=1000-", 1000), None);
        assert_eq!(within("bytes=-0", 1000), None);
        assert_eq!(within("bytes=0-", 0), None);
        assert_eq!(within("bytes=0-", u64::MAX), Some((0, u64::MAX - 1)));
    }

    #[test]
    fn a_content_range_is_read_as_rfc_9110_14_4_writes_it() {
        for text in ["bytes 0-499/1234", "bytes 42-1233/*", "bytes 0-0/1"] {
            assert_eq!(ContentRange::parse(text.as_bytes()).unwrap().to_string(), text);
        }
        for bad in [
            "",
            "bytes",
            "bytes 0-499",
            "bytes 5-4/10",
            "bytes 0-10/10",
            "bytes */10",
            "bytes 0-1/",
            "bytes=0-1/2",
            "items 0-1/2",
            "bytes 0-1/2/3",
            "bytes 0-1/18446744073709551616",
            "bytes 0-1/2, bytes 0-1/2",
        ] {
            assert_eq!(ContentRange::parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(length_of_unsatisfied(b"bytes */1234"), Some(1234));
        assert_eq!(length_of_unsatisfied(b"bytes */*"), None);
        assert_eq!(length_of_unsatisfied(b"bytes 0-1/2"), None);
        assert_eq!(ContentRange::parse(b"bytes 0-18446744073709551615/*").unwrap().span.bytes(), u64::MAX);
    }

    // T98.
    #[test]
    fn an_answer_begins_where_it_should_and_ends_no_further() {
        let answers = |asked: &str, held: &str| {
            parse(asked).unwrap().is_answered_by(ContentRange::parse(held.as_bytes()).unwrap())
        };
        for (asked, held) in [
            ("bytes=0-499", "bytes 0-499/1000"),
            ("bytes=0-499", "bytes 0-99/1000"),
            ("bytes=500-", "bytes 500-999/1000"),
            ("bytes=500-", "bytes 500-799/*"),
            ("bytes=-300", "bytes 700-999/1000"),
            ("bytes=-3000", "bytes 0-999/1000"),
            ("bytes=-300", "bytes 700-999/*"),
        ] {
            assert!(answers(asked, held), "{asked}: {held}");
        }
        for (asked, held) in [
            ("bytes=0-499", "bytes 0-500/1000"),
            ("bytes=0-499", "bytes 1-499/1000"),
            ("bytes=500-", "bytes 0-999/1000"),
            ("bytes=-300", "bytes 600-999/1000"),
            ("bytes=-300", "bytes 0-299/1000"),
            ("bytes=-300", "bytes 600-999/*"),
        ] {
            assert!(!answers(asked, held), "{asked}: {held}");
        }
    }
}
