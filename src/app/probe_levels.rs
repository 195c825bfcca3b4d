//! `check --probe` of the levels below memory: the disk, and the engine that a fleet shares. Disturbs no running gateway.

use std::path::Path;

#[cfg(feature = "shared")]
use super::probe_engine::probe_engine;
use super::probed::{Probed, mebibytes};
use crate::config::Settings;
use crate::levels::{DirectoryState, probe_directory};

/// Probes the configured levels, and passes every result to `report` as it arrives.
pub(super) async fn probe_levels(settings: &Settings, report: &mut impl FnMut(Probed)) {
    if let Some(path) = &settings.disk.path {
        let wanted = settings.tenants.iter().map(|tenant| tenant.disk_max_bytes).sum();
        probe_disk(path, wanted, report);
    }
    #[cfg(feature = "shared")]
    if let Some(engine) = &settings.shared.engine {
        probe_engine(engine, report).await;
    }
}

fn probe_disk(path: &Path, wanted: u64, report: &mut impl FnMut(Probed)) {
    let name = format!("disk.path {}", path.display());
    let (text, room) = match probe_directory(path) {
        Ok(DirectoryState::Writable { room }) => ("this user can write there", room),
        Ok(DirectoryState::Creatable { room }) => ("does not exist yet, and this user can create it", room),
        Err(failure) => return report(Probed::Failed(format!("{name}: {failure}"))),
    };
    report(Probed::Passed(format!("{name}: {text}")));
    if room < wanted {
        report(Probed::Risky(format!(
            "{name}: the tenants' files may grow to {}, and the disk has room for {}",
            mebibytes(wanted),
            mebibytes(room)
        )));
    }
}
