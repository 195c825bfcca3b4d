//! Whether a gateway may keep the fleet's log, for `check --probe`: runs everything that it does with the log, on one that no
//! gateway reads, and erases it.

use std::sync::Arc;

use super::log::{BeatRequest, FleetLog, SealedPurge};
use super::redis_log::RedisLog;
use crate::domain::Epoch;
use crate::levels::{EngineFailure, RedisEngine, TenantTag};

/// The one that writes the log.
const NAME: &str = "probe";

pub(crate) async fn probe_log(engine: &Arc<RedisEngine>) -> Result<(), EngineFailure> {
    let log = RedisLog::apart(Arc::clone(engine));
    let kept = keep(&log).await;
    let erased = log.erase().await;
    kept.and(erased)
}

async fn keep(log: &RedisLog) -> Result<(), EngineFailure> {
    let epoch = Epoch { number: 1, random: fastrand::u64(..) };
    let (tag, generation) = (TenantTag([1; 16]), [2; 16]);
    let has_begun = log.begin(None, epoch, generation).await?;
    log.add_generations(vec![(tag, generation)]).await?;
    let record = SealedPurge { tag, sealed: vec![0; 64] };
    let number = log.announce(epoch, record, Some(generation)).await?;
    let request =
        BeatRequest { name: NAME.into(), statement: vec![0; 64], position: 0, trimmed: None, version: None };
    let reply = log.beat(request).await?;
    log.state(NAME.into(), vec![0; 64]).await?;
    log.remove(NAME.into()).await?;
    let is_read = reply.log.is_some_and(|view| view.is_whole && view.records.len() == 1);
    if has_begun && number == Some(1) && is_read { Ok(()) } else { Err(EngineFailure::Protocol) }
}
