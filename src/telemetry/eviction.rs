/// Why an entry left a level; the `cause` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Eviction {
    /// To make room.
    Size,
    /// Neither fresh nor usable stale.
    Expired,
    /// By a purge, or because of the upstream's answer.
    Purged,
    /// By a newer answer.
    Replaced,
}

impl Eviction {
    pub(crate) const ALL: [Self; 4] = [Self::Size, Self::Expired, Self::Purged, Self::Replaced];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Expired => "expired",
            Self::Purged => "purged",
            Self::Replaced => "replaced",
        }
    }
}
