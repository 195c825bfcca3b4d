//! The parts of the admin plane.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

use super::gate::Rules;
use super::health::ProcessHealth;
use super::history::SampleHistory;
use super::problems::ProblemWatch;
use crate::clock::{Instant, WallClock};
use crate::gateway::Gateway;

/// Reloads the configuration; the error lists every problem.
pub(crate) type ReloadHandler =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), Vec<String>>> + Send>> + Send + Sync>;

#[derive(Clone)]
pub(crate) struct AdminHandler {
    /// The data plane that it reports on and purges.
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) health: ProcessHealth,
    pub(crate) history: Arc<SampleHistory>,
    pub(crate) problems: Arc<ProblemWatch>,
    pub(crate) rules: Arc<ArcSwap<Rules>>,
    /// Whether only this machine can reach the listener.
    pub(crate) is_local: bool,
    pub(crate) started: Instant,
    /// Set once the first configuration runs.
    pub(crate) reload: Arc<OnceLock<ReloadHandler>>,
    pub(crate) wall: WallClock,
}
