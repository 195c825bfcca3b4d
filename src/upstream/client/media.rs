//! Following a call's link to its recording or transcription: each hop is decided, admitted, sent, and judged by
//! its head. The body is left to the caller.

use http::{HeaderMap, StatusCode};

use super::super::error::{ExchangeError, FetchError};
use super::super::media::{
    Destination, HeadProblem, HeadRules, Hop, HopRefused, MediaBody, MediaHead, MediaRequest, OpenedMedia,
    Origins, judge, open,
};
use super::super::pause::take_pause;
use super::state::{Parts, Upstream, Urgency};
use crate::clock::{self, Instant};
use crate::domain::Effort;
use crate::message::ExchangeTimes;

/// The response to a request for media, but for its body.
pub(crate) struct OpenMedia {
    pub(crate) head: MediaHead,
    /// The upstream's own.
    pub(crate) headers: HeaderMap,
    pub(crate) body: MediaBody,
    pub(crate) times: ExchangeTimes,
}

/// Why there is none that can be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MediaError {
    /// The link, or a redirect, is not followed.
    Link,
    Head(HeadProblem, Destination),
    Exchange(ExchangeError),
    /// Nothing was sent.
    NotSent(FetchError),
}

/// The end of a request for media.
pub(crate) struct MediaFetched {
    pub(crate) result: Result<OpenMedia, MediaError>,
    /// Of the last response.
    pub(crate) status: Option<StatusCode>,
    pub(crate) effort: Effort,
}

/// Where a link would lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkProspect {
    /// To the upstream itself, with the key.
    Upstream,
    MediaHost,
    /// Nowhere: its host is not one of `media.hosts`, or is to be reached over http.
    HostNotAllowed,
    /// Nowhere: it is no URL that may be followed.
    Unusable,
}

impl Upstream {
    /// Where a link would lead now. Sends and logs nothing.
    pub(crate) fn link_prospect(&self, link: &str) -> LinkProspect {
        match self.origins().first(link.as_bytes()) {
            Ok(Hop { destination: Destination::Base, .. }) => LinkProspect::Upstream,
            Ok(Hop { destination: Destination::MediaHost, .. }) => LinkProspect::MediaHost,
            Err(HopRefused::Host(_)) => LinkProspect::HostNotAllowed,
            Err(HopRefused::NoLink | HopRefused::Api | HopRefused::Return | HopRefused::TooMany) => {
                LinkProspect::Unusable
            }
        }
    }

    fn origins(&self) -> Origins<'_> {
        Origins { base_url: &self.parts.settings.base_url, hosts: &self.parts.media.settings.hosts }
    }

    /// Follows a link to the head of what it leads to, by `end`.
    pub(crate) async fn open_media(&self, link: &str, request: &MediaRequest, end: Instant) -> MediaFetched {
        let mut fetched = MediaFetched { result: Err(MediaError::Link), status: None, effort: Effort::NONE };
        fetched.result = self.follow(link, request, end, &mut fetched.status, &mut fetched.effort).await;
        fetched
    }

    async fn follow(
        &self,
        link: &str,
        request: &MediaRequest,
        end: Instant,
        last: &mut Option<StatusCode>,
        effort: &mut Effort,
    ) -> Result<OpenMedia, MediaError> {
        let Parts { media, wall, .. } = &self.parts;
        let origins = self.origins();
        let refused = |refused| self.refuse_link(refused, request);
        let mut hop = origins.first(link.as_bytes()).map_err(refused)?;
        let first = hop.link.clone();
        loop {
            if hop.destination == Destination::Base {
                self.admit_media().await.map_err(|error| {
                    self.count_refusal(&error, Urgency::Foreground);
                    MediaError::NotSent(error)
                })?;
            }
            let sent = clock::now();
            let opened = self.send_media(&hop, request, end).await;
            effort.attempts += 1;
            effort.upstream += clock::now().duration_since(sent);
            let mut opened = opened?;
            *last = Some(opened.status);
            let now = wall.now();
            if (opened.status, hop.destination) == (StatusCode::TOO_MANY_REQUESTS, Destination::Base) {
                self.begin_pause(take_pause(&mut opened.headers, now), clock::now());
            }
            if let Some(next) = origins.next(&hop, opened.status, &opened.headers).map_err(refused)? {
                hop = next;
                continue;
            }
            let rules = HeadRules { max_bytes: media.settings.max_bytes, link: &first, now };
            let head = judge(request, rules, opened.status, &opened.headers);
            let head = head.map_err(|problem| {
                self.log_problem(problem, request);
                MediaError::Head(problem, hop.destination)
            })?;
            let times = ExchangeTimes { sent, received: clock::now(), received_at: now };
            return Ok(OpenMedia { head, headers: opened.headers, body: opened.body, times });
        }
    }

    async fn send_media(
        &self,
        hop: &Hop,
        request: &MediaRequest,
        end: Instant,
    ) -> Result<OpenedMedia, MediaError> {
        let Parts { media, metrics, keys, .. } = &self.parts;
        let key = keys.active().ok_or(MediaError::NotSent(FetchError::Unbuildable))?;
        let built = request.build(hop, &key.key).ok_or(MediaError::NotSent(FetchError::Unbuildable))?;
        let first_byte = media.settings.first_byte_timeout;
        let opened = open(&media.connector, hop.link.uri(), built, first_byte, end).await;
        let outcome = opened.as_ref().map(|opened| opened.status).map_err(|error| error.label());
        match (hop.destination, outcome) {
            (Destination::Base, Ok(status)) => metrics.count_upstream_answer(status),
            (Destination::Base, Err(failure)) => metrics.count_upstream_failure(failure),
            (Destination::MediaHost, outcome) => metrics.media.count_host(outcome),
        }
        opened.map_err(MediaError::Exchange)
    }

    /// Logs why a link is not followed. Of the link itself only the host is shown: the rest may be all that is
    /// needed to get what it leads to.
    fn refuse_link(&self, refused: HopRefused, request: &MediaRequest) -> MediaError {
        let tenant = self.parts.metrics.name().as_str();
        let kind = request.kind.label();
        let reason = match refused {
            HopRefused::Host(host) => {
                if self.reports.media_hosts.is_news(&host) {
                    tracing::warn!(
                        tenant,
                        kind,
                        host,
                        "a call links to a host that is not in media.hosts, or to one that is, without https: the link is not \
                         followed. Add the host to media.hosts if the vendor keeps media there"
                    );
                }
                return MediaError::Link;
            }
            HopRefused::NoLink => "it is no plain absolute URL",
            HopRefused::Api => "it leads into the API, which the key would open",
            HopRefused::Return => "it leads from a media host back to the upstream",
            HopRefused::TooMany => "there are more than 2 redirects",
        };
        if self.reports.failures.allows(reason, clock::now()) {
            tracing::warn!(tenant, kind, reason, "a call's link, or where it redirects, is not followed");
        }
        MediaError::Link
    }

    fn log_problem(&self, problem: HeadProblem, request: &MediaRequest) {
        let HeadProblem::Unusable(why) = problem else { return };
        if self.reports.failures.allows(why.label(), clock::now()) {
            tracing::warn!(
                tenant = self.parts.metrics.name().as_str(),
                kind = request.kind.label(),
                request_id = request.request_id.as_str(),
                detail = why.label(),
                "a response for a recording or transcription cannot be passed on: the client got 502"
            );
        }
    }
}
