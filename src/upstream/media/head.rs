//! What the head of a response to a request for media means: pure. Only audio, video and plain text pass, only the
//! bytes that were asked for, and only fields of a closed list.

use std::time::Duration;

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, DATE, ETAG, EXPIRES, LAST_MODIFIED,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;

use super::link::Link;
use super::request::{MediaRequest, Wanted};
use crate::domain::{ByteRange, ContentRange, MediaKind, NotStored, length_of_unsatisfied};
use crate::message::{HeaderFields, passed, retry_after};

/// The fields that pass, beside `Content-Length`.
const PASSED: [HeaderName; 9] = [
    CONTENT_TYPE,
    CONTENT_RANGE,
    CONTENT_LANGUAGE,
    ACCEPT_RANGES,
    ETAG,
    LAST_MODIFIED,
    DATE,
    CACHE_CONTROL,
    EXPIRES,
];

/// Those of them that describe the body, which a 304 does not have.
const OF_THE_BODY: [HeaderName; 4] = [CONTENT_TYPE, CONTENT_RANGE, CONTENT_LANGUAGE, ACCEPT_RANGES];

/// A response that can be passed on, but for its body.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct MediaHead {
    /// 200, 206 or 304.
    pub(crate) status: StatusCode,
    /// The upstream's, as far as they pass.
    pub(crate) fields: HeaderFields,
    /// The body's, if it is known; of the whole where only that was asked for.
    pub(crate) length: Option<u64>,
    /// What a file of this type is named.
    pub(crate) extension: &'static str,
}

/// Why a response cannot be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeadProblem {
    /// For this reason: the upstream has sent what it must not.
    Unusable(NotStored),
    /// The range that was asked for is outside of the whole, of this length.
    Unsatisfiable { complete: Option<u64> },
    /// Its status says that there is nothing, or that something has failed.
    Status { status: StatusCode, retry_after: Option<Duration> },
}

/// What a head is judged by, beside the request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadRules<'a> {
    /// `media.max_bytes`.
    pub(crate) max_bytes: u64,
    /// The call's own link, whose name says what the type may leave open.
    pub(crate) link: &'a Link,
    pub(crate) now: Timestamp,
}

/// Judges a head. Redirects have been followed.
pub(crate) fn judge(
    request: &MediaRequest,
    rules: HeadRules<'_>,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<MediaHead, HeadProblem> {
    let unusable = |why| Err(HeadProblem::Unusable(why));
    match (status.as_u16(), request.asked_range()) {
        (200, _) => whole(request, rules, headers),
        (206, Some(asked)) => part(request, rules, headers, asked),
        (206, None) => unusable(NotStored::Range),
        (304, _) if request.conditions.is_some() => Ok(not_modified(headers)),
        (304, _) => unusable(NotStored::Status),
        (416, Some(_)) => {
            let complete = single(headers, &CONTENT_RANGE).map(HeaderValue::as_bytes);
            let complete = complete.and_then(length_of_unsatisfied);
            match (request.wanted, complete) {
                // Of something empty there is no first byte.
                (Wanted::Length, Some(0)) => Ok(empty(rules, headers)),
                (Wanted::Body | Wanted::Length, complete) => Err(HeadProblem::Unsatisfiable { complete }),
            }
        }
        _ => Err(HeadProblem::Status { status, retry_after: retry_after(headers, rules.now) }),
    }
}

fn whole(
    request: &MediaRequest,
    rules: HeadRules<'_>,
    headers: &HeaderMap,
) -> Result<MediaHead, HeadProblem> {
    let extension = checked_extension(request.kind, rules, headers)?;
    // Whether there are several was checked with the framing.
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length| length > rules.max_bytes) {
        return Err(HeadProblem::Unusable(NotStored::TooLarge));
    }
    let mut fields = allowed(headers);
    fields.retain(|(name, _)| *name != CONTENT_RANGE);
    Ok(MediaHead { status: StatusCode::OK, fields, length, extension })
}

fn part(
    request: &MediaRequest,
    rules: HeadRules<'_>,
    headers: &HeaderMap,
    asked: ByteRange,
) -> Result<MediaHead, HeadProblem> {
    let lie = HeadProblem::Unusable(NotStored::Range);
    let is_multipart = essence(headers).is_some_and(|essence| essence.starts_with("multipart/"));
    let held = single(headers, &CONTENT_RANGE).and_then(|value| ContentRange::parse(value.as_bytes()));
    let held = held.filter(|held| !is_multipart && asked.is_answered_by(*held)).ok_or(lie)?;
    let length = headers.get(CONTENT_LENGTH).map(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length != Some(held.span.bytes())) {
        return Err(lie);
    }
    let extension = checked_extension(request.kind, rules, headers)?;
    let mut fields = allowed(headers);
    match request.wanted {
        Wanted::Length => {
            fields.retain(|(name, _)| *name != CONTENT_RANGE);
            Ok(MediaHead { status: StatusCode::OK, fields, length: held.complete, extension })
        }
        Wanted::Body if held.span.bytes() > rules.max_bytes => {
            Err(HeadProblem::Unusable(NotStored::TooLarge))
        }
        Wanted::Body => {
            let length = Some(held.span.bytes());
            Ok(MediaHead { status: StatusCode::PARTIAL_CONTENT, fields, length, extension })
        }
    }
}

fn empty(rules: HeadRules<'_>, headers: &HeaderMap) -> MediaHead {
    let mut fields = allowed(headers);
    // The type is that of the error, not of what is empty.
    fields.retain(|(name, _)| !OF_THE_BODY.contains(name));
    MediaHead { status: StatusCode::OK, fields, length: Some(0), extension: named(rules.link) }
}

fn not_modified(headers: &HeaderMap) -> MediaHead {
    let mut fields = allowed(headers);
    fields.retain(|(name, _)| !OF_THE_BODY.contains(name));
    MediaHead { status: StatusCode::NOT_MODIFIED, fields, length: None, extension: "" }
}

fn allowed(headers: &HeaderMap) -> HeaderFields {
    let mut fields = passed(headers);
    fields.retain(|(name, _)| PASSED.contains(name));
    fields
}

/// The extension for a body of an allowed type that is not encoded.
fn checked_extension(
    kind: MediaKind,
    rules: HeadRules<'_>,
    headers: &HeaderMap,
) -> Result<&'static str, HeadProblem> {
    let mut codings = headers.get_all(CONTENT_ENCODING).into_iter();
    if codings.any(|coding| !coding.is_empty() && !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(HeadProblem::Unusable(NotStored::InvalidBody));
    }
    let essence = essence(headers).filter(|essence| is_allowed(kind, essence));
    let essence = essence.ok_or(HeadProblem::Unusable(NotStored::MediaType))?;
    Ok(extension_of(&essence).unwrap_or_else(|| named(rules.link)))
}

/// Type and subtype of the one `Content-Type`, in lower case.
fn essence(headers: &HeaderMap) -> Option<String> {
    let text = single(headers, &CONTENT_TYPE)?.to_str().ok()?;
    Some(text.split(';').next()?.trim().to_ascii_lowercase())
}

fn is_allowed(kind: MediaKind, essence: &str) -> bool {
    let is_of_kind = match kind {
        MediaKind::Recording => {
            let subtype = essence.strip_prefix("audio/").or_else(|| essence.strip_prefix("video/"));
            let is_token = |subtype: &str| {
                let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte);
                !subtype.is_empty() && subtype.bytes().all(is_tchar)
            };
            subtype.is_some_and(is_token) || essence == "application/ogg"
        }
        MediaKind::Transcription => {
            matches!(essence, "text/plain" | "text/vtt" | "application/x-subrip" | "application/json")
        }
    };
    is_of_kind || matches!(essence, "application/octet-stream" | "binary/octet-stream")
}

/// What files of a type are named; `None` where the type doesn't say.
fn extension_of(essence: &str) -> Option<&'static str> {
    let extension = match essence {
        "audio/mpeg" | "audio/mp3" => "mp3",
        "audio/wav" | "audio/x-wav" | "audio/wave" | "audio/vnd.wave" => "wav",
        "audio/ogg" | "application/ogg" | "audio/opus" => "ogg",
        "audio/mp4" | "audio/x-m4a" => "m4a",
        "audio/aac" => "aac",
        "audio/flac" | "audio/x-flac" => "flac",
        "audio/webm" | "video/webm" => "webm",
        "video/mp4" => "mp4",
        "text/plain" => "txt",
        "text/vtt" => "vtt",
        "application/x-subrip" => "srt",
        "application/json" => "json",
        _ => return None,
    };
    Some(extension)
}

/// The extension that a link has, if it is one of those above.
fn named(link: &Link) -> &'static str {
    const KNOWN: [&str; 12] =
        ["mp3", "wav", "ogg", "m4a", "aac", "flac", "webm", "mp4", "txt", "vtt", "srt", "json"];
    let extension = link.extension().unwrap_or_default();
    KNOWN.into_iter().find(|known| known.eq_ignore_ascii_case(extension)).unwrap_or("bin")
}

/// A field that occurs once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none())
}

#[cfg(test)]
mod tests;
