//! The weather: the upstream's faults, when they occur, and which answers they explain.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::Gateway;
use crate::support::proxy::{Fault, Proxy};

/// The upstream's own behaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sky {
    Clear,
    /// Every request is answered with this status.
    Error(u16),
    /// A page instead of JSON.
    Page,
    /// 429.
    TooMany,
    /// Another call.
    MixUp,
    /// The first of two keys is rejected: no client may notice.
    SecondKeyAlone,
}

impl Sky {
    /// The key that is rejected.
    pub(super) fn rejected_key(self) -> Option<&'static str> {
        (self == Self::SecondKeyAlone).then_some(super::world::KEYS[3][0])
    }
}

/// A fault of one kind or the other; the gateway's own limits explain nothing in calm weather.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    Wire(Fault),
    Upstream(Sky),
}

const TROUBLES: [Trouble; 16] = [
    Trouble::Wire(Fault::Refuse),
    Trouble::Wire(Fault::BlackHole),
    Trouble::Wire(Fault::Hold),
    Trouble::Wire(Fault::Delay(Duration::from_millis(50))),
    Trouble::Wire(Fault::Drip(Duration::from_micros(200))),
    Trouble::Wire(Fault::Reset(0)),
    Trouble::Wire(Fault::Reset(100)),
    Trouble::Wire(Fault::Truncate(200)),
    Trouble::Wire(Fault::Garbage),
    Trouble::Wire(Fault::CloseOnReuse),
    Trouble::Upstream(Sky::Error(500)),
    Trouble::Upstream(Sky::Error(503)),
    Trouble::Upstream(Sky::Page),
    Trouble::Upstream(Sky::TooMany),
    Trouble::Upstream(Sky::MixUp),
    Trouble::Upstream(Sky::SecondKeyAlone),
];

impl Trouble {
    /// Whether a client may see a failure for it.
    fn explains(self) -> bool {
        !matches!(self, Self::Wire(Fault::CloseOnReuse) | Self::Upstream(Sky::Clear | Sky::SecondKeyAlone))
    }
}

/// How long the effects of a fault may last after it: the breaker's time, the pause after a 429, and delays of a slow
/// machine.
const AFTERMATH: Duration = Duration::from_millis(2500);

/// The upstream's part of the weather.
#[derive(Debug, Clone)]
pub(super) struct SkyWatch(Arc<Mutex<Sky>>);

impl SkyWatch {
    pub(super) fn now(&self) -> Sky {
        *self.0.lock().unwrap()
    }
}

/// When something was wrong.
pub(super) struct Weather {
    sky: SkyWatch,
    /// Beginnings and ends; the last may not have ended.
    troubles: Mutex<Vec<(Instant, Option<Instant>)>>,
}

impl Weather {
    pub(super) fn new() -> Self {
        Self { sky: SkyWatch(Arc::new(Mutex::new(Sky::Clear))), troubles: Mutex::default() }
    }

    pub(super) fn sky(&self) -> SkyWatch {
        self.sky.clone()
    }

    /// Whether a request that began and ended then may have failed.
    pub(super) fn explains(&self, began: Instant, ended: Instant) -> bool {
        let troubles = self.troubles.lock().unwrap();
        troubles.iter().any(|(from, to)| *from <= ended && to.is_none_or(|to| began <= to + AFTERMATH))
    }

    /// Alternates between calm and faults, until the end.
    pub(super) fn blow(&self, seed: u64, proxy: &Proxy, gateway: &Gateway, end: Instant) {
        let mut random = fastrand::Rng::with_seed(seed.rotate_left(7));
        loop {
            let calm = AFTERMATH + Duration::from_millis(random.u64(300..900));
            if !pause(calm, end) {
                return;
            }
            // One after another, so that a storm is more than one fault.
            for _ in 0..random.usize(1..4) {
                let trouble = TROUBLES[random.usize(..TROUBLES.len())];
                let length = match trouble {
                    // Until requests time out.
                    Trouble::Wire(Fault::Hold | Fault::BlackHole) => Duration::from_millis(1800),
                    Trouble::Wire(_) | Trouble::Upstream(_) => Duration::from_millis(random.u64(100..700)),
                };
                self.strike(trouble, proxy, length, end);
                if trouble.explains() {
                    // The gateway remains ready, whatever the upstream does.
                    assert_eq!(gateway.admin("/readyz").status, 200, "{trouble:?}");
                }
            }
        }
    }

    fn strike(&self, trouble: Trouble, proxy: &Proxy, length: Duration, end: Instant) {
        if trouble.explains() {
            self.troubles.lock().unwrap().push((Instant::now(), None));
        }
        match trouble {
            Trouble::Wire(fault) => proxy.now(fault),
            Trouble::Upstream(sky) => *self.sky.0.lock().unwrap() = sky,
        }
        pause(length, end);
        proxy.now(Fault::Pass);
        *self.sky.0.lock().unwrap() = Sky::Clear;
        if let Some((_, to @ None)) = self.troubles.lock().unwrap().last_mut() {
            *to = Some(Instant::now());
        }
    }
}

/// Whether there is time left after a pause.
fn pause(length: Duration, end: Instant) -> bool {
    std::thread::sleep(length.min(end.saturating_duration_since(Instant::now())));
    Instant::now() < end
}
