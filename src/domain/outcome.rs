use std::fmt::{self, Write};

use bytes::{BufMut, BytesMut};

use super::header_text::put_decimal;

/// What the cache did for one lookup; the label on metrics and the field in logs. Exactly one is
/// counted for every lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Answered from a fresh entry.
    Hit,
    /// Answered from a remembered 404.
    Negative,
    /// Answered from a stale entry, for whichever reason.
    Stale,
    /// Forced upstream by the client although a usable entry existed.
    Bypass,
    /// Followed another request's fetch, whatever came of it.
    Collapsed,
    /// Led a fetch that the upstream answered with 304.
    Revalidated,
    /// All else: fetched, failed, refused by the upstream budget, or not cached when only the cache
    /// was asked.
    Miss,
}

impl Outcome {
    /// Every outcome, in the order of their labels' first use.
    pub const ALL: [Self; 7] = [
        Self::Hit,
        Self::Negative,
        Self::Stale,
        Self::Bypass,
        Self::Collapsed,
        Self::Revalidated,
        Self::Miss,
    ];

    /// The word for it, alike in metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Negative => "negative",
            Self::Stale => "stale",
            Self::Bypass => "bypass",
            Self::Collapsed => "collapsed",
            Self::Revalidated => "revalidated",
            Self::Miss => "miss",
        }
    }
}

/// Why an upstream answer was not stored: one closed list for the `detail` of `Cache-Status`, the
/// metric label and the log field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NotStored {
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
    /// A key stands twice in the envelope or at the top of `data`, so that readers may differ.
    DuplicateKeys,
    /// `data.id` names another call: a mix-up.
    Identity,
    /// A status that is never stored, or one remembered 404 too many.
    Status,
    /// A purge came between the request and the answer.
    Purged,
}

impl NotStored {
    /// Every reason.
    pub const ALL: [Self; 11] = [
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
    ];

    /// The word for it, alike in the header, metrics and logs.
    pub const fn label(self) -> &'static str {
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
        }
    }
}

/// Why a stale entry was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaleReason {
    /// A background fetch is renewing it (RFC 5861 section 3).
    WhileRevalidate,
    /// The upstream failed (RFC 5861 section 4).
    IfError,
    /// The client allowed it with `max-stale`.
    Tolerated,
}

/// Why a lookup went forward, the `fwd` of RFC 9211 section 2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    /// Nothing was stored for the ID.
    UriMiss,
    /// What was stored had to be validated first.
    Stale,
    /// The client's own directives forbade what was stored.
    Request,
}

impl Forward {
    /// The token of RFC 9211.
    pub const fn token(self) -> &'static str {
        match self {
            Self::UriMiss => "uri-miss",
            Self::Stale => "stale",
            Self::Request => "request",
        }
    }
}

/// What a forwarded lookup came to. Times are whole seconds; `ttl` is negative for what is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Landing {
    /// The client wanted only what is cached, so nothing was sent.
    NotSent,
    /// No response: refused, timed out, malformed, or never let through.
    NoResponse,
    /// 304: the stored entry was renewed.
    Renewed {
        /// Freshness left.
        ttl: i64,
    },
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
        /// Why.
        why: NotStored,
    },
}

/// The whole story of one lookup in the cache: the one value from which `Cache-Status`, the
/// outcome's metric, the log line and the tests are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Story {
    /// Answered from a fresh entry with this many seconds left.
    Hit {
        /// Freshness left, in seconds.
        ttl: i64,
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
        /// Why it was served all the same.
        reason: StaleReason,
    },
    /// Asked upstream, or waited for somebody who did.
    Forwarded {
        /// Why it could not be answered from the cache.
        forward: Forward,
        /// What came of it.
        landing: Landing,
        /// Whether the fetch was another request's.
        collapsed: bool,
    },
}

impl Story {
    /// The outcome to count: the first that matches, in the order of [`Outcome`].
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Hit { .. } => Outcome::Hit,
            Self::Negative { .. } => Outcome::Negative,
            Self::Stale { .. } => Outcome::Stale,
            Self::Forwarded { landing: Landing::NotSent, .. } => Outcome::Miss,
            Self::Forwarded { forward: Forward::Request, .. } => Outcome::Bypass,
            Self::Forwarded { collapsed: true, .. } => Outcome::Collapsed,
            Self::Forwarded {
                landing: Landing::Renewed { .. } | Landing::NotStored { status: 304, why: NotStored::NoStore },
                ..
            } => Outcome::Revalidated,
            Self::Forwarded { .. } => Outcome::Miss,
        }
    }

    /// The `detail` of `Cache-Status`, the same word as in logs.
    pub const fn detail(&self) -> Option<&'static str> {
        match self {
            Self::Negative { .. } => Some("negative"),
            Self::Stale { reason: StaleReason::WhileRevalidate, .. } => Some("stale-while-revalidate"),
            Self::Stale { reason: StaleReason::IfError, .. } => Some("stale-if-error"),
            Self::Forwarded { landing: Landing::NotStored { why, .. }, .. } => Some(why.label()),
            Self::Hit { .. }
            | Self::Stale { reason: StaleReason::Tolerated, .. }
            | Self::Forwarded { .. } => None,
        }
    }
}

/// Our member of `Cache-Status` (RFC 9211 section 2).
impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("credira-gateway; ")?;
        match self {
            Self::Hit { ttl } | Self::Negative { ttl } | Self::Stale { ttl, .. } => {
                write!(f, "hit; ttl={ttl}")?
            }
            Self::Forwarded { forward, landing, .. } => {
                write!(f, "fwd={}", forward.token())?;
                match landing {
                    Landing::NotSent | Landing::NoResponse => {}
                    Landing::Renewed { ttl } => write!(f, "; fwd-status=304; stored; ttl={ttl}")?,
                    Landing::Stored { status, ttl } => write!(f, "; fwd-status={status}; stored; ttl={ttl}")?,
                    Landing::NotStored { status, .. } => write!(f, "; fwd-status={status}")?,
                }
            }
        }
        if let Some(detail) = self.detail() {
            write!(f, "; detail={detail}")?;
        }
        if let Self::Forwarded { collapsed: true, .. } = self {
            f.write_str("; collapsed")?;
        }
        Ok(())
    }
}

impl Story {
    /// Appends our member to `out`, without a formatter's machinery for the one case that matters
    /// for speed.
    pub fn write_cache_status(&self, out: &mut BytesMut) {
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

    fn forwarded(forward: Forward, landing: Landing) -> Story {
        Story::Forwarded { forward, landing, collapsed: false }
    }

    fn collapsed(forward: Forward, landing: Landing) -> Story {
        Story::Forwarded { forward, landing, collapsed: true }
    }

    #[test]
    fn every_story_has_its_cache_status_and_its_one_outcome() {
        let page = figureless(include_str!("../../docs/caching.md"));
        let stored = Landing::Stored { status: 200, ttl: 30 };
        let unstored = Landing::NotStored { status: 200, why: NotStored::NotCompleted };
        let table = [
            (Story::Hit { ttl: 5 }, "hit; ttl=5", Outcome::Hit),
            (Story::Negative { ttl: 4 }, "hit; ttl=4; detail=negative", Outcome::Negative),
            (
                Story::Stale { ttl: -3, reason: StaleReason::WhileRevalidate },
                "hit; ttl=-3; detail=stale-while-revalidate",
                Outcome::Stale,
            ),
            (
                Story::Stale { ttl: -9, reason: StaleReason::IfError },
                "hit; ttl=-9; detail=stale-if-error",
                Outcome::Stale,
            ),
            (Story::Stale { ttl: 0, reason: StaleReason::Tolerated }, "hit; ttl=0", Outcome::Stale),
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
                forwarded(Forward::Stale, Landing::Renewed { ttl: 7 }),
                "fwd=stale; fwd-status=304; stored; ttl=7",
                Outcome::Revalidated,
            ),
            (
                collapsed(Forward::Stale, Landing::Renewed { ttl: 7 }),
                "fwd=stale; fwd-status=304; stored; ttl=7; collapsed",
                Outcome::Collapsed,
            ),
            (
                forwarded(Forward::Request, stored),
                "fwd=request; fwd-status=200; stored; ttl=30",
                Outcome::Bypass,
            ),
            (forwarded(Forward::UriMiss, Landing::NoResponse), "fwd=uri-miss", Outcome::Miss),
            (forwarded(Forward::Stale, Landing::NoResponse), "fwd=stale", Outcome::Miss),
            (forwarded(Forward::Request, Landing::NotSent), "fwd=request", Outcome::Miss),
            (collapsed(Forward::UriMiss, Landing::NoResponse), "fwd=uri-miss; collapsed", Outcome::Collapsed),
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

    /// With `N` for each number, since numbers differ from lookup to lookup.
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
        assert_eq!((outcomes.len(), reasons.len()), (7, 11));
        for label in outcomes.iter().chain(&reasons) {
            let page = include_str!("../../docs/caching.md");
            assert!(page.contains(&format!("`{label}`")), "docs/caching.md does not tell {label}");
        }
    }
}
