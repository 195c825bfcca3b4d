//! The fleet's buckets on Valkey or Redis: one script, on the connection of lookups.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use redis::Script;

use super::leases::{BucketName, LeaseEngine, LeaseGrant};
use crate::config::Rate;
use crate::domain::hex;
use crate::levels::{EngineFailure, EngineFuture, RedisEngine, script};

static LEASE: LazyLock<Script> = LazyLock::new(|| script(include_str!("scripts/lease.lua")));

/// How much longer than it takes to get full a bucket is kept.
const MARGIN: Duration = Duration::from_secs(1);

/// The buckets in the engine of a shared level.
pub(crate) struct RedisLeases {
    engine: Arc<RedisEngine>,
}

impl RedisLeases {
    pub(crate) const fn new(engine: Arc<RedisEngine>) -> Self {
        Self { engine }
    }
}

impl LeaseEngine for RedisLeases {
    fn lease(&self, bucket: BucketName, rate: Rate, tokens: u32) -> EngineFuture<'_, LeaseGrant> {
        Box::pin(async move {
            let link = self.engine.link()?;
            let kept = rate.interval.saturating_mul(rate.burst.get()) + MARGIN;
            let nanos = u64::try_from(rate.interval.as_nanos()).unwrap_or(u64::MAX);
            let mut lease = LEASE.prepare_invoke();
            lease.key(format!("{}:l:{{{}}}", self.engine.settings().prefix, hex(&bucket.0)));
            lease.arg(rate.burst.get()).arg(nanos).arg(tokens);
            lease.arg(u64::try_from(kept.as_millis()).unwrap_or(u64::MAX));
            let (given, left): (u32, String) = link.run(&lease).await?;
            Ok(LeaseGrant { given, left: left.parse().map_err(|_| EngineFailure::Protocol)? })
        })
    }
}
