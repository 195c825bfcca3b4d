use super::*;
use crate::domain::RequestId;
use crate::message::Validators;

fn request(kind: MediaKind, wanted: Wanted, range: Option<&str>) -> MediaRequest {
    let range = range.map(|range| ByteRange::parse(range.as_bytes()).unwrap());
    let request_id = RequestId::from_random(1);
    MediaRequest { kind, wanted, range, if_range: None, conditions: None, request_id, trace: None }
}

fn judged(
    request: &MediaRequest,
    status: u16,
    lines: &[(&'static str, &str)],
) -> Result<MediaHead, HeadProblem> {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    let link = Link::parse(b"https://api.example/recordings/call_1.mp3").unwrap();
    let now = "2024-01-15T10:30:00Z".parse().unwrap();
    let rules = HeadRules { max_bytes: 1000, link: &link, now };
    judge(request, rules, StatusCode::from_u16(status).unwrap(), &headers)
}

fn recording(status: u16, lines: &[(&'static str, &str)]) -> Result<MediaHead, HeadProblem> {
    judged(&request(MediaKind::Recording, Wanted::Body, None), status, lines)
}

fn ranged(range: &str, status: u16, lines: &[(&'static str, &str)]) -> Result<MediaHead, HeadProblem> {
    judged(&request(MediaKind::Recording, Wanted::Body, Some(range)), status, lines)
}

const MPEG: (&str, &str) = ("content-type", "audio/mpeg");
const fn unusable<T>(why: NotStored) -> Result<T, HeadProblem> {
    Err(HeadProblem::Unusable(why))
}

impl std::fmt::Debug for MediaHead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MediaHead({}, {:?}, {})", self.status, self.length, self.extension)
    }
}

// T96, T104.
#[test]
fn only_media_types_pass() {
    let typed = |kind, text: &str| {
        judged(&request(kind, Wanted::Body, None), 200, &[("content-type", text)]).map(|head| head.extension)
    };
    for (kind, text, extension) in [
        (MediaKind::Recording, "audio/mpeg", "mp3"),
        (MediaKind::Recording, "Audio/X-WAV; q=1", "wav"),
        (MediaKind::Recording, "application/ogg", "ogg"),
        (MediaKind::Recording, "video/mp4", "mp4"),
        (MediaKind::Recording, "audio/unheard.of", "mp3"),
        (MediaKind::Recording, "application/octet-stream", "mp3"),
        (MediaKind::Recording, "binary/octet-stream", "mp3"),
        (MediaKind::Transcription, "text/plain; charset=utf-8", "txt"),
        (MediaKind::Transcription, "text/vtt", "vtt"),
        (MediaKind::Transcription, "application/x-subrip", "srt"),
        (MediaKind::Transcription, "application/json", "json"),
    ] {
        assert_eq!(typed(kind, text), Ok(extension), "{text}");
    }
    for (kind, text) in [
        (MediaKind::Recording, "text/html"),
        (MediaKind::Recording, "text/plain"),
        (MediaKind::Recording, "image/svg+xml"),
        (MediaKind::Recording, "application/json"),
        (MediaKind::Recording, "audio/"),
        (MediaKind::Recording, "audio/a b"),
        (MediaKind::Recording, "audio"),
        (MediaKind::Recording, "audio/mpeg, text/html"),
        (MediaKind::Transcription, "text/html"),
        (MediaKind::Transcription, "audio/mpeg"),
        (MediaKind::Transcription, "application/xml"),
    ] {
        assert_eq!(typed(kind, text), unusable(NotStored::MediaType), "{text}");
    }
    assert_eq!(recording(200, &[]), unusable(NotStored::MediaType));
    assert_eq!(recording(200, &[MPEG, MPEG]), unusable(NotStored::MediaType));
    assert_eq!(
        recording(200, &[MPEG, ("content-encoding", "gzip")]),
        unusable(NotStored::InvalidBody),
        "nothing is inflated"
    );
}

// T104.
#[test]
fn fields_pass_by_a_closed_list() {
    let lines = [
        MPEG,
        ("content-length", "7"),
        ("etag", "\"1\""),
        ("last-modified", "Mon, 15 Jan 2024 10:30:00 GMT"),
        ("accept-ranges", "bytes"),
        ("cache-control", "max-age=1"),
        ("content-disposition", "attachment; filename=\"evil\""),
        ("set-cookie", "a=b"),
        ("location", "https://evil.example"),
        ("x-amz-meta-customer", "secret"),
        ("server", "x"),
        ("content-range", "bytes 0-1/2"),
        ("connection", "etag"),
    ];
    let head = recording(200, &lines).unwrap();
    let names: Vec<_> = head.fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["content-type", "last-modified", "accept-ranges", "cache-control"]);
    assert_eq!(head.length, Some(7));
}

// T103.
#[test]
fn what_announces_more_than_may_be_is_refused() {
    assert_eq!(recording(200, &[MPEG, ("content-length", "1001")]), unusable(NotStored::TooLarge));
    assert!(recording(200, &[MPEG, ("content-length", "1000")]).is_ok());
    let part = ranged("bytes=0-", 206, &[MPEG, ("content-range", "bytes 0-1000/2000")]);
    assert_eq!(part, unusable(NotStored::TooLarge));
}

// T98.
#[test]
fn a_part_passes_only_if_it_is_the_part_that_was_asked_for() {
    let range = |text| ("content-range", text);
    let head = ranged("bytes=10-19", 206, &[MPEG, range("bytes 10-19/100")]).unwrap();
    assert_eq!((head.status.as_u16(), head.length), (206, Some(10)));
    assert!(head.fields.iter().any(|(name, _)| *name == CONTENT_RANGE));
    assert_eq!(
        ranged("bytes=10-19", 200, &[MPEG]).unwrap().status,
        StatusCode::OK,
        "all of it, said to be so"
    );
    for lines in [
        &[MPEG][..],
        &[MPEG, range("bytes 11-19/100")],
        &[MPEG, range("bytes 10-20/100")],
        &[MPEG, range("bytes 10-19/100"), range("bytes 10-19/100")],
        &[MPEG, range("bytes 10-19/100"), ("content-length", "11")],
        &[MPEG, range("bytes 10-19/15")],
        &[("content-type", "multipart/byteranges; boundary=x"), range("bytes 10-19/100")],
    ] {
        assert_eq!(ranged("bytes=10-19", 206, lines), unusable(NotStored::Range), "{lines:?}");
    }
    assert_eq!(recording(206, &[MPEG, range("bytes 0-9/100")]), unusable(NotStored::Range), "unasked");
}

#[test]
fn a_head_is_made_of_the_first_byte() {
    let request = request(MediaKind::Recording, Wanted::Length, None);
    let head = judged(&request, 206, &[MPEG, ("content-range", "bytes 0-0/5000000000")]).unwrap();
    assert_eq!((head.status.as_u16(), head.length), (200, Some(5_000_000_000)));
    assert!(!head.fields.iter().any(|(name, _)| *name == CONTENT_RANGE));
    let unknown = judged(&request, 206, &[MPEG, ("content-range", "bytes 0-0/*")]).unwrap();
    assert_eq!(unknown.length, None);
    let whole = judged(&request, 200, &[MPEG, ("content-length", "7")]).unwrap();
    assert_eq!((whole.status.as_u16(), whole.length), (200, Some(7)));
    let empty = judged(&request, 416, &[("content-range", "bytes */0")]).unwrap();
    assert_eq!((empty.status.as_u16(), empty.length, empty.extension), (200, Some(0), "mp3"));
}

#[test]
fn a_304_and_a_416_pass_only_where_they_were_asked_for() {
    let mut conditional = request(MediaKind::Recording, Wanted::Body, None);
    assert_eq!(judged(&conditional, 304, &[]), unusable(NotStored::Status));
    conditional.conditions = Some(Validators::default());
    let head = judged(&conditional, 304, &[MPEG, ("etag", "\"1\"")]).unwrap();
    assert_eq!((head.status.as_u16(), head.fields.len()), (304, 1));
    let outside = HeadProblem::Unsatisfiable { complete: Some(100) };
    assert_eq!(ranged("bytes=200-", 416, &[("content-range", "bytes */100")]), Err(outside));
    assert!(matches!(recording(416, &[]), Err(HeadProblem::Status { .. })));
}

#[test]
fn any_other_status_is_handed_on_with_the_time_to_come_back() {
    for status in [201, 204, 400, 401, 403, 404, 410, 500, 503] {
        let retry_after = None;
        let problem = HeadProblem::Status { status: StatusCode::from_u16(status).unwrap(), retry_after };
        assert_eq!(recording(status, &[MPEG]), Err(problem));
    }
    let retry_after = Some(Duration::from_secs(7));
    let problem = HeadProblem::Status { status: StatusCode::TOO_MANY_REQUESTS, retry_after };
    assert_eq!(recording(429, &[("retry-after", "7")]), Err(problem));
}
