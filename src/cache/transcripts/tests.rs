use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;

use super::*;
use crate::cache::policy::{Changed, EntryKind, admit_transcript};
use crate::clock;
use crate::message::{ClientResponse, ExchangeTimes};

fn id(number: u32) -> CallId {
    CallId::parse(format!("call_{number}").as_bytes()).unwrap()
}

fn entry(bytes: usize) -> Arc<Entry> {
    let body = Bytes::from(vec![b'x'; bytes]);
    let response = ClientResponse { status: StatusCode::OK, fields: Vec::new(), body };
    let now = clock::now();
    let times = ExchangeTimes { sent: now, received: now, received_at: Timestamp::UNIX_EPOCH };
    let kind = EntryKind::Call { changed: Changed::Unknown, links_expire: None };
    let (candidate, refused) =
        admit_transcript(response, &HeaderMap::new(), times, kind, &CacheSettings::for_tests(), 0);
    assert_eq!(refused, None);
    Entry::new(&candidate)
}

fn link(text: &str) -> LinkText {
    LinkText::for_tests(text)
}

#[test]
fn a_transcription_is_that_of_its_link() {
    let transcripts = Transcripts::new(1 << 20);
    transcripts.insert(&id(1), entry(10), link("a")).unwrap();
    assert!(transcripts.get(&id(1), &link("a")).is_some());
    assert!(transcripts.get(&id(1), &link("b")).is_none());
    assert!(transcripts.get(&id(2), &link("a")).is_none());
    transcripts.remove(&id(1));
    assert!(transcripts.get(&id(1), &link("a")).is_none());
    assert_eq!(transcripts.stored().bytes, 0);
}

#[test]
fn what_was_used_least_recently_makes_room() {
    let size = entry(1000).weight() as u64;
    let transcripts = Transcripts::new(3 * size);
    for number in 0..3 {
        transcripts.insert(&id(number), entry(1000), link("a")).unwrap();
    }
    assert!(transcripts.get(&id(0), &link("a")).is_some());
    transcripts.insert(&id(3), entry(1000), link("a")).unwrap();
    let left: Vec<_> = (0..4).filter(|number| transcripts.get(&id(*number), &link("a")).is_some()).collect();
    assert_eq!(left, [0, 2, 3]);
    assert_eq!(transcripts.insert(&id(4), entry(10_000), link("a")), Err(NotStored::TooLarge));
    assert!(transcripts.stored().bytes <= 3 * size);
    let stored = transcripts.stored();
    assert_eq!(stored.uses.len(), stored.entries.len());
}
