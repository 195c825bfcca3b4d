//! What the page shows while there is traffic, and through a restart.

use crate::driver::LEFT;
use crate::page::{Page, url};
use crate::support::{Act, Config, Gateway, eventually, reply};

#[test]
fn live_figures_appear_while_there_is_traffic() {
    let limits =
        "rate_limit = { per_minute = 1, burst = 200 }\nupstream_limit = { per_minute = 1, burst = 50 }";
    let Some(page) = Page::open(Config::default().tenant(0, limits)) else { return };
    page.wait_until_live();
    assert_eq!(page.browser.text("#tile-ratio"), "–");
    for id in ["call_1", "call_1", "call_1", "call_missing1", "call_progress1"] {
        page.gateway.get(id);
    }
    page.browser.text_when("the hit ratio", "#tile-ratio", |text| text == "40.0 %");
    assert_eq!(page.browser.text("#tile-cache"), "2 entries");
    eventually("the tenant's lookups", || page.cell("alpha", "Lookups").contains("5 in all"));
    assert!(page.cell("alpha", "Limit left").starts_with("195 of 200"));
    assert!(page.cell("alpha", "Upstream budget left").starts_with("47 of 50"));
    assert!(page.cell("beta", "Limit left").starts_with("no limit"));
    assert_eq!(page.cell("alpha", "Breaker").trim(), "closed");
    let drawn =
        "return document.querySelectorAll('.chart .area.hit, .chart .area.miss, .chart .stroke').length";
    eventually("something is drawn", || page.browser.run(drawn).as_u64().unwrap() >= 5);
    let lists = page.browser.text("#lists");
    assert!(lists.contains("not-completed") && lists.contains("404"), "{lists}");

    page.browser.run("document.querySelector('.chart details').open = true");
    let table = page.browser.text_when("the table behind", ".chart table", |text| text.lines().count() > 1);
    assert!(table.starts_with("Time\thit\tnegative"), "{table}");
    page.browser.run("document.querySelector('.chart svg').focus()");
    page.browser.press(LEFT);
    page.browser
        .text_when("the point is read out", "#said", |text| text.contains("hit ") && text.contains("miss "));
    assert!(page.browser.text(".chart .tip").contains("revalidated"));
    page.browser.is_clean_but_for(&[]);
}

#[test]
fn what_happened_before_the_page_was_opened_is_there() {
    let Some(page) = Page::open(Config::default()) else { return };
    page.wait_until_live();
    for _ in 0..10 {
        page.gateway.get("call_1");
    }
    eventually("it is in the history", || {
        let history = page.gateway.admin("/api/v1/history").json();
        let samples = history["samples"].as_array().unwrap();
        samples.last().is_some_and(|sample| sample["outcomes"]["hit"] == 9)
    });
    page.browser.open(&url(page.gateway.admin));
    page.browser.text_when("the ratio of that time", "#tile-ratio", |text| text == "90.0 %");
}

#[test]
fn problems_are_told_in_words() {
    let config = Config::default().with("upstream.breaker", "min_requests = 3\nopen_for = \"1h\"");
    let Some(page) = Page::open(config) else { return };
    page.wait_until_live();
    page.upstream.now(|_| reply("500 X", &[], "{}"));
    for id in ["call_1", "call_2", "call_3", "call_4"] {
        page.gateway.get(id);
    }
    page.browser.text_when("the breaker", "#problems", |text| {
        text.contains("The breaker is open") && text.contains("alpha")
    });
    page.browser.text_when("the event", "#events", |text| text.contains("Breaker of alpha: open"));
    page.upstream.now(|_| vec![Act::Close]);
    // Names and messages are shown and never run.
    page.gateway.rewrite("\"<img src=x onerror=window.hacked=1>\" = 1\n");
    assert_eq!(page.gateway.post_reload().status, 422);
    page.browser.text_when("the reload", "#problems", |text| {
        text.contains("failed and changed nothing") && text.contains("<img src=x onerror=window.hacked=1>")
    });
    assert_eq!(
        page.browser.run("return [document.images.length, window.hacked ?? null]"),
        serde_json::json!([0, null])
    );
    page.browser.is_clean_but_for(&[]);
}

#[test]
fn the_page_survives_a_restart_of_the_gateway() {
    let Some(Page { browser, gateway, upstream }) = Page::open(Config::default()) else { return };
    browser.text_when("the page is live", "#link", |text| text == "live");
    for _ in 0..4 {
        gateway.get("call_1");
    }
    browser.text_when("the figures", "#tile-ratio", |text| text == "75.0 %");
    let admin = gateway.admin;
    drop(gateway);
    browser.text_when("the loss", "#lost-why", |text| text.contains("does not answer"));
    let again = Config::default().with("admin", &format!("address = \"{admin}\""));
    let gateway = Gateway::start(&again, upstream.address());
    browser.text_when("it is back", "#link", |text| text == "live");
    browser.text_when("and told", "#events", |text| text.contains("The gateway has restarted"));
    assert_eq!(browser.run("return document.getElementById('lost').hidden"), true);
    // Counts that fell to 0 are no negative traffic, and what was before is not forgotten.
    assert_eq!(browser.text("#tile-ratio"), "75.0 %");
    for _ in 0..4 {
        gateway.get("call_2");
    }
    browser.text_when("new figures on top", "#tile-ratio", |text| text == "75.0 %");
    browser.text_when("both", "#tiles", |text| text.contains("8 lookups"));
    browser.is_clean_but_for(&["ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE"]);
}
