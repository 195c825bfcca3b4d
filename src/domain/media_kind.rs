/// What belongs to a call beside its data; the `kind` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MediaKind {
    Recording,
    Transcription,
}

impl MediaKind {
    pub(crate) const ALL: [Self; 2] = [Self::Recording, Self::Transcription];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Recording => "recording",
            Self::Transcription => "transcription",
        }
    }
}
