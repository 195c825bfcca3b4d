//! What a call says of its recording and transcription: pure.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::value::RawValue;

use super::envelope::{CallEnvelope, Changed};
use super::links;
use crate::config::CacheSettings;
use crate::domain::{MediaKind, NotStored};

/// A call's link, and whether a missing one may still come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CallMedia {
    /// As the call has it; `None` where it is absent, null or empty.
    pub(crate) link: Option<LinkText>,
    pub(crate) maturity: Maturity,
}

/// A link as the call has it. It may hold a signature.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct LinkText(String);

impl LinkText {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The earliest expiry that it names, in seconds since 1970.
    pub(crate) fn expiry(&self) -> Option<i64> {
        links::expiry(&self.0)
    }

    #[cfg(test)]
    pub(crate) fn for_tests(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Shows nothing of it.
impl std::fmt::Debug for LinkText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LinkText(***)")
    }
}

/// Whether a call may still change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Maturity {
    /// It is final, and has been for a whole settle window.
    Settled,
    /// What it does not have may still come.
    Changing,
}

impl CallMedia {
    /// Reads the body of a 200 that was passed on as a call. The error says why it is no call.
    pub(crate) fn read(
        body: &[u8],
        kind: MediaKind,
        policy: &CacheSettings,
        now: Timestamp,
    ) -> Result<Self, NotStored> {
        let call = match CallEnvelope::read(body) {
            CallEnvelope::Unreadable => return Err(NotStored::InvalidBody),
            CallEnvelope::Ambiguous => return Err(NotStored::Identity),
            CallEnvelope::Read(call) => call,
        };
        if !call.success || call.id.is_none() {
            return Err(NotStored::NotSuccess);
        }
        if call.duplicate_keys {
            return Err(NotStored::DuplicateKeys);
        }
        let statuses = &policy.cacheable_statuses;
        let is_final = call.status.is_some_and(|status| statuses.iter().any(|known| *known == status));
        let is_old = match call.changed {
            Changed::At(changed) => {
                let age = now.duration_since(changed).unsigned_abs();
                changed <= now && age >= policy.settle_window
            }
            Changed::Unknown => false,
        };
        let maturity = if is_final && is_old { Maturity::Settled } else { Maturity::Changing };
        Ok(Self { link: link(call.data, kind)?, maturity })
    }
}

/// Fields of a call. Duplicates have been rejected before.
#[derive(serde::Deserialize)]
struct CallLinks<'a> {
    #[serde(borrow)]
    call_recording_url: Option<&'a RawValue>,
    #[serde(borrow)]
    transcription_url: Option<&'a RawValue>,
}

fn link(data: &[u8], kind: MediaKind) -> Result<Option<LinkText>, NotStored> {
    let links: CallLinks<'_> = serde_json::from_slice(data).map_err(|_| NotStored::InvalidBody)?;
    let link = match kind {
        MediaKind::Recording => links.call_recording_url,
        MediaKind::Transcription => links.transcription_url,
    };
    let Some(link) = link.filter(|link| link.get() != "null") else { return Ok(None) };
    let text: Cow<'_, str> = serde_json::from_str(link.get()).map_err(|_| NotStored::Link)?;
    Ok((!text.is_empty()).then(|| LinkText(text.into_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, kind: MediaKind) -> Result<CallMedia, NotStored> {
        let now = "2024-06-01T12:00:00Z".parse().unwrap();
        CallMedia::read(body.as_bytes(), kind, &CacheSettings::for_tests(), now)
    }

    fn call(status: &str, fields: &str) -> String {
        format!(r#"{{"success":true,"data":{{"id":"call_1","status":"{status}"{fields}}},"meta":{{}}}}"#)
    }

    const OLD: &str = r#","updated_time":"2024-01-15T10:33:00Z""#;

    #[test]
    fn each_kind_has_its_own_link() {
        let fields = r#","call_recording_url":"https:\/\/a\/r","transcription_url":"https://a/t""#;
        let body = call("completed", fields);
        let link = |kind| read(&body, kind).unwrap().link.unwrap().as_str().to_owned();
        assert_eq!(link(MediaKind::Recording), "https://a/r");
        assert_eq!(link(MediaKind::Transcription), "https://a/t");
    }

    #[test]
    fn an_absent_null_or_empty_link_is_none_and_any_other_value_is_no_link() {
        for fields in ["", r#","call_recording_url":null"#, r#","call_recording_url":"""#] {
            assert_eq!(
                read(&call("completed", fields), MediaKind::Recording).unwrap().link,
                None,
                "{fields}"
            );
        }
        for value in ["1", "true", "[]", "{}"] {
            let body = call("completed", &format!(r#","call_recording_url":{value}"#));
            assert_eq!(read(&body, MediaKind::Recording), Err(NotStored::Link), "{value}");
        }
    }

    #[test]
    fn only_a_final_call_that_has_not_changed_for_a_settle_window_is_settled() {
        let maturity = |status, fields| read(&call(status, fields), MediaKind::Recording).unwrap().maturity;
        assert_eq!(maturity("completed", OLD), Maturity::Settled);
        assert_eq!(maturity("completed", r#","updated_time":"2024-06-01T11:50:00Z""#), Maturity::Settled);
        for (status, fields) in [
            ("in_progress", OLD),
            ("completed", ""),
            ("completed", r#","updated_time":"2024-06-01T11:50:01Z""#),
            ("completed", r#","updated_time":"2024-06-01T12:00:01Z""#),
            ("completed", r#","updated_time":"soon""#),
        ] {
            assert_eq!(maturity(status, fields), Maturity::Changing, "{status} {fields}");
        }
    }

    #[test]
    fn what_is_no_call_has_no_media() {
        for (body, why) in [
            ("[]", NotStored::InvalidBody),
            (r#"{"success":false,"data":{"id":"call_1"}}"#, NotStored::NotSuccess),
            (r#"{"success":true,"data":{}}"#, NotStored::NotSuccess),
            (r#"{"success":true,"data":{"id":"call_1","x":1,"x":2}}"#, NotStored::DuplicateKeys),
            (r#"{"success":true,"data":{"id":"call_1","id":"call_2"}}"#, NotStored::Identity),
        ] {
            assert_eq!(read(body, MediaKind::Recording), Err(why), "{body}");
        }
    }

    // T95.
    #[test]
    fn debug_output_shows_nothing_of_a_link() {
        let body = call("completed", r#","call_recording_url":"https://a/r?signature=secret""#);
        assert!(!format!("{:?}", read(&body, MediaKind::Recording)).contains("secret"));
    }
}
