use std::fmt::{self, Write};

use bytes::{BufMut, BytesMut};

use super::header_text::put_decimal;
use super::level::Level;

/// What the cache did for one lookup; the label on metrics and the field in logs. Exactly one is
/// counted for every lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// Answered from a fresh entry.
    Hit,
    /// Answered from a remembered 404.
    Negative,
    /// Answered from a stale entry, for whichever reason.
    Stale,
    /// Forced upstream by the client although a usable entry existed.
    Bypass,
    /// Began or joined a watch, to wait until the call is final.
    Waited,
    /// Followed another request's fetch, whatever its result.
    Collapsed,
    /// Led a fetch that the upstream answered with 304.
    Revalidated,
    /// Everything else: fetched, failed, refused by the upstream budget, or not cached for a client that accepts only
    /// cached answers.
    Miss,
}

impl Outcome {
    /// Every outcome, in the order of their labels' first use.
    pub(crate) const ALL: [Self; 8] = [
        Self::Hit,
        Self::Negative,
        Self::Stale,
        Self::Bypass,
        Self::Waited,
        Self::Collapsed,
        Self::Revalidated,
        Self::Miss,
    ];

    /// Whether the answer came from the cache alone.
    pub(crate) const fn is_from_cache(self) -> bool {
        match self {
            Self::Hit | Self::Negative | Self::Stale => true,
            Self::Bypass | Self::Waited | Self::Collapsed | Self::Revalidated | Self::Miss => false,
        }
    }

    /// The word for it, the same in metrics and logs.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Negative => "negative",
            Self::Stale => "stale",
            Self::Bypass => "bypass",
            Self::Waited => "waited",
            Self::Collapsed => "collapsed",
            Self::Revalidated => "revalidated",
            Self::Miss => "miss",
        }
    }
}

/// Why an upstream answer was not stored: one closed list for the `detail` of `Cache-Status`, the metric label and
/// the log field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum NotStored {
    /// `data.status` is not one of the cacheable ones.
    NotCompleted,
    /// `success` is not `true`, or there is no `data.id` to compare.
    NotSuccess,
    /// The upstream's `Cache-Control` says `no-store`.
    NoStore,
    /// Only requests that said `no-store` waited for it.
    ClientNoStore,
    /// `Vary: *`.
    Vary,
    /// Larger than `cache.max_entry_bytes` or `upstream.max_response_bytes`.
    TooLarge,
    /// Not a whole JSON object in UTF-8.
    InvalidBody,
    /// A key occurs twice in the envelope or at the top of `data`, so parsers may differ about its value.
    DuplicateKeys,
    /// `data.id` names another call: a mix-up.
    Identity,
    /// A status that is never stored, or one remembered 404 too many.
    Status,
    /// A purge happened between the request and the answer.
    Purged,
    /// A link, or where it redirects, is not followed.
    Link,
    /// No type that a recording or transcription may have.
    MediaType,
    /// Not the bytes that were asked for.
    Range,
}

impl NotStored {
    /// Every reason.
    pub(crate) const ALL: [Self; 14] = [
        Self::NotCompleted,
        Self::NotSuccess,
        Self::NoStore,
        Self::ClientNoStore,
        Self::Vary,
        Self::TooLarge,
        Self::InvalidBody,
        Self::DuplicateKeys,
        Self::Identity,
        Self::Status,
        Self::Purged,
        Self::Link,
        Self::MediaType,
        Self::Range,
    ];

    /// The word for it, the same in the header, metrics and logs.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::NotCompleted => "not-completed",
            Self::NotSuccess => "not-success",
            Self::NoStore => "no-store",
            Self::ClientNoStore => "client-no-store",
            Self::Vary => "vary",
            Self::TooLarge => "too-large",
            Self::InvalidBody => "invalid-body",
            Self::DuplicateKeys => "duplicate-keys",
            Self::Identity => "identity",
            Self::Status => "status",
            Self::Purged => "purged",
            Self::Link => "link",
            Self::MediaType => "media-type",
            Self::Range => "range",
        }
    }
}

/// Why a stale entry was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StaleReason {
    /// A background fetch is renewing it (RFC 5861 section 3).
    WhileRevalidate,
    /// The upstream failed (RFC 5861 section 4).
    IfError,
    /// The client allowed it with `max-stale`.
    Tolerated,
}

/// Why a lookup went forward, the `fwd` of RFC 9211 section 2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forward {
    /// Nothing was stored for the ID.
    UriMiss,
    /// The stored response had to be validated first.
    Stale,
    /// The client's own directives forbade what was stored.
    Request,
}

impl Forward {
    /// The token of RFC 9211.
    pub(crate) const fn token(self) -> &'static str {
        match self {
            Self::UriMiss => "uri-miss",
            Self::Stale => "stale",
            Self::Request => "request",
        }
    }
}

/// The result of a forwarded lookup. Times are whole seconds; `ttl` is negative for a stale response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForwardOutcome {
    /// The client wanted only what is cached, so nothing was sent.
    NotSent,
    /// No response: refused, timed out, malformed, or never let through.
    NoResponse,
    /// 304: the stored entry was renewed.
    Renewed {
        /// Freshness left.
        ttl: i64,
    },
    /// Nothing was sent: a level below memory had it.
    Recalled(Level),
    /// The answer was stored.
    Stored {
        /// The upstream's status: 200, or 404 for a call remembered as missing.
        status: u16,
        /// Freshness left.
        ttl: i64,
    },
    /// The answer was passed on, or replaced by a refusal, and not stored.
    NotStored {
        /// The upstream's status.
        status: u16,
        why: NotStored,
    },
}

/// What the cache did for one lookup, in full: the single value from which `Cache-Status`, the outcome metric, the
/// log line and the tests are derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CacheOutcome {
    /// Answered from a fresh entry with this many seconds left.
    Hit {
        /// Freshness left, in seconds.
        ttl: i64,
    },
    /// Answered from a fresh entry that a level below memory had.
    Recalled {
        /// Freshness left, in seconds.
        ttl: i64,
        level: Level,
    },
    /// Answered from a remembered 404.
    Negative {
        /// Freshness left, in seconds.
        ttl: i64,
    },
    /// Answered from a stale entry.
    Stale {
        /// Freshness left, in seconds: zero or negative.
        ttl: i64,
        /// Why it was served although stale.
        reason: StaleReason,
    },
    /// Sent upstream, or followed a request that was.
    Forwarded {
        /// Why it could not be answered from the cache.
        forward: Forward,
        outcome: ForwardOutcome,
        part: Part,
    },
    /// Sent upstream for a response that is never stored.
    Unstored {
        /// The upstream's status, if it gave a response.
        status: Option<u16>,
        /// Why the response was unusable, if it was.
        unusable: Option<NotStored>,
        part: Part,
    },
}

/// A lookup's part in the fetch that it was answered from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Led,
    /// It followed another request's.
    Followed,
    /// It waited until the call is final, and began the watch.
    BeganWatch,
    /// It waited until the call is final, in a watch that others had begun.
    JoinedWatch,
}

impl Part {
    /// Whether the fetch was another request's.
    const fn is_collapsed(self) -> bool {
        match self {
            Self::Followed | Self::JoinedWatch => true,
            Self::Led | Self::BeganWatch => false,
        }
    }
}

impl CacheOutcome {
    /// The outcome to count: the first that matches, in the order of [`Outcome`].
    pub(crate) const fn outcome(&self) -> Outcome {
        match self {
            Self::Hit { .. } | Self::Recalled { .. } => Outcome::Hit,
            Self::Negative { .. } => Outcome::Negative,
            Self::Stale { .. } => Outcome::Stale,
            Self::Unstored { part: Part::Followed | Part::JoinedWatch, .. } => Outcome::Collapsed,
            Self::Unstored { .. } => Outcome::Miss,
            Self::Forwarded { outcome: ForwardOutcome::NotSent, .. } => Outcome::Miss,
            Self::Forwarded { forward: Forward::Request, .. } => Outcome::Bypass,
            Self::Forwarded { part: Part::BeganWatch | Part::JoinedWatch, .. } => Outcome::Waited,
            Self::Forwarded { part: Part::Followed, .. } => Outcome::Collapsed,
            Self::Forwarded {
                outcome:
                    ForwardOutcome::Renewed { .. }
                    | ForwardOutcome::NotStored { status: 304, why: NotStored::NoStore },
                ..
            } => Outcome::Revalidated,
            Self::Forwarded { .. } => Outcome::Miss,
        }
    }

    /// The `detail` of `Cache-Status`, the same word as in logs.
    pub(crate) const fn detail(&self) -> Option<&'static str> {
        match self {
            Self::Recalled { level, .. } => Some(level.label()),
            Self::Negative { .. } => Some("negative"),
            Self::Stale { reason: StaleReason::WhileRevalidate, .. } => Some("stale-while-revalidate"),
            Self::Stale { reason: StaleReason::IfError, .. } => Some("stale-if-error"),
            Self::Forwarded { outcome: ForwardOutcome::NotStored { why, .. }, .. }
            | Self::Unstored { unusable: Some(why), .. } => Some(why.label()),
            Self::Hit { .. }
            | Self::Unstored { unusable: None, .. }
            | Self::Stale { reason: StaleReason::Tolerated, .. }
            | Self::Forwarded { .. } => None,
        }
    }
}

/// Our member of `Cache-Status` (RFC 9211 section 2).
impl fmt::Display for CacheOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("credira-gateway; ")?;
        match self {
            Self::Hit { ttl }
            | Self::Recalled { ttl, .. }
            | Self::Negative { ttl }
            | Self::Stale { ttl, .. } => write!(f, "hit; ttl={ttl}")?,
            Self::Unstored { status: Some(status), .. } => write!(f, "fwd=bypass; fwd-status={status}")?,
            Self::Unstored { status: None, .. } => f.write_str("fwd=bypass")?,
            Self::Forwarded { forward, outcome, .. } => {
                write!(f, "fwd={}", forward.token())?;
                match outcome {
                    ForwardOutcome::NotSent | ForwardOutcome::NoResponse | ForwardOutcome::Recalled(_) => {}
                    ForwardOutcome::Renewed { ttl } => write!(f, "; fwd-status=304; stored; ttl={ttl}")?,
                    ForwardOutcome::Stored { status, ttl } => {
                        write!(f, "; fwd-status={status}; stored; ttl={ttl}")?
                    }
                    ForwardOutcome::NotStored { status, .. } => write!(f, "; fwd-status={status}")?,
                }
            }
        }
        if let Some(detail) = self.detail() {
            write!(f, "; detail={detail}")?;
        }
        if let Self::Forwarded { part, .. } | Self::Unstored { part, .. } = self
            && part.is_collapsed()
        {
            f.write_str("; collapsed")?;
        }
        Ok(())
    }
}

impl CacheOutcome {
    /// Appends our member to `out`, without the overhead of a formatter in the one case where speed matters.
    pub(crate) fn write_cache_status(&self, out: &mut BytesMut) {
        if let Self::Hit { ttl } = self {
            out.put_slice(b"credira-gateway; hit; ttl=");
            put_decimal(out, *ttl);
        } else {
            let _ = write!(out, "{self}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(forward: Forward, outcome: ForwardOutcome) -> CacheOutcome {
        CacheOutcome::Forwarded { forward, outcome, part: Part::Led }
    }

    fn collapsed(forward: Forward, outcome: ForwardOutcome) -> CacheOutcome {
        CacheOutcome::Forwarded { forward, outcome, part: Part::Followed }
    }

    #[test]
    fn every_story_has_its_cache_status_and_its_one_outcome() {
        let page = figureless(include_str!("../../docs/caching.md"));
        let stored = ForwardOutcome::Stored { status: 200, ttl: 30 };
        let unstored = ForwardOutcome::NotStored { status: 200, why: NotStored::NotCompleted };
        let table = [
            (CacheOutcome::Hit { ttl: 5 }, "hit; ttl=5", Outcome::Hit),
            (CacheOutcome::Recalled { ttl: 5, level: Level::Disk }, "hit; ttl=5; detail=disk", Outcome::Hit),
            (CacheOutcome::Negative { ttl: 4 }, "hit; ttl=4; detail=negative", Outcome::Negative),
            (
                CacheOutcome::Stale { ttl: -3, reason: StaleReason::WhileRevalidate },
                "hit; ttl=-3; detail=stale-while-revalidate",
                Outcome::Stale,
            ),
            (
                CacheOutcome::Stale { ttl: -9, reason: StaleReason::IfError },
                "hit; ttl=-9; detail=stale-if-error",
                Outcome::Stale,
            ),
            (CacheOutcome::Stale { ttl: 0, reason: StaleReason::Tolerated }, "hit; ttl=0", Outcome::Stale),
            (
                forwarded(Forward::UriMiss, stored),
                "fwd=uri-miss; fwd-status=200; stored; ttl=30",
                Outcome::Miss,
            ),
            (
                forwarded(Forward::UriMiss, unstored),
                "fwd=uri-miss; fwd-status=200; detail=not-completed",
                Outcome::Miss,
            ),
            (
                collapsed(Forward::UriMiss, stored),
                "fwd=uri-miss; fwd-status=200; stored; ttl=30; collapsed",
                Outcome::Collapsed,
            ),
            (
                forwarded(Forward::Stale, ForwardOutcome::Renewed { ttl: 7 }),
                "fwd=stale; fwd-status=304; stored; ttl=7",
                Outcome::Revalidated,
            ),
            (
                collapsed(Forward::Stale, ForwardOutcome::Renewed { ttl: 7 }),
                "fwd=stale; fwd-status=304; stored; ttl=7; collapsed",
                Outcome::Collapsed,
            ),
            (
                forwarded(Forward::Request, stored),
                "fwd=request; fwd-status=200; stored; ttl=30",
                Outcome::Bypass,
            ),
            (
                CacheOutcome::Forwarded {
                    forward: Forward::UriMiss,
                    outcome: stored,
                    part: Part::BeganWatch,
                },
                "fwd=uri-miss; fwd-status=200; stored; ttl=30",
                Outcome::Waited,
            ),
            (
                CacheOutcome::Forwarded {
                    forward: Forward::UriMiss,
                    outcome: unstored,
                    part: Part::JoinedWatch,
                },
                "fwd=uri-miss; fwd-status=200; detail=not-completed; collapsed",
                Outcome::Waited,
            ),
            (
                CacheOutcome::Unstored { status: Some(200), unusable: None, part: Part::Followed },
                "fwd=bypass; fwd-status=200; collapsed",
                Outcome::Collapsed,
            ),
            (
                CacheOutcome::Unstored {
                    status: Some(200),
                    unusable: Some(NotStored::Identity),
                    part: Part::Led,
                },
                "fwd=bypass; fwd-status=200; detail=identity",
                Outcome::Miss,
            ),
            (forwarded(Forward::UriMiss, ForwardOutcome::NoResponse), "fwd=uri-miss", Outcome::Miss),
            (forwarded(Forward::Stale, ForwardOutcome::NoResponse), "fwd=stale", Outcome::Miss),
            (forwarded(Forward::Request, ForwardOutcome::NotSent), "fwd=request", Outcome::Miss),
            (
                collapsed(Forward::UriMiss, ForwardOutcome::NoResponse),
                "fwd=uri-miss; collapsed",
                Outcome::Collapsed,
            ),
        ];
        for (story, text, outcome) in table {
            let mut written = BytesMut::new();
            story.write_cache_status(&mut written);
            assert_eq!(written, format!("credira-gateway; {text}"));
            assert_eq!(story.outcome(), outcome, "{text}");
            // docs/caching.md shows each, the collapsed ones by an example.
            let shown = figureless(text.trim_end_matches("; collapsed"));
            assert!(page.contains(&format!("`{shown}`")), "{shown}");
        }
    }

    /// With `N` for each number, because numbers differ between lookups.
    fn figureless(text: &str) -> String {
        let mut out = String::new();
        for c in text.chars() {
            match c {
                '0'..='9' if out.ends_with('N') => {}
                '0'..='9' => out.push('N'),
                _ => out.push(c),
            }
        }
        out
    }

    #[test]
    fn the_lists_name_everything_once() {
        let outcomes: std::collections::HashSet<_> = Outcome::ALL.map(Outcome::label).into();
        let reasons: std::collections::HashSet<_> = NotStored::ALL.map(NotStored::label).into();
        assert_eq!((outcomes.len(), reasons.len()), (8, 14));
        for label in outcomes.iter().chain(&reasons) {
            let page = include_str!("../../docs/caching.md");
            assert!(page.contains(&format!("`{label}`")), "docs/caching.md does not list {label}");
        }
    }
}
