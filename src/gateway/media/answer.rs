//! What a client gets of a recording or transcription.

use http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, DATE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, StatusCode};

use super::stream::MediaStream;
use crate::clock::WallClock;
use crate::domain::CallId;
use crate::message::{HeaderFields, finish, format_date};
use crate::upstream::MediaHead;

/// An answer that is media, but for what differs from request to request.
pub(in crate::gateway) struct MediaAnswer {
    pub(in crate::gateway) status: StatusCode,
    pub(in crate::gateway) fields: HeaderFields,
    pub(in crate::gateway) body: MediaContent,
}

pub(in crate::gateway) enum MediaContent {
    Stream(Box<MediaStream>),
    /// None, of what has this length if that is known.
    Nothing {
        length: Option<u64>,
    },
}

impl MediaContent {
    /// The length of the body that the answer has, or would have.
    pub(in crate::gateway) const fn length(&self) -> Option<u64> {
        match self {
            Self::Stream(stream) => stream.length(),
            Self::Nothing { length } => *length,
        }
    }

    pub(in crate::gateway) fn into_stream(self) -> Option<Box<MediaStream>> {
        match self {
            Self::Stream(stream) => Some(stream),
            Self::Nothing { .. } => None,
        }
    }
}

/// The fields of an answer: the upstream's, and what keeps a browser from making more of the body than a file.
pub(super) fn fields_of(head: MediaHead, id: &CallId, wall: &WallClock) -> HeaderFields {
    const NOSNIFF: (HeaderName, HeaderValue) = (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    const SANDBOX: (HeaderName, HeaderValue) = (CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    let date = head.fields.iter().find(|(name, _)| *name == DATE).map(|(_, date)| date.clone());
    let date = date.unwrap_or_else(|| format_date(wall.now()));
    let mut fields = finish(head.fields, &date);
    if head.status != StatusCode::NOT_MODIFIED {
        let name = format!("attachment; filename=\"{}.{}\"", id.as_str(), head.extension);
        // An ID is letters and digits, and so is an extension.
        fields.extend(HeaderValue::try_from(name).ok().map(|name| (CONTENT_DISPOSITION, name)));
        fields.extend([NOSNIFF, SANDBOX]);
    }
    fields
}
