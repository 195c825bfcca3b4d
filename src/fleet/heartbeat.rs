//! The heartbeat: announces what is owed, reads the log, applies what is new, and only then states that it was applied.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::log::{BeatReply, BeatRequest, FleetLog, LogRecord, LogView, PAGE};
use super::members::{Members, ShownMember};
use super::reading::{LogPosition, LogReading, read};
use super::statement::{AppliedRecord, IgnoredRecords, MemberStatement, record, target};
use super::world::FleetWorld;
use crate::clock;
use crate::domain::{Epoch, Mark, PurgeTarget, hex};
use crate::levels::{EngineFailure, SharedLevel, TenantTag};
use crate::telemetry::{FleetMetrics, VERSION};

/// The time between two heartbeats.
const EVERY: Duration = Duration::from_millis(500);
/// The same while a purge waits for the others.
const EVERY_WHILE_PURGING: Duration = Duration::from_millis(50);
/// How long one heartbeat may take, its purges on disk included.
const DEADLINE: Duration = Duration::from_secs(10);
/// A gateway's membership in its fleet.
pub(crate) struct Fleet {
    pub(super) name: String,
    log: Arc<dyn FleetLog>,
    pub(super) level: Arc<SharedLevel>,
    /// Set once the caches exist.
    world: OnceLock<Arc<dyn FleetWorld>>,
    state: Mutex<FleetState>,
    /// Lookups need another connection, too.
    reconnects: AtomicBool,
    /// Purges that wait for the others.
    pub(super) purging: AtomicUsize,
    /// The gateways when the engine last answered, this one included; 0 before.
    heard: Arc<AtomicU32>,
    /// Counts heartbeats.
    pub(super) beats: watch::Sender<u64>,
    pub(super) metrics: Arc<FleetMetrics>,
}

#[derive(Debug, Default)]
pub(super) struct FleetState {
    position: Option<LogPosition>,
    /// The newest record when everything here was emptied last: up to it, there is nothing to apply.
    emptied_at: u64,
    ignored: IgnoredRecords,
    trimmed: Option<u64>,
    version: Option<u64>,
    pub(super) members: Members,
    /// Counts one's own statements.
    beat: u64,
    keys: String,
}

impl Fleet {
    /// A gateway that has not joined yet.
    pub(crate) fn new(
        log: Arc<dyn FleetLog>,
        level: Arc<SharedLevel>,
        metrics: &Arc<FleetMetrics>,
    ) -> Arc<Self> {
        let host = std::env::var("HOSTNAME").ok().filter(|host| !host.is_empty());
        let host = host.or_else(|| rustix::system::uname().nodename().to_str().ok().map(str::to_owned));
        let random = hex(&fastrand::u32(..).to_be_bytes());
        metrics.offer();
        Arc::new(Self {
            name: format!("{}-{random}", host.unwrap_or_else(|| "gateway".into())),
            log,
            level,
            world: OnceLock::new(),
            state: Mutex::default(),
            reconnects: AtomicBool::new(false),
            purging: AtomicUsize::new(0),
            heard: Arc::default(),
            beats: watch::Sender::new(0),
            metrics: Arc::clone(metrics),
        })
    }

    /// Hands over the caches that purges are applied to.
    pub(crate) fn set_world(&self, world: Arc<dyn FleetWorld>) {
        let _ = self.world.set(world);
    }

    pub(crate) const fn level(&self) -> &Arc<SharedLevel> {
        &self.level
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, FleetState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The gateways when the engine last answered, this one included; 0 before.
    pub(crate) const fn heard(&self) -> &Arc<AtomicU32> {
        &self.heard
    }

    /// The gateways of the fleet, this one first.
    pub(crate) fn members(&self) -> Vec<ShownMember> {
        let state = self.lock();
        let mut all = vec![ShownMember::own(&self.name)];
        all.append(&mut state.members.show(&state.keys, clock::now()));
        all
    }

    /// Gateways with other keys than this one's, that are heard of.
    pub(crate) fn strangers(&self) -> Vec<String> {
        let others = self.members().into_iter();
        let strangers =
            others.filter(|member| !(member.is_silent || member.same_fleet_key && member.same_tenant_keys));
        strangers.map(|member| member.name).collect()
    }

    /// Beats until the process ends.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            let goes_on = self.beat_once().await;
            if goes_on {
                continue;
            }
            let pause = if self.purging.load(Relaxed) > 0 { EVERY_WHILE_PURGING } else { EVERY };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.level.ledger().wait_until_owed(), if !self.level.switch().is_down() => {}
            }
        }
    }

    /// Beats until everything in the log is applied, or a heartbeat fails.
    pub(crate) async fn join(self: &Arc<Self>) {
        while self.beat_once().await {}
    }

    /// One heartbeat, and whether the next one is due at once.
    pub(crate) async fn beat_once(self: &Arc<Self>) -> bool {
        let result = match clock::within(DEADLINE, self.beat()).await {
            Ok(result) => result,
            Err(clock::TimedOut) => Err(EngineFailure::Timeout),
        };
        let goes_on = match result {
            Ok(goes_on) => {
                let heard = self.lock().members.count();
                self.heard.store(u32::try_from(heard).unwrap_or(u32::MAX), Relaxed);
                goes_on
            }
            Err(failure) => {
                self.level.switch().set_down(failure);
                self.log.disconnect();
                self.lock().members.interrupted();
                false
            }
        };
        self.show();
        self.beats.send_modify(|beats| *beats += 1);
        goes_on
    }

    fn show(&self) {
        let state = self.lock();
        self.metrics.show(state.members.count(), self.level.ledger().count_owed());
    }

    async fn beat(self: &Arc<Self>) -> Result<bool, EngineFailure> {
        if !self.level.switch().is_down() {
            self.announce_owed().await?;
        }
        let began = clock::now();
        let reply = self.log.beat(self.request()?).await?;
        let took = clock::now().duration_since(began);
        let BeatReply { time, members, log } = reply;
        self.metrics.show_beat(clock::now(), self.level.ahead_of(time + took / 2));
        let (left, reading) = {
            let mut state = self.lock();
            let left = state.members.observe(members, &self.name, self.level.seal(), clock::now());
            (left, read(state.position.as_ref(), log.as_ref()))
        };
        for name in left {
            self.log.remove(name).await?;
        }
        match (reading, log) {
            (LogReading::Begin { seen, number }, _) => self.begin(seen, number).await.map(|()| true),
            (LogReading::Adopt, Some(log)) => self.adopt(&log).await.map(|()| true),
            (LogReading::SkipTrimmed, Some(log)) => self.skip_trimmed(&log).await.map(|()| true),
            (LogReading::Continue, Some(log)) => self.apply(log).await,
            (LogReading::Adopt | LogReading::SkipTrimmed | LogReading::Continue, None) => {
                Err(EngineFailure::Protocol)
            }
        }
    }

    fn request(&self) -> Result<BeatRequest, EngineFailure> {
        let keys = hex(&self.level.seal().digest(&self.world()?.keys()));
        let mut state = self.lock();
        state.keys = keys;
        state.beat += 1;
        let position = state.position.as_ref();
        let applied = position.map(|LogPosition { epoch, number, record }| {
            let chain = record.as_ref().map(|record| record.chain);
            AppliedRecord::new(Mark { epoch: *epoch, record: *number }, chain)
        });
        let statement = MemberStatement {
            version: VERSION.to_owned(),
            beat: state.beat,
            applied,
            ignored: state.ignored.newest.clone(),
            doubtful: state.ignored.doubtful,
            keys: state.keys.clone(),
            has_left: false,
        };
        Ok(BeatRequest {
            name: self.name.clone(),
            // Without randomness there is no salt.
            statement: statement.seal(self.level.seal(), &self.name).ok_or(EngineFailure::Protocol)?,
            position: position.map_or(0, |position| position.number),
            trimmed: state.trimmed,
            version: state.version,
        })
    }

    fn world(&self) -> Result<&dyn FleetWorld, EngineFailure> {
        // Set before the first heartbeat.
        self.world.get().map(|world| &**world).ok_or(EngineFailure::NotReady)
    }

    /// Tells the fleet of this gateway's own purges.
    async fn announce_owed(&self) -> Result<(), EngineFailure> {
        let ledger = self.level.ledger();
        let Some(epoch) = ledger.position().map(|position| position.epoch) else { return Ok(()) };
        loop {
            let owed = ledger.owed(PAGE);
            if owed.is_empty() {
                return Ok(());
            }
            for purge in owed {
                let record =
                    record(self.level.seal(), epoch, &purge.target).ok_or(EngineFailure::Protocol)?;
                let generation = match purge.target {
                    PurgeTarget::Call(..) => None,
                    PurgeTarget::Tenant(_) | PurgeTarget::All => Some(new_generation()),
                };
                // In another epoch by now: it is announced there.
                let Some(number) = self.log.announce(epoch, record, generation).await? else { return Ok(()) };
                ledger.announced(&purge, number);
            }
        }
    }

    /// Empties everything here: the memory, and unless the fleet is only being joined, the disk.
    async fn empty(&self) -> Result<(), EngineFailure> {
        let has_joined = self.lock().position.is_some();
        if !has_joined {
            self.world()?.forget_memory().await;
        } else if self.world()?.apply(vec![PurgeTarget::All]).await == 0 {
            // A disk could not be erased, so nothing counts as emptied.
            return Err(EngineFailure::NotReady);
        }
        Ok(())
    }

    async fn begin(&self, seen: Option<Epoch>, number: u64) -> Result<(), EngineFailure> {
        self.level.ledger().set_caught_up(false);
        let epoch = Epoch { number, random: fastrand::u64(..) };
        // If another gateway was first, the next heartbeat returns its epoch.
        if self.log.begin(seen, epoch, new_generation()).await? {
            if self.lock().position.is_none() {
                tracing::info!(epoch = number, "fleet: the log of purges begins");
            } else {
                tracing::warn!(
                    epoch = number,
                    "fleet: the log of purges was lost, or is not the one known here: all caches are emptied"
                );
            }
            // After the beginning: a purge that was announced in the last epoch until then counts as applied here.
            self.empty().await?;
            self.enter(epoch, 0, 0);
        }
        Ok(())
    }

    async fn adopt(&self, log: &LogView) -> Result<(), EngineFailure> {
        self.level.ledger().set_caught_up(false);
        if self.lock().position.is_some() {
            tracing::warn!(
                epoch = log.epoch.number,
                "fleet: another gateway has begun the log of purges anew: all caches are emptied"
            );
        }
        self.empty().await?;
        // The next heartbeat asks for floors and generations.
        self.enter(log.epoch, log.trimmed, log.last);
        Ok(())
    }

    /// Stands at the beginning of an epoch's log, of which nothing up to `emptied_at` must be applied.
    fn enter(&self, epoch: Epoch, trimmed: u64, emptied_at: u64) {
        self.level.ledger().enter(epoch, trimmed);
        let mut state = self.lock();
        state.position = Some(LogPosition { epoch, number: trimmed, record: None });
        state.emptied_at = emptied_at;
        state.ignored = IgnoredRecords::default();
        (state.trimmed, state.version) = (None, None);
    }

    /// Takes floors and generations.
    fn take_knowledge(&self, log: &LogView) {
        let ledger = self.level.ledger();
        let mut state = self.lock();
        if state.trimmed != Some(log.trimmed) {
            ledger.trim(log.trimmed, log.floors.iter().copied());
            state.trimmed = Some(log.trimmed);
        }
        if state.version != Some(log.version) {
            ledger.set_generations(log.generations.clone());
            state.version = Some(log.version);
        }
    }

    async fn skip_trimmed(&self, log: &LogView) -> Result<(), EngineFailure> {
        self.level.ledger().set_caught_up(false);
        self.take_knowledge(log);
        let position = self.lock().position.as_ref().map_or(0, |position| position.number);
        let (ledger, seal, world) = (self.level.ledger(), self.level.seal(), self.world()?);
        let behind = world.tenants().into_iter().filter(|tenant| ledger.floor(seal.tag(tenant)) > position);
        let targets: Vec<_> = behind.map(PurgeTarget::Tenant).collect();
        let count = targets.len();
        if count > 0 && world.apply(targets).await < count {
            return Err(EngineFailure::NotReady);
        }
        if let Some(position) = &mut self.lock().position {
            *position = LogPosition { epoch: position.epoch, number: log.trimmed, record: None };
        }
        self.level.ledger().advance(log.trimmed);
        Ok(())
    }

    /// Applies the next records, and whether the next heartbeat is due at once.
    async fn apply(&self, log: LogView) -> Result<bool, EngineFailure> {
        self.take_knowledge(&log);
        let ledger = self.level.ledger();
        let (first, emptied_at) = {
            let state = self.lock();
            (state.position.as_ref().map_or(0, |position| position.number) + 1, state.emptied_at)
        };
        let mut due = Vec::new();
        let mut ignored = Vec::new();
        let count = log.records.len() as u64;
        for (number, record) in (first..).zip(&log.records) {
            let target = target(self.level.seal(), log.epoch, record);
            // From here on, nothing older is taken from the shared level.
            ledger.note(number, record.chain, target.clone());
            match target {
                Some(target) if number > emptied_at => due.push(target),
                Some(_) => {}
                None => ignored.push(number),
            }
        }
        let due_count = due.len();
        let applied = if due.is_empty() { 0 } else { self.world()?.apply(due).await };
        if applied < due_count {
            // The disk could not be erased: nothing of this page counts as applied, and it is tried again.
            return Err(EngineFailure::NotReady);
        }
        self.metrics.count_applied(applied as u64, ignored.len() as u64);
        let position = first - 1 + count;
        if let Some(last) = log.records.into_iter().last() {
            self.advance(position, last, ignored);
        }
        let is_caught_up = position >= log.last && self.catch_up().await?;
        Ok(!is_caught_up || count > 0)
    }

    fn advance(&self, number: u64, last: LogRecord, ignored: Vec<u64>) {
        let mut state = self.lock();
        if let Some(position) = &mut state.position {
            position.number = number;
            position.record = Some(last);
        }
        for number in ignored {
            state.ignored.add(number);
        }
        drop(state);
        self.level.ledger().advance(number);
    }

    /// Everything in the log is applied here. Whether the level can be used: its names may still have to be asked for.
    async fn catch_up(&self) -> Result<bool, EngineFailure> {
        let (level, ledger) = (&self.level, self.level.ledger());
        let tenants = self.world()?.tenants();
        let tags = tenants.iter().map(|tenant| level.seal().tag(tenant));
        let missing: Vec<_> = tags.filter(|tag| ledger.generation(*tag).is_none()).collect();
        if !missing.is_empty() {
            let tags = missing.into_iter().chain([TenantTag::ALL]);
            self.log.add_generations(tags.map(|tag| (tag, new_generation())).collect()).await?;
            // The next heartbeat returns those in force.
            self.lock().version = None;
            return Ok(false);
        }
        if level.switch().is_down() || self.reconnects.swap(false, Relaxed) {
            level.engine().connect().await?;
        }
        ledger.set_caught_up(true);
        level.switch().set_up();
        Ok(true)
    }

    /// Ends the membership of a gateway that won't come back; `false` if there is none of this name.
    pub(crate) async fn forget(&self, name: &str) -> Result<bool, EngineFailure> {
        if !self.lock().members.forget(name) {
            return Ok(false);
        }
        self.log.state(name.to_owned(), self.farewell(name)?).await?;
        Ok(true)
    }

    /// Connects anew, with other settings, with the next heartbeat.
    pub(crate) fn reconnect(&self) {
        self.reconnects.store(true, Relaxed);
        self.log.disconnect();
    }

    /// Leaves the fleet: no purge waits for this gateway any more.
    pub(crate) async fn leave(&self) {
        if let Ok(statement) = self.farewell(&self.name) {
            let _ = clock::within(EVERY, self.log.state(self.name.clone(), statement)).await;
        }
    }

    fn farewell(&self, name: &str) -> Result<Vec<u8>, EngineFailure> {
        let statement = MemberStatement {
            version: VERSION.to_owned(),
            beat: 0,
            applied: None,
            ignored: Vec::new(),
            doubtful: 0,
            keys: String::new(),
            has_left: true,
        };
        statement.seal(self.level.seal(), name).ok_or(EngineFailure::Protocol)
    }
}

fn new_generation() -> [u8; 16] {
    fastrand::u128(..).to_be_bytes()
}
