//! A browser, driven through the small part of WebDriver that the tests need.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::support::{Client, eventually, needed};

/// One browser at a time: two would only slow each other down.
static TURN: Mutex<()> = Mutex::new(());

/// What WebDriver calls an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Keys without a character, as WebDriver spells them.
pub(super) const TAB: &str = "\u{e004}";
pub(super) const ENTER: &str = "\u{e007}";
pub(super) const ESCAPE: &str = "\u{e00c}";
pub(super) const LEFT: &str = "\u{e012}";

/// A headless browser with a fresh profile. Dropping it ends it.
pub(super) struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    _profile: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// A driver and its port; `None`, with a message, if it is not installed.
///
/// The driver takes a free IPv4 port and then the same IPv6 port, and exits if that one is in use. So it is restarted,
/// a few times.
fn start_driver() -> Option<(Child, u16)> {
    let mut said = String::new();
    for _ in 0..5 {
        let started = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut driver = needed("chromedriver", started)?;
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        // "ChromeDriver was started successfully on port 40173."
        let port = lines.by_ref().find_map(|line| {
            let port = line.trim_end_matches('.').rsplit_once("started successfully on port ");
            said = format!("{said}{line}\n");
            port.map(|(_, port)| port.parse().expect("a port"))
        });
        match port {
            Some(port) => {
                std::thread::spawn(move || lines.for_each(drop));
                return Some((driver, port));
            }
            None => driver.wait().map(drop).expect("its end is seen"),
        }
    }
    panic!("the driver doesn't start: {said}")
}

impl Browser {
    /// `None`, after saying so, where there is no browser.
    pub(super) fn start() -> Option<Self> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        needed("chromium", Command::new("chromium").arg("--version").output())?;
        let (driver, port) = start_driver()?;
        let profile = tempfile::tempdir().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut browser = Self { driver, address, session: String::new(), _profile: profile, _turn: turn };
        browser.begin();
        Some(browser)
    }

    fn begin(&mut self) {
        let profile = self._profile.path().to_str().unwrap();
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--window-size=1360,1000",
            &format!("--user-data-dir={profile}"),
        ];
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let begun = self.exchange("POST", "/session", &capabilities);
        self.session = begun["sessionId"].as_str().expect("a session").to_owned();
    }

    fn exchange(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let response = Client::connect(self.address).send(head + &body).read();
        let value = response.json()["value"].clone();
        assert_eq!(response.status, 200, "{method} {path} {body}: {value}");
        value
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.exchange("POST", &format!("/session/{}{path}", self.session), body)
    }

    fn get(&self, path: &str) -> Value {
        self.exchange("GET", &format!("/session/{}{path}", self.session), &Value::Null)
    }

    /// Sends Chromium a command of its own protocol.
    pub(super) fn chromium(&self, command: &str, parameters: &Value) -> Value {
        self.post("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// Opens a page, which records violations of its policy.
    pub(super) fn open(&self, url: &str) {
        let notes = "window.forbidden = []; document.addEventListener('securitypolicyviolation', \
                     (event) => window.forbidden.push(`${event.violatedDirective} ${event.blockedURI}`));";
        self.chromium("Page.addScriptToEvaluateOnNewDocument", &json!({ "source": notes }));
        self.post("/url", &json!({ "url": url }));
    }

    /// Runs a function's body in the page and returns its result.
    pub(super) fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The visible text of the first element that matches.
    pub(super) fn text(&self, selector: &str) -> String {
        let found = self.run(&format!("return document.querySelector({selector:?})?.innerText ?? null"));
        found.as_str().unwrap_or_else(|| panic!("no {selector}")).to_owned()
    }

    /// Waits until the text of an element is as wanted, and returns it.
    #[track_caller]
    pub(super) fn text_when(&self, what: &str, selector: &str, is_so: impl Fn(&str) -> bool) -> String {
        let mut text = String::new();
        eventually(&format!("{what}, in {selector}"), || {
            text = self.text(selector);
            is_so(&text)
        });
        text
    }

    fn find(&self, selector: &str) -> String {
        let found = self.post("/element", &json!({ "using": "css selector", "value": selector }));
        found[ELEMENT].as_str().expect("an element").to_owned()
    }

    /// Clicks as a person does: only what can be seen and reached.
    pub(super) fn click(&self, selector: &str) {
        self.post(&format!("/element/{}/click", self.find(selector)), &json!({}));
    }

    /// Types into an element.
    pub(super) fn type_into(&self, selector: &str, text: &str) {
        self.post(&format!("/element/{}/value", self.find(selector)), &json!({ "text": text }));
    }

    /// Presses keys, wherever the focus is.
    pub(super) fn press(&self, keys: &str) {
        let strokes = keys.chars().flat_map(|key| {
            ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() }))
        });
        let strokes: Vec<_> = strokes.collect();
        self.post("/actions", &json!({ "actions": [{ "type": "key", "id": "keys", "actions": strokes }] }));
    }

    /// Sets the size of the page, optionally as on a phone.
    pub(super) fn resize(&self, width: u32, height: u32, mobile: bool) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        self.chromium("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// Prefers `light` or `dark`.
    pub(super) fn prefer(&self, scheme: &str) {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.chromium("Emulation.setEmulatedMedia", &features);
    }

    /// A PNG of the page from its top, of this size.
    pub(super) fn picture(&self, width: u32, height: u32) -> Vec<u8> {
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": height, "scale": 1 });
        let shot = json!({ "format": "png", "clip": clip, "captureBeyondViewport": true });
        let data = self.chromium("Page.captureScreenshot", &shot);
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.decode(data["data"].as_str().unwrap()).unwrap()
    }

    /// Everything in the console since the last look, as text.
    pub(super) fn console(&self) -> Vec<String> {
        let entries = self.post("/se/log", &json!({ "type": "browser" }));
        entries.as_array().unwrap().iter().map(|entry| entry["message"].to_string()).collect()
    }

    /// Fails if the page violated its policy, or the console has a line without any of `expected`.
    #[track_caller]
    pub(super) fn is_clean_but_for(&self, expected: &[&str]) {
        assert_eq!(self.run("return window.forbidden"), json!([]), "the policy was violated");
        let lines = self.console();
        let stray: Vec<_> =
            lines.iter().filter(|line| !expected.iter().any(|word| line.contains(word))).collect();
        assert!(stray.is_empty(), "{stray:#?}");
    }

    /// The address that the page is shown at.
    pub(super) fn address(&self) -> String {
        self.get("/url").as_str().unwrap().to_owned()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            // Ends the browser; a driver that is gone has ended it already.
            let head = format!("DELETE /session/{} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", self.session);
            if TcpStream::connect(self.address).is_ok() {
                let _ = Client::connect(self.address).try_send(head).try_read();
            }
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
