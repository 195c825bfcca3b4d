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

/// The longest duration a key takes: ten years, far from any clock's overflow.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// A duration in the configuration: whole numbers with the units `h`, `m`, `s`, `ms`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

/// A size in the configuration: bytes, with the units `KiB`, `MiB`, `GiB` (or `kB`, `MB`, `GB`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

/// What a duration or size should have looked like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected(pub &'static str);

impl Span {
    /// What is allowed, for messages.
    pub const EXPECTED: Expected = Expected("a duration such as \"30s\", \"10m\" or \"24h\"");

    /// A duration of whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The duration.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl Size {
    /// What is allowed, for messages.
    pub const EXPECTED: Expected = Expected("a size such as \"64KiB\", \"256MiB\" or \"1GiB\"");

    /// A size of whole kibibytes.
    pub const fn kib(kib: u64) -> Self {
        Self(kib << 10)
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
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

impl FromStr for Span {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        // "P1D" is jiff's other language; a bare number has no unit; "ago" would be negative.
        let plain = text.starts_with(|c: char| c.is_ascii_digit()) && !text.ends_with("ago");
        let parsed = text.parse::<SignedDuration>().ok().filter(|_| plain).ok_or(Self::EXPECTED)?;
        let duration = Duration::try_from(parsed).map_err(|_| Self::EXPECTED)?;
        if duration > LONGEST { Err(Self::EXPECTED) } else { Ok(Self(duration)) }
    }
}

impl FromStr for Size {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        text.parse::<ByteSize>().map(|size| Self(size.as_u64())).map_err(|_| Self::EXPECTED)
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

written_as_text!(Span, "Duration", r"^[0-9]+ ?(h|m|s|ms)( ?[0-9]+ ?(h|m|s|ms))*$", "30s");
written_as_text!(Size, "Size", r"^[0-9]+(\.[0-9]+)? ?([kKMGT]i?B?|B)?$", "64MiB");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, millis) in
            [("0s", 0), ("30s", 30_000), ("10m", 600_000), ("24h", 86_400_000), ("250ms", 250)]
        {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.get(), Duration::from_millis(millis), "{text}");
            assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }
        assert_eq!("1h 30m".parse::<Span>().unwrap().get(), Duration::from_secs(5400));
        assert_eq!("1h30m".parse::<Span>().unwrap().get(), Duration::from_secs(5400));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for bad in ["", "30", "s", "-5s", "5s ago", "PT5S", "P1D", "1 fortnight", "99999999h", "5 bananas"] {
            assert_eq!(bad.parse::<Span>(), Err(Span::EXPECTED), "{bad:?}");
        }
    }

    #[test]
    fn sizes_read_as_people_write_them() {
        for (text, bytes) in
            [("64KiB", 65_536), ("256MiB", 268_435_456), ("1GiB", 1 << 30), ("1kB", 1000), ("7B", 7)]
        {
            let size: Size = text.parse().unwrap();
            assert_eq!(size.bytes(), bytes, "{text}");
            assert_eq!(size.to_string().parse::<Size>().unwrap(), size);
        }
        for bad in ["", "MiB", "-1KiB", "1 potato"] {
            assert_eq!(bad.parse::<Size>(), Err(Size::EXPECTED), "{bad:?}");
        }
    }
}
