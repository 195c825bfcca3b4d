//! Recordings and transcriptions: `GET /v1/calls/{id}/recording` and `/transcription`.

mod answers;
mod breaks;
mod explained;
mod http2;
mod links;
mod streams;
mod tls;
mod transcripts;

use std::net::SocketAddr;

use crate::support::{Act, Client, Config, Gateway, Response, Seen, TOKENS, Upstream, reply};

pub(super) const RECORDING: &str = "/v1/calls/call_1/recording";
pub(super) const TRANSCRIPTION: &str = "/v1/calls/call_1/transcription";
pub(super) const SOUND: &str = "a sound of thirty-three bytes.mp3";
pub(super) const MPEG: &str = "Content-Type: audio/mpeg";

/// A configuration whose `alpha` may ask for media.
pub(super) fn config() -> Config {
    Config::default().tenant(0, "routes = [\"call\", \"recording\", \"transcription\"]")
}

/// A settled call with these links, as JSON values.
pub(super) fn call_with(id: &str, recording: &str, transcription: &str) -> String {
    call_as(id, "completed", "2024-01-15T10:33:00Z", recording, transcription)
}

pub(super) fn call_as(id: &str, status: &str, updated: &str, recording: &str, transcription: &str) -> String {
    format!(
        r#"{{"success":true,"data":{{"id":"{id}","status":"{status}","updated_time":"{updated}","call_recording_url":{recording},"transcription_url":{transcription}}},"meta":{{}}}}"#
    )
}

pub(super) fn call_reply(body: &str) -> Vec<Act> {
    reply("200 OK", &["Content-Type: application/json"], body)
}

/// An upstream that answers lookups with calls whose links lead to itself, and everything else by a script.
pub(super) fn with_media(media: impl Fn(&Seen) -> Vec<Act> + Send + Sync + 'static) -> Upstream {
    let upstream = Upstream::scripted(|_| Vec::new());
    let address = upstream.address();
    upstream.now(move |seen| match seen.target.strip_prefix("/v1/calls/") {
        Some(id) => call_reply(&own_links(id, address)),
        None => media(seen),
    });
    upstream
}

/// A settled call whose links lead to `address`.
pub(super) fn own_links(id: &str, address: SocketAddr) -> String {
    let link = |path: &str| format!("\"http://{address}/{path}\"");
    call_with(id, &link(&format!("recordings/{id}.mp3")), &link(&format!("transcriptions/{id}.txt")))
}

/// An upstream whose call has this link, another one that the link may lead to, and a gateway that may follow it.
pub(super) fn linked(link: impl Fn(SocketAddr, SocketAddr) -> String) -> (Upstream, Upstream, Gateway) {
    let host = Upstream::always(reply("200 OK", &[MPEG], SOUND));
    let upstream = Upstream::scripted(|_| Vec::new());
    let link = format!("\"{}\"", link(upstream.address(), host.address()));
    upstream.now(move |seen| match seen.target.strip_prefix("/v1/calls/") {
        Some(id) => call_reply(&call_with(id, &link, "null")),
        None => reply("200 OK", &[MPEG], SOUND),
    });
    let gateway = config().with("media", &format!("hosts = [\"{}\"]", host.address())).start(&upstream);
    (upstream, host, gateway)
}

pub(super) fn get(gateway: &Gateway, path: &str, lines: &[&str]) -> Response {
    gateway.connect().get(path, TOKENS[0], lines).read()
}

/// Requests the recording and reads only the head of the answer.
pub(super) fn begin(gateway: &Gateway) -> (Client, Response) {
    let mut client = gateway.connect();
    let head = client.get(RECORDING, TOKENS[0], &[]).read_head().expect("a head");
    (client, head)
}

/// The upstream requests other than lookups.
pub(super) fn media_requests(upstream: &Upstream) -> Vec<Seen> {
    upstream.seen().into_iter().filter(|seen| !seen.target.starts_with("/v1/")).collect()
}

/// The number of recordings' streams with this end.
pub(super) fn ended(gateway: &Gateway, end: &str) -> f64 {
    gateway.metric(&format!("media_streams_total{{end=\"{end}\",kind=\"recording\",tenant=\"alpha\"}}"))
}
