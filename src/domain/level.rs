/// A level below memory, and its name in headers, metrics and the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Disk,
    Shared,
}

impl Level {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Shared => "shared",
        }
    }
}
