//! `[media]`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::checker::{Checker, well_formed};
use crate::config::media_host::MediaHost;
use crate::config::section::Section;
use crate::config::units::{Size, Span, count};

/// Recordings and transcriptions of calls, passed on as streams.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "MediaSettings")]
pub(crate) struct RawMedia {
    /// Hosts, as `"cdn.example"` or `"cdn.example:8443"`, that they may come from besides the host of
    /// `upstream.base_url`. Over https alone, but for hosts of this machine while `upstream.base_url` is plain. These
    /// hosts never get a key.
    #[schemars(with = "Vec<String>")]
    hosts: Vec<Option<String>>,
    /// Streams of one tenant at a time.
    #[schemars(range(min = 1, max = 1_000_000))]
    max_streams: u32,
    /// The largest recording or transcription. Above 0.
    max_bytes: Size,
    /// From a request sent to the head of its response. Above 0.
    first_byte_timeout: Span,
    /// The longest pause of the upstream within a body. Above 0.
    idle_timeout: Span,
    /// A whole stream, the client's pauses included. Above 0.
    total_timeout: Span,
    /// Whether calls have `Link` fields to their recording and transcription, as far as the tenant has these routes.
    link_headers: bool,
}

impl Default for RawMedia {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            max_streams: 16,
            max_bytes: Size::kib(1 << 20),
            first_byte_timeout: Span::seconds(10),
            idle_timeout: Span::seconds(30),
            total_timeout: Span::seconds(30 * 60),
            link_headers: false,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MediaSettings {
    pub(crate) hosts: Vec<MediaHost>,
    pub(crate) max_streams: usize,
    pub(crate) max_bytes: u64,
    pub(crate) first_byte_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) total_timeout: Duration,
    pub(crate) link_headers: bool,
}

impl Section for MediaSettings {
    type Raw = RawMedia;
    type Effective = RawMedia;

    fn check(raw: RawMedia, checker: &mut Checker<'_>) -> Option<Self> {
        let mut hosts = Vec::new();
        for (place, text) in well_formed(&raw.hosts) {
            hosts.extend(checker.take(&format!("media.hosts[{place}]"), MediaHost::parse(text)));
        }
        let max_bytes = raw.max_bytes.bytes();
        if max_bytes == 0 {
            checker.problem("media.max_bytes", "expected a size above 0");
        }
        let first_byte_timeout = checker.positive("media.first_byte_timeout", raw.first_byte_timeout);
        let idle_timeout = checker.positive("media.idle_timeout", raw.idle_timeout);
        let total_timeout = checker.positive("media.total_timeout", raw.total_timeout);
        for (key, timeout) in
            [("media.first_byte_timeout", first_byte_timeout), ("media.idle_timeout", idle_timeout)]
        {
            checker.warn_longer((key, timeout), ("media.total_timeout", total_timeout));
        }
        Some(Self {
            hosts,
            max_streams: raw.max_streams as usize,
            max_bytes,
            first_byte_timeout,
            idle_timeout,
            total_timeout,
            link_headers: raw.link_headers,
        })
    }

    fn show(&self) -> RawMedia {
        RawMedia {
            hosts: self.hosts.iter().map(|host| Some(host.to_string())).collect(),
            max_streams: count(self.max_streams),
            max_bytes: self.max_bytes.into(),
            first_byte_timeout: self.first_byte_timeout.into(),
            idle_timeout: self.idle_timeout.into(),
            total_timeout: self.total_timeout.into(),
            link_headers: self.link_headers,
        }
    }
}
