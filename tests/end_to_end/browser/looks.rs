//! How the page looks: light, dark, on a phone; and that it can be used without a mouse.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::browser::driver::{Browser, TAB};
use crate::browser::page::url;
use crate::support::{Client, Program, Upstream, eventually, program, reply, write_config};

/// The folder for pictures; with it, traffic runs longer, for more to see.
const FOLDER: &str = "CREDIRA_GATEWAY_PICTURES";

const TENANTS: [(&str, &str, u32); 4] = [
    (
        "billing",
        "rate_limit = { per_second = 100, burst = 200 }\nupstream_limit = { per_second = 10, burst = 20 }",
        6,
    ),
    ("collections", "rate_limit = { per_second = 50, burst = 100 }\ncache_max_bytes = \"1MiB\"", 4),
    ("reporting", "upstream_limit = { per_second = 5, burst = 15 }", 2),
    ("support-desk", "rate_limit = { per_second = 20, burst = 40 }", 3),
];

fn token(tenant: &str) -> String {
    format!("token-of-{tenant}-0123456789-0123456789")
}

/// A made-up fleet: some tenants, some traffic, an upstream that fails now and then.
struct Fleet {
    process: Program,
    upstream: Upstream,
    _config: tempfile::NamedTempFile,
}

impl Fleet {
    fn start() -> Self {
        let upstream = Upstream::contract();
        upstream.now(|seen| {
            let pause = 4 + (seen.number as u64 * 7919) % 90;
            let mut acts = vec![crate::support::Act::Sleep(Duration::from_millis(pause))];
            let id = seen.id();
            acts.extend(match seen.number % 29 {
                7 => reply("503 X", &[], "{}"),
                _ if id.starts_with("call_missing") => reply(
                    "404 X",
                    &["Content-Type: application/json"],
                    r#"{"success":false,"error":{"code":"NOT_FOUND","message":"Call not found"},"meta":{}}"#,
                ),
                _ if id.starts_with("call_progress") => reply(
                    "200 X",
                    &["Content-Type: application/json"],
                    &crate::support::call(id).replace("\"completed\"", "\"in_progress\""),
                ),
                _ => crate::support::call_reply(id, &[]),
            });
            acts
        });
        let mut text = format!(
            "[listen]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n[upstream]\nbase_url = \"http://{}\"\n\
             [cache]\nsettle_ttl = \"3s\"\n",
            upstream.address()
        );
        for (name, lines, _) in TENANTS {
            let token = token(name);
            text += &format!(
                "[[tenants]]\nname = \"{name}\"\ntokens = [{{ value = \"{token}\" }}]\nupstream_key = {{ value = \"key\" }}\n{lines}\n"
            );
        }
        let config = write_config(&text);
        let process = Program::start(&mut program(&["serve", "-c", config.path().to_str().unwrap()]));
        Self { process, upstream, _config: config }
    }

    fn address(&self, plane: &str) -> std::net::SocketAddr {
        let is_it =
            |line: &str| line.contains("listening") && line.contains(&format!("\"plane\":\"{plane}\""));
        let line: serde_json::Value = serde_json::from_str(&self.process.err_line(plane, is_it)).unwrap();
        line["address"].as_str().unwrap().parse().unwrap()
    }

    /// Traffic for this long: many lookups of few calls, some of others, some refused.
    fn traffic(&self, time: Duration) {
        let data = self.address("data");
        let start = Instant::now();
        let mut clients: Vec<_> = TENANTS.iter().map(|_| Client::connect(data)).collect();
        let mut number: u64 = 1;
        while start.elapsed() < time {
            for ((name, _, weight), client) in TENANTS.iter().zip(&mut clients) {
                for _ in 0..*weight {
                    number = number
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let draw = (number >> 33) % 100;
                    let wave = (start.elapsed().as_secs_f64() / 9.0).sin().mul_add(6.0, 9.0) as u64;
                    let id = match draw {
                        0..2 => format!("call_missing{}", draw),
                        2..4 => "call_progress1".to_owned(),
                        _ if draw < wave => format!("call_{}", number >> 40),
                        _ => format!("call_{}", 1000 + draw),
                    };
                    let lines: &[&str] = if draw == 50 { &["Cache-Control: no-cache"] } else { &[] };
                    client.get(&format!("/v1/calls/{id}"), &token(name), lines).read();
                }
            }
            std::thread::sleep(Duration::from_millis(25));
        }
    }
}

/// The folder for pictures, and how long traffic runs before.
fn studio() -> (PathBuf, Duration) {
    match std::env::var_os(FOLDER) {
        Some(folder) => (folder.into(), Duration::from_secs(100)),
        None => (PathBuf::from(env!("CARGO_TARGET_TMPDIR")), Duration::from_secs(5)),
    }
}

#[test]
fn the_page_looks_well_in_light_and_dark_and_on_a_phone() {
    let Some(browser) = Browser::start() else { return };
    let fleet = Fleet::start();
    let (folder, time) = studio();
    browser.prefer("light");
    browser.open(&url(fleet.address("admin")));
    browser.text_when("the page is live", "#link", |text| text == "live");
    fleet.traffic(time);
    browser.type_into("#search-id", "call_1050\u{e007}");
    browser.text_when("the explanation", "#explanation", |text| text.contains("Decisions"));
    browser.run("document.activeElement.blur(); window.scrollTo(0, 0)");
    let background = || browser.run("return getComputedStyle(document.body).backgroundColor");
    let shoot = |name: &str, width: u32, height: u32| {
        let picture = browser.picture(width, height);
        assert!(picture.starts_with(b"\x89PNG"));
        std::fs::write(folder.join(name), picture).unwrap();
    };
    let whole = || browser.run("return document.documentElement.scrollHeight").as_u64().unwrap() as u32;
    let light = background();
    shoot("dashboard-light.png", 1360, whole());
    shoot("dashboard.png", 1360, 1010);
    browser.prefer("dark");
    assert_ne!(background(), light, "the dark page is another");
    shoot("dashboard-dark.png", 1360, whole());
    let poor = browser.run(CONTRAST);
    assert_eq!(poor, serde_json::json!([]), "too little contrast in the dark");
    browser.prefer("light");
    assert_eq!(browser.run(CONTRAST), serde_json::json!([]), "too little contrast in the light");

    browser.resize(360, 740, true);
    eventually("nothing is wider than the phone", || {
        browser.run("return document.documentElement.scrollWidth <= 360 && document.querySelector('.charts figure').clientWidth < 360") == true
    });
    shoot("dashboard-phone.png", 360, whole());
    let place = |selector: &str| {
        let script = format!("return document.querySelector('{selector}').getBoundingClientRect().top");
        browser.run(&script).as_f64().unwrap()
    };
    assert!(place("#purge-all") > place("#tiles"), "what is destroyed by a slip comes after what is read");
    browser.is_clean_but_for(&[]);
    drop(fleet.upstream);
}

/// Texts whose contrast with their background is below WCAG AA, 4.5 to 1.
const CONTRAST: &str = r"
    const parts = (color) => color.match(/[\d.]+/g).map(Number);
    const light = ([r, g, b]) => {
        const linear = [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const behind = (node) => {
        for (let one = node; one; one = one.parentElement) {
            const color = parts(getComputedStyle(one).backgroundColor);
            if (color.length === 3 || color[3] === 1) return color;
        }
        return [255, 255, 255];
    };
    const poor = [];
    for (const node of document.querySelectorAll('body *')) {
        const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
        if (!own || !node.checkVisibility() || node.closest('.unseen, .skip')) continue;
        const style = getComputedStyle(node);
        const [front, back] = [light(parts(node.closest('svg') ? style.fill : style.color)), light(behind(node))];
        const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
        if (ratio < 4.5) poor.push(`${node.tagName}.${node.className.baseVal ?? node.className} '${node.textContent.slice(0, 30)}' ${ratio.toFixed(2)}`);
    }
    return [...new Set(poor)];";

#[test]
fn every_control_is_reached_by_the_keyboard_and_has_a_name() {
    let Some(browser) = Browser::start() else { return };
    let fleet = Fleet::start();
    browser.open(&url(fleet.address("admin")));
    browser.text_when("the page is live", "#link", |text| text == "live");
    let unnamed = browser.run(
        "return [...document.querySelectorAll('button, input, select, a, svg[role], [role=region], section')] \
         .filter((one) => one.checkVisibility() && !one.textContent.trim() && !one.labels?.length && !one.hasAttribute('aria-label') \
           && !one.hasAttribute('aria-labelledby')).map((one) => one.outerHTML)",
    );
    assert_eq!(unnamed, serde_json::json!([]), "everything has a name");
    for landmark in ["header", "main", "footer", "h1", "html[lang]", "[role=status]", "[aria-live]"] {
        assert_eq!(
            browser.run(&format!("return document.querySelector('{landmark}') !== null")),
            true,
            "{landmark}"
        );
    }
    browser.run(
        "window.wanted = new Set([...document.querySelectorAll('button, input, select, a[href], summary, svg[tabindex]')] \
           .filter((one) => one.checkVisibility())); \
         document.addEventListener('focusin', (event) => window.wanted.delete(event.target))",
    );
    browser.press(&TAB.repeat(80));
    let missed = browser.run("return [...window.wanted].map((one) => one.outerHTML)");
    assert_eq!(missed, serde_json::json!([]), "Tab reaches every control");
    browser.is_clean_but_for(&[]);
}
