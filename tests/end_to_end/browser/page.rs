//! A gateway with the dashboard open in front of it.

use std::net::SocketAddr;

use crate::browser::driver::Browser;
use crate::support::{Config, Gateway, Upstream};

/// A gateway, its upstream, and a browser that shows its dashboard.
pub(super) struct Page {
    pub browser: Browser,
    pub gateway: Gateway,
    pub upstream: Upstream,
}

impl Page {
    /// `None` where there is no browser.
    pub(super) fn open(config: Config) -> Option<Self> {
        let browser = Browser::start()?;
        let upstream = Upstream::contract();
        let gateway = config.start(&upstream);
        browser.open(&url(gateway.admin));
        Some(Self { browser, gateway, upstream })
    }

    /// Waits until the page has its figures.
    #[track_caller]
    pub(super) fn wait_until_live(&self) {
        self.browser.text_when("the page is live", "#link", |text| text == "live");
    }

    /// The text of a cell in the table of tenants.
    pub(super) fn cell(&self, tenant: &str, column: &str) -> String {
        let script = format!(
            "const row = [...document.querySelectorAll('.tenants tbody tr')].find((one) => one.querySelector('th').textContent === {tenant:?}); \
             return row.querySelector('[data-label={column:?}]').innerText"
        );
        self.browser.run(&script).as_str().unwrap().to_owned()
    }

    /// Saves a picture of the page beside the others.
    pub(super) fn picture(&self, name: &str) {
        let height =
            self.browser.run("return document.documentElement.scrollHeight").as_u64().unwrap() as u32;
        let picture = self.browser.picture(1360, height);
        let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
        std::fs::write(folder.join(format!("dashboard-{name}.png")), picture).unwrap();
    }
}

/// The dashboard at an address.
pub(super) fn url(admin: SocketAddr) -> String {
    format!("http://{admin}/")
}
