//! The disk level: entries that outlive the process, on a disk, in one file per tenant.
//!
//! Nothing is read at startup. A file is opened on first use and closed when idle; its failures cost hits and never
//! change an answer.

#[cfg(feature = "disk")]
mod bounds;
#[cfg(test)]
mod by_hand;
mod directory;
mod failure;
#[cfg_attr(not(feature = "disk"), path = "no_file.rs")]
mod file;
mod mailbox;
mod open_files;
mod probe;
mod rows;
mod tenant_disk;
mod tenant_file;
mod worker;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use directory::LevelDirectory;
use open_files::OpenFileSlots;
use tenant_file::{FileSettings, FilesContext, TenantFile};
use worker::FileWorker;

use super::account::LevelAccount;
use super::seal::SealRing;
use super::shared::SharedLevel;
use crate::clock::WallClock;
use crate::config::{DiskSettings, LevelKey};
use crate::domain::{Epoch, TenantName};
use crate::telemetry::{LevelMetrics, TenantMetrics};

#[cfg(test)]
pub(crate) use by_hand::DiskThread;
pub(crate) use failure::FileFailure;
pub(crate) use probe::{DirectoryState, probe_directory};
#[cfg(test)]
pub(crate) use tenant_disk::RaisedPurge;
pub(crate) use tenant_disk::{RecallResult, TenantDisk};
pub(crate) use tenant_file::Erasure;

/// How often a sweep tries to open a file, and its pause in between.
const SWEEP_TRIES: usize = 5;
const SWEEP_PAUSE: Duration = Duration::from_secs(2);

/// The files of all tenants.
pub(crate) struct DiskLevel {
    context: Arc<FilesContext>,
    key: Option<LevelKey>,
    epoch: Epoch,
    files: Mutex<HashMap<TenantName, Arc<TenantFile>>>,
}

impl DiskLevel {
    /// The configured level, if there is one. Does not access the disk. In a `fleet`, its purges concern the files, too.
    pub(crate) fn new(
        settings: &DiskSettings,
        metrics: &Arc<LevelMetrics>,
        wall: WallClock,
        fleet: Option<Arc<SharedLevel>>,
    ) -> Option<Arc<Self>> {
        let directory = LevelDirectory::new(settings.path.as_deref()?);
        let epoch = Epoch { number: 0, random: fastrand::u64(..) };
        let metrics = Arc::clone(metrics);
        metrics.offer();
        let context = FilesContext {
            directory,
            queue: Arc::default(),
            open: OpenFileSlots::default(),
            metrics,
            wall,
            fleet,
            run: |file| FileWorker::new(file).run(),
        };
        Some(Arc::new(Self {
            context: Arc::new(context),
            key: settings.key.clone(),
            epoch,
            files: Mutex::default(),
        }))
    }

    /// A tenant's part of the level. A tenant with the same name uses the same file, which is recreated when opened
    /// if it belongs to another account.
    pub(crate) fn tenant(
        &self,
        account: &LevelAccount<'_>,
        max_bytes: u64,
        timeout: Duration,
        metrics: &Arc<TenantMetrics>,
    ) -> Arc<TenantDisk> {
        let ring = Arc::new(SealRing::new(account.keys, self.key.as_ref(), account.url, account.tenant));
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let settings = FileSettings { ring: Arc::clone(&ring), max_bytes };
        let file = match files.get(account.tenant) {
            Some(file) => {
                file.metrics.store(Arc::clone(metrics));
                let before = file.settings.load();
                if before.max_bytes != max_bytes || before.ring.ids() != ring.ids() {
                    file.settings.store(Arc::new(settings));
                    // Entries sealed by other keys are removed as soon as the file is opened.
                    if file.exists() {
                        drop(file.sweep());
                    }
                }
                Arc::clone(file)
            }
            None => {
                let (tenant, context) = (account.tenant.clone(), Arc::clone(&self.context));
                let file = TenantFile::new(tenant, context, settings, self.epoch, Arc::clone(metrics));
                let file = Arc::new(file);
                files.insert(account.tenant.clone(), Arc::clone(&file));
                file
            }
        };
        Arc::new(TenantDisk::new(file, ring, timeout))
    }

    /// Erases entries without any use, in one tenant's file after another.
    pub(crate) async fn sweep(&self) {
        for file in self.all() {
            for _ in 0..SWEEP_TRIES {
                let swept = if file.exists() { file.sweep().await } else { Ok(Ok(())) };
                if swept != Ok(Err(FileFailure::TooMany)) {
                    break;
                }
                // By then an idle file has given up its slot.
                tokio::time::sleep(SWEEP_PAUSE).await;
            }
        }
    }

    fn all(&self) -> Vec<Arc<TenantFile>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Erases the files of tenants that are not configured, unless another process holds them. Blocks.
    pub(crate) fn erase_strays(&self) {
        let directory = &self.context.directory;
        if directory.check().is_err() {
            return;
        }
        for tenant in directory.tenants() {
            let is_known = self.files.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&tenant);
            // Closed at once: the lock shows that no other process holds it.
            let held = || file::DiskFile::open(&directory.file(&tenant), u64::MAX >> 1, &[]).err();
            if !is_known && held() != Some(FileFailure::Held) && directory.erase(&tenant).is_ok() {
                tracing::info!(
                    tenant = tenant.as_str(),
                    "disk level: erased the file of a tenant that is not configured"
                );
            }
        }
    }

    /// Writes queued entries and closes all files, within `patience`. Blocks.
    pub(crate) fn finish(&self, patience: Duration) {
        let files = self.all();
        for file in &files {
            file.mailbox.end();
        }
        let deadline = crate::clock::now() + patience;
        for file in files {
            file.mailbox.wait_for_end(deadline.duration_since(crate::clock::now()));
        }
    }
}

#[cfg(test)]
mod tests;
