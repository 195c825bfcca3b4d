//! The story of a request for media. Read [`PendingMedia::answer`] first.

use std::sync::Arc;

use http::StatusCode;

use super::answer::{MediaAnswer, MediaContent, fields_of};
use super::pending::{PendingCall, PendingMedia, note};
use super::refusal;
use super::stream::{MediaStream, StreamParts};
use crate::clock::{self, Instant};
use crate::domain::{Overload, Refusal};
use crate::gateway::plane::Gateway;
use crate::gateway::respond::{Found, LimitsToShow};
use crate::telemetry::{Record, StreamTally};
use crate::tenant::{SlotPermit, Tenant};
use crate::upstream::{OpenMedia, Wanted};

impl PendingMedia {
    pub(in crate::gateway) fn into_parts(self) -> (LimitsToShow, Arc<Tenant>) {
        (self.limits, self.context.tenant)
    }

    /// Looks the call up; takes a place among the tenant's streams; follows the link; hands the body over.
    pub(in crate::gateway) async fn answer(
        &mut self,
        gateway: &Arc<Gateway>,
        record: &mut Record,
    ) -> Result<Found, Refusal> {
        let found = self.look_up(gateway, record).await?;
        if found.status() != StatusCode::OK {
            // The call's own refusal, in the upstream's words.
            return Ok(found);
        }
        let end = clock::now() + self.context.tenant.upstream().media_settings().total_timeout;
        tokio::select! {
            answered = self.follow(found, end, gateway, record) => answered,
            () = gateway.cutoff.reached() => Err(Refusal::ShuttingDown),
        }
    }

    async fn look_up(&mut self, gateway: &Arc<Gateway>, record: &mut Record) -> Result<Found, Refusal> {
        match &mut self.call {
            PendingCall::Found(found) => found.take().ok_or(Refusal::Internal),
            PendingCall::Lookup(lookup) => lookup.answer(gateway, record).await,
        }
    }

    async fn follow(
        &self,
        found: Found,
        end: Instant,
        gateway: &Arc<Gateway>,
        record: &mut Record,
    ) -> Result<Found, Refusal> {
        record.begin_media();
        note(record, None, None);
        let call = self.read(&found, record, gateway).await?;
        drop(found);
        let Some(link) = &call.media.link else {
            return Err(refusal::missing(self.kind, call.media.maturity));
        };
        if let Some(wanted) = self.to_be_stored(&call, link)
            && let Some(found) = self.transcription(wanted, gateway, record).await?
        {
            return Ok(found);
        }
        if self.directives.only_if_cached {
            return Err(Refusal::NotCached);
        }
        let slot = self.context.tenant.waits().streams.take();
        let slot = slot.ok_or(Refusal::Overloaded(Overload::MediaStreams))?;
        let request = self.request(record);
        let upstream = self.context.tenant.upstream();
        let mut fetched = upstream.open_media(link.as_str(), &request, end).await;
        let mut effort = fetched.effort;
        let mut maturity = call.media.maturity;
        if fetched.result.as_ref().is_err_and(refusal::is_dead)
            && let Some(entry) = &call.cached
            && let Some((_, renewed)) = self.renewed(entry, link, gateway, record).await
        {
            maturity = renewed.maturity;
            if let Some(link) = &renewed.link {
                fetched = upstream.open_media(link.as_str(), &request, end).await;
                effort = effort.plus(fetched.effort);
            }
        }
        record.effort = effort;
        let status = fetched.status.map(|status| status.as_u16());
        match fetched.result {
            Ok(open) => {
                note(record, status, None);
                Ok(Found::Media(Box::new(self.media(open, slot, end, gateway))))
            }
            Err(error) => {
                let (refusal, unusable) = refusal::of(error, maturity, self.kind);
                note(record, status, unusable);
                if matches!(refusal, Refusal::NoMedia(_)) {
                    self.demand_validation();
                }
                Err(refusal)
            }
        }
    }

    fn media(&self, open: OpenMedia, slot: SlotPermit, end: Instant, gateway: &Gateway) -> MediaAnswer {
        let OpenMedia { head, body, .. } = open;
        let status = head.status;
        let length = head.length;
        let fields = fields_of(head, &self.context.id, &gateway.wall);
        if self.fields.wanted == Wanted::Length || status == StatusCode::NOT_MODIFIED {
            return MediaAnswer { status, fields, body: MediaContent::Nothing { length } };
        }
        let tenant = &self.context.tenant;
        let settings = tenant.upstream().media_settings();
        let parts = StreamParts {
            body,
            length,
            max_bytes: settings.max_bytes,
            idle_timeout: settings.idle_timeout,
            end,
            cutoff: gateway.cutoff.clone(),
            tally: StreamTally::begin(tenant.metrics(), self.kind),
            slot,
        };
        let body = MediaContent::Stream(Box::new(MediaStream::new(parts)));
        MediaAnswer { status, fields, body }
    }
}
