//! The recordings and transcriptions of the stand-in: a pure function of the request and the time.

use bytes::Bytes;
use jiff::Timestamp;

use super::links::{MockLinks, call_of};
use super::sound::recording;
use crate::domain::{ByteRange, CallId};

/// The host that the request is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Host {
    /// The API's own host, which wants a key.
    Api,
    /// The media host, which wants a signature and no key.
    Media,
}

/// What matters of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct MediaAsked<'a> {
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    pub(super) range: Option<&'a [u8]>,
    /// Whether there is an `Authorization` that the API takes, or any.
    pub(super) key: KeyShown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyShown {
    None,
    Wrong,
    Right,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MediaReply {
    pub(super) status: u16,
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
    /// How much of the body is sent before the connection breaks; `None`: all.
    pub(super) breaks_after: Option<usize>,
}

impl MediaReply {
    fn error(status: u16) -> Self {
        let fields = vec![("content-type", "application/xml".to_owned())];
        let body = format!("<Error><Code>{status}</Code></Error>").into();
        Self { status, fields, body, breaks_after: None }
    }
}

/// Answers a request for a recording or transcription; `None` where the path names neither.
pub(super) fn answer(
    host: Host,
    links: &MockLinks,
    request: MediaAsked<'_>,
    now: Timestamp,
) -> Option<MediaReply> {
    let path = request.path.strip_prefix('/')?;
    let is_recording = path.starts_with("recordings/");
    let id = call_of(path).filter(|_| is_recording || path.starts_with("transcriptions/"))?;
    let name = id.as_str();
    match host {
        // As object stores do: two ways to show who one is are one too many.
        Host::Media if request.key != KeyShown::None => return Some(MediaReply::error(400)),
        Host::Media if !links.admits(path, request.query, now) => return Some(MediaReply::error(403)),
        Host::Api if request.key != KeyShown::Right => return Some(MediaReply::error(401)),
        Host::Api if name.starts_with("call_redirected") => {
            let location = links.signed(path, now);
            let fields = vec![("location", location)];
            return Some(MediaReply { status: 302, fields, body: Bytes::new(), breaks_after: None });
        }
        Host::Api | Host::Media => {}
    }
    if name.starts_with("call_unrecorded") || name.starts_with("call_missing") {
        return Some(MediaReply::error(404));
    }
    let (kind, body) = match is_recording {
        true => ("audio/mpeg", recording(number_of(&id))),
        false => ("text/plain; charset=utf-8", transcription(&id)),
    };
    let mut reply = part_of(kind, body, request.range);
    if name.starts_with("call_broken") {
        reply.breaks_after = Some(reply.body.len() / 2);
    }
    Some(reply)
}

/// The whole, or the range of it that was asked for.
fn part_of(kind: &str, whole: Bytes, range: Option<&[u8]>) -> MediaReply {
    let length = whole.len() as u64;
    let mut fields = vec![
        ("content-type", kind.to_owned()),
        ("accept-ranges", "bytes".to_owned()),
        ("etag", format!("\"{length}\"")),
    ];
    let Some(range) = range.and_then(ByteRange::parse) else {
        return MediaReply { status: 200, fields, body: whole, breaks_after: None };
    };
    let Some(span) = range.within(length) else {
        fields.push(("content-range", format!("bytes */{length}")));
        return MediaReply { status: 416, fields, body: Bytes::new(), breaks_after: None };
    };
    fields.push(("content-range", format!("bytes {}-{}/{length}", span.first, span.last)));
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(whole.len());
    let body = whole.slice(place(span.first)..place(span.last.saturating_add(1)));
    MediaReply { status: 206, fields, body, breaks_after: None }
}

fn number_of(id: &CallId) -> u64 {
    id.as_bytes().iter().fold(0, |sum, byte| sum + u64::from(*byte))
}

fn transcription(id: &CallId) -> Bytes {
    format!(
        "Transcription of {}\n\nagent: Good morning, this is the billing department.\ncaller: Yes, I have been \
         expecting your call.\nagent: Your invoice is due on Friday.\ncaller: I will pay it today.\n",
        id.as_str()
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn links() -> MockLinks {
        MockLinks { base: "http://base".into(), media_host: "http://media".into(), secret: 7 }
    }

    fn ask(host: Host, target: &str, range: Option<&str>, key: KeyShown) -> MediaReply {
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let request = MediaAsked { path, query, range: range.map(str::as_bytes), key };
        answer(host, &links(), request, NOW).unwrap()
    }

    #[test]
    fn the_api_wants_its_key_and_the_media_host_a_signature_and_no_key() {
        let path = "/recordings/call_1.mp3";
        let status = |host, target: &str, key| ask(host, target, None, key).status;
        assert_eq!(status(Host::Api, path, KeyShown::Right), 200);
        assert_eq!(status(Host::Api, path, KeyShown::Wrong), 401);
        assert_eq!(status(Host::Api, path, KeyShown::None), 401);
        let signed = links().signed("recordings/call_1.mp3", NOW);
        let signed = signed.strip_prefix("http://media").unwrap();
        assert_eq!(status(Host::Media, signed, KeyShown::None), 200);
        assert_eq!(status(Host::Media, signed, KeyShown::Right), 400);
        assert_eq!(status(Host::Media, path, KeyShown::None), 403);
    }

    #[test]
    fn ids_say_what_becomes_of_a_recording() {
        let of = |id: &str| ask(Host::Api, &format!("/recordings/{id}.mp3"), None, KeyShown::Right);
        let redirect = of("call_redirected1");
        assert_eq!(redirect.status, 302);
        assert!(redirect.fields[0].1.starts_with("http://media/recordings/call_redirected1.mp3?Expires="));
        assert_eq!(of("call_unrecorded1").status, 404);
        let broken = of("call_broken1");
        assert_eq!(broken.breaks_after, Some(broken.body.len() / 2));
    }

    #[test]
    fn ranges_are_served() {
        let path = "/transcriptions/call_1.txt";
        let of = |range| ask(Host::Api, path, Some(range), KeyShown::Right);
        let part = of("bytes=0-12");
        assert_eq!((part.status, &part.body[..]), (206, &b"Transcription"[..]));
        assert_eq!(of("bytes=99999-").status, 416);
        assert_eq!(of("bytes=0-1,3-4").status, 200);
        assert!(
            answer(
                Host::Api,
                &links(),
                MediaAsked { path: "/x", query: None, range: None, key: KeyShown::Right },
                NOW
            )
            .is_none()
        );
    }
}
