//! Durations and sizes as people write them: `"30s"`, `"1h 30m"`, `"64KiB"`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use jiff::SignedDuration;
use jiff::fmt::friendly::{Designator, Spacing, SpanPrinter};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest duration of any key: ten years, far from the overflow of any clock.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// A duration in the configuration: whole numbers with the units `d`, `h`, `m`, `s`, `ms`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(Duration);

/// A size in the configuration: bytes, with the units `KiB`, `MiB`, `GiB` (or `kB`, `MB`, `GB`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(u64);

/// The accepted forms, for a text that is no duration or size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expected(pub(crate) &'static str);

impl Span {
    /// The accepted forms, for messages.
    pub(crate) const EXPECTED: Expected =
        Expected("a duration such as \"250ms\", \"30s\", \"10m\", \"24h\" or \"7d\", at most ten years");

    pub(crate) const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    pub(crate) const fn get(self) -> Duration {
        self.0
    }
}

impl Size {
    /// The accepted forms, for messages.
    pub(crate) const EXPECTED: Expected =
        Expected("a size with a unit such as \"512B\", \"64KiB\", \"256MiB\" or \"1GiB\"");

    pub(crate) const fn kib(kib: u64) -> Self {
        Self(kib << 10)
    }

    pub(crate) const fn bytes(self) -> u64 {
        self.0
    }
}

/// The `u32` that a count was read from.
pub(crate) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl From<u64> for Size {
    fn from(bytes: u64) -> Self {
        Self(bytes)
    }
}

impl From<usize> for Size {
    fn from(bytes: usize) -> Self {
        Self(bytes as u64)
    }
}

impl FromStr for Span {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        // "P1D" is jiff's other notation; a bare number has no unit; "ago" would be negative.
        let is_plain = text.starts_with(|c: char| c.is_ascii_digit()) && !text.ends_with("ago");
        let (days, rest) = split_days(text).filter(|_| is_plain).ok_or(Self::EXPECTED)?;
        let rest = match rest {
            "" => Duration::ZERO,
            rest => {
                let parsed = rest.parse::<SignedDuration>().map_err(|_| Self::EXPECTED)?;
                Duration::try_from(parsed).map_err(|_| Self::EXPECTED)?
            }
        };
        let duration = days.checked_add(rest).ok_or(Self::EXPECTED)?;
        if duration > LONGEST { Err(Self::EXPECTED) } else { Ok(Self(duration)) }
    }
}

/// The leading days, which jiff would treat as calendar days of unknown length, and the rest. `None` for a number of
/// days that is out of range.
fn split_days(text: &str) -> Option<(Duration, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let Some(rest) = unit.trim_start().strip_prefix('d') else { return Some((Duration::ZERO, text)) };
    let rest = ["ays", "ay"].iter().find_map(|name| rest.strip_prefix(name)).unwrap_or(rest);
    let hours = number.parse::<u64>().ok()?.checked_mul(24)?;
    Some((Duration::from_secs(hours.checked_mul(3600)?), rest.trim_start_matches([',', ' '])))
}

impl FromStr for Size {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        // A bare number could be bytes as well as mebibytes.
        let has_unit = text.ends_with(|c: char| c.is_ascii_alphabetic());
        let size = text.parse::<ByteSize>().ok().filter(|_| has_unit);
        size.map(|size| Self(size.as_u64())).ok_or(Self::EXPECTED)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const PRINTER: SpanPrinter =
            SpanPrinter::new().designator(Designator::Compact).spacing(Spacing::BetweenUnits);
        match SignedDuration::try_from(self.0) {
            Ok(duration) => f.write_str(&PRINTER.duration_to_string(&duration)),
            Err(_) => f.write_str("0s"),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        let exact = UNITS.iter().find(|(unit, _)| self.0 >= *unit && self.0.is_multiple_of(*unit));
        match exact {
            Some((unit, name)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}B", self.0),
        }
    }
}

macro_rules! written_as_text {
    ($type:ident, $name:literal, $pattern:literal, $example:literal) => {
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(|Expected(what)| de::Error::custom(format_args!("expected {what}")))
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "examples": [$example] })
            }
        }
    };
}

written_as_text!(Span, "Duration", r"^[0-9]+ ?(d|h|m|s|ms)( ?[0-9]+ ?(h|m|s|ms))*$", "30s");
written_as_text!(Size, "Size", r"^[0-9]+(\.[0-9]+)? ?([kKMGT]i?B?|B)$", "64MiB");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, millis) in
            [("0s", 0), ("30s", 30_000), ("10m", 600_000), ("24h", 86_400_000), ("250ms", 250)]
        {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.get(), Duration::from_millis(millis), "{text}");
            assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }
        assert_eq!("1h 30m".parse::<Span>().unwrap().get(), Duration::from_secs(5400));
        assert_eq!("1h30m".parse::<Span>().unwrap().get(), Duration::from_secs(5400));
        for (text, hours) in [("1d", 24), ("7d", 168), ("1 day", 24), ("2 days, 3h", 51), ("1d 12h", 36)] {
            assert_eq!(text.parse::<Span>().unwrap().get(), Duration::from_secs(hours * 3600), "{text}");
        }
    }

    #[test]
    fn text_that_is_no_duration_is_refused() {
        for bad in [
            "",
            "30",
            "s",
            "-5s",
            "5s ago",
            "PT5S",
            "P1D",
            "1 fortnight",
            "99999999h",
            "5 bananas",
            "1dh",
            "1d ago",
            "4000d",
            "99999999999999999999d",
            "d",
            "1.5d",
        ] {
            assert_eq!(bad.parse::<Span>(), Err(Span::EXPECTED), "{bad:?}");
        }
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in
            [("64KiB", 65_536), ("256MiB", 268_435_456), ("1GiB", 1 << 30), ("1kB", 1000), ("7B", 7)]
        {
            let size: Size = text.parse().unwrap();
            assert_eq!(size.bytes(), bytes, "{text}");
            assert_eq!(size.to_string().parse::<Size>().unwrap(), size);
        }
        for bad in ["", "MiB", "-1KiB", "1 potato", "64", "0", "1.5"] {
            assert_eq!(bad.parse::<Size>(), Err(Size::EXPECTED), "{bad:?}");
        }
    }
}
