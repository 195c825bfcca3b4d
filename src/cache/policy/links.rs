//! When the links in a call expire: signed URLs say so in their query. Pure text in, a time out; what can't be read
//! sets no limit.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// How long before its links expire a call stops being served, so that a client can still follow them.
pub(super) const MARGIN: Duration = Duration::from_secs(60);

/// No signature lasts longer; what claims to is no lifetime.
const LONGEST_SECONDS: i64 = 10 * 366 * 24 * 3600;

/// The earliest expiry of these links, in seconds since 1970.
pub(super) fn earliest_expiry<'a>(links: impl IntoIterator<Item = &'a str>) -> Option<i64> {
    links.into_iter().filter_map(expiry).min()
}

/// The earliest expiry that a link's query names.
pub(super) fn expiry(link: &str) -> Option<i64> {
    let (_, query) = link.split_once('?')?;
    let query = query.split_once('#').map_or(query, |(query, _)| query);
    let mut named = LinkTimes::default();
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        named.note(&decoded(name), &decoded(value));
    }
    let LinkTimes { amazon, google, earliest } = named;
    [amazon.expiry(), google.expiry(), earliest].into_iter().flatten().min()
}

/// What a query names.
#[derive(Default)]
struct LinkTimes {
    amazon: LinkSignature,
    google: LinkSignature,
    /// Of the parameters that name a time by themselves.
    earliest: Option<i64>,
}

/// When a link was signed, and for how many seconds.
#[derive(Default)]
struct LinkSignature {
    at: Option<i64>,
    lifetime: Option<i64>,
}

impl LinkSignature {
    fn expiry(&self) -> Option<i64> {
        Some(self.at?.saturating_add(self.lifetime?))
    }
}

impl LinkTimes {
    fn note(&mut self, name: &str, value: &str) {
        match name {
            "X-Amz-Date" => self.amazon.at = signed_at(value),
            "X-Amz-Expires" => self.amazon.lifetime = lifetime(value),
            "X-Goog-Date" => self.google.at = signed_at(value),
            "X-Goog-Expires" => self.google.lifetime = lifetime(value),
            "Expires" => self.note_time(seconds(value)),
            "se" => self.note_time(time(value)),
            _ => {}
        }
    }

    fn note_time(&mut self, time: Option<i64>) {
        self.earliest = self.earliest.into_iter().chain(time).min();
    }
}

/// Digits alone: no sign, no spaces.
fn seconds(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn lifetime(text: &str) -> Option<i64> {
    seconds(text).filter(|seconds| *seconds <= LONGEST_SECONDS)
}

/// ISO 8601's basic form, as signatures have it: `20240115T103000Z`.
fn signed_at(text: &str) -> Option<i64> {
    let local = DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    Some(TimeZone::UTC.to_timestamp(local).ok()?.as_second())
}

/// A time as shared-access signatures have it: with a zone, or a date alone, which means its beginning in UTC.
fn time(text: &str) -> Option<i64> {
    let whole = || text.parse::<Timestamp>().ok();
    let date = || TimeZone::UTC.to_timestamp(text.parse::<jiff::civil::Date>().ok()?.at(0, 0, 0, 0)).ok();
    let is_date = text.len() == "2024-01-15".len();
    Some(if is_date { date()? } else { whole()? }.as_second())
}

/// Percent-decoded; as it is where that leaves no text.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        let digits = (byte == b'%').then(|| Some((digit(ahead.next()?)?, digit(ahead.next()?)?))).flatten();
        match digits {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = ahead;
            }
            None => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_or(Cow::Borrowed(text), Cow::Owned)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-01-15T10:30:00Z.
    const SIGNED: i64 = 1_705_314_600;

    fn of(query: &str) -> Option<i64> {
        earliest_expiry([format!("https://media.example/a.mp3?{query}").as_str()])
    }

    #[test]
    fn each_kind_of_signature_says_when_its_link_expires() {
        for (query, expiry) in [
            ("X-Amz-Date=20240115T103000Z&X-Amz-Expires=3600&X-Amz-Signature=ab", SIGNED + 3600),
            ("X-Goog-Expires=60&X-Goog-Date=20240115T103000Z", SIGNED + 60),
            ("Expires=1705314600&Signature=a%2Fb", SIGNED),
            ("sv=2022&se=2024-01-15T10%3A30%3A00Z&sig=x", SIGNED),
            ("se=2024-01-15T12:30:00%2B02:00", SIGNED),
            ("se=2024-01-15", SIGNED - 37_800),
            ("%58-Amz-Date=20240115T103000Z&X-Amz-Expires=%36%30", SIGNED + 60),
            ("Expires=1705314600#Expires=1", SIGNED),
        ] {
            assert_eq!(of(query), Some(expiry), "{query}");
        }
    }

    #[test]
    fn what_cannot_be_read_sets_no_limit() {
        for query in [
            "",
            "Expires=",
            "Expires=-5",
            "Expires=+5",
            "Expires=soon",
            "Expires=99999999999999999999",
            "expires=1705314600",
            "X-Amz-Expires=3600",
            "X-Amz-Date=20240115T103000Z",
            "X-Amz-Date=2024-01-15T10:30:00Z&X-Amz-Expires=60",
            "X-Amz-Date=20240115T103000Z&X-Amz-Expires=99999999999",
            "X-Amz-Date=20240115T103000Z&X-Goog-Expires=60",
            "se=tomorrow",
            "se=%ff%fe",
            "se=%E0%A4",
            "%",
            "=%",
        ] {
            assert_eq!(of(query), None, "{query}");
        }
        assert_eq!(earliest_expiry(["https://media.example/Expires=1705314600", "", "?"]), None);
    }

    #[test]
    fn the_earliest_expiry_counts() {
        assert_eq!(of("Expires=1705314600&se=2024-01-15T10:29:00Z"), Some(SIGNED - 60));
        assert_eq!(of("Expires=1705314601&Expires=1705314600"), Some(SIGNED));
        let links = ["https://a/?Expires=1705314700", "https://b/?Expires=1705314600", "https://c/"];
        assert_eq!(earliest_expiry(links), Some(SIGNED));
    }
}
