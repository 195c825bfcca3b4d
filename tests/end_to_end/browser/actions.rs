//! What can be done on the page.

use crate::browser::driver::{Browser, ENTER, ESCAPE};
use crate::browser::page::{Page, url};
use crate::support::scenes::scenes;
use crate::support::{Config, eventually};

fn explain(page: &Page, id: &str) {
    page.browser.run("document.getElementById('search-id').value = ''");
    page.browser.type_into("#search-id", id);
    page.browser.press(ENTER);
}

#[test]
fn a_call_is_explained_purged_and_gone() {
    let Some(page) = Page::open(Config::default()) else { return };
    page.wait_until_live();
    page.gateway.get("call_1");
    explain(&page, "call_1");
    let told = page.browser.text_when("the explanation", "#explanation", |text| text.contains("Decisions"));
    assert!(told.contains("answered from the cache") && told.contains("fresh for another"), "{told}");
    assert!(
        told.contains("Lifetime") && told.contains("from cache.ttl") && !told.contains("breaker"),
        "{told}"
    );
    assert!(!told.contains("+12025550143"), "an entry's body is not shown");
    assert_eq!(page.browser.run("return document.querySelectorAll('.life rect').length"), 3);

    page.browser.click("#explanation button.danger");
    assert_eq!(page.browser.text("#confirm-title"), "Purge call_1 of alpha?");
    page.browser.press(ESCAPE);
    assert_eq!(page.gateway.admin("/api/v1/cache/alpha/call_1").status, 200, "nothing happens unconfirmed");
    page.browser.click("#explanation button.danger");
    page.browser.click("#confirm-go");
    page.browser
        .text_when("the event is listed", "#events", |text| text.contains("Purged call_1 of alpha: 1 entry"));
    assert_eq!(page.gateway.admin("/api/v1/cache/alpha/call_1").status, 404);
    page.browser.text_when("and explained anew", "#explanation", |text| {
        text.contains("nothing is stored for this call")
    });
    assert_eq!(page.upstream.count(), 1, "explaining sends nothing upstream");

    explain(&page, "no/such id");
    page.browser.text_when("what is no ID", "#explanation", |text| text.contains("refused: INVALID_REQUEST"));
    page.browser.is_clean_but_for(&[]);
}

#[test]
fn in_every_situation_the_page_shows_what_explain_says() {
    let Some(browser) = Browser::start() else { return };
    let shown = [
        ("hit", "answered from the cache"),
        ("negative", "answered with the remembered 404"),
        ("stale", "answered with a stale entry"),
        ("fetch", "fetched from the upstream"),
        ("follow", "a fetch in flight would be followed"),
        ("refuse", "refused"),
    ];
    // The page explains lookups without header fields.
    for scene in scenes().into_iter().filter(|scene| scene.lines.is_empty()) {
        let (gateway, _upstream, held) = scene.open();
        browser.open(&url(gateway.admin));
        browser.text_when("the page is live", "#link", |text| text == "live");
        browser.type_into("#search-id", &format!("{}{ENTER}", scene.id));
        browser.text_when(scene.name, "#explanation", |text| text.contains("Decisions"));
        let told = browser.text("#explanation .verdict");
        let explained = gateway.admin(&scene.path()).json();
        assert_eq!(explained["would"], scene.would, "{}", scene.name);
        let (_, words) = shown.iter().find(|(would, _)| *would == scene.would).expect("its words");
        let code = explained["code"].as_str().map(|code| format!(": {code}")).unwrap_or_default();
        let because = explained["because"].as_str().unwrap();
        let wanted = format!("{words}{code}{because}");
        // Seconds pass between the two.
        let told = told.split("; retry after").next().unwrap_or_default();
        assert_eq!(without_figures(told), without_figures(&wanted), "{}", scene.name);
        held.gate.open();
    }
    browser.is_clean_but_for(&[]);
}

/// The letters of a text: no figures, no spacing.
fn without_figures(text: &str) -> String {
    text.chars().filter(|char| char.is_ascii_alphabetic()).collect()
}

#[test]
fn more_than_one_call_is_purged_only_when_its_name_was_typed() {
    let Some(page) = Page::open(Config::default()) else { return };
    page.wait_until_live();
    for tenant in 0..2 {
        page.gateway.get_as(tenant, "call_1", &[]);
        page.gateway.get_as(tenant, "call_2", &[]);
    }
    let entries = |tenant: &str| page.gateway.metric(&format!("cache_entries{{tenant=\"{tenant}\"}}"));
    page.browser.click("[aria-label='Purge the cache of alpha']");
    page.browser.type_into("#confirm-word", "beta");
    page.browser.click("#confirm-go");
    assert_eq!(page.browser.text("#confirm-wrong"), "That is not alpha.");
    assert_eq!(entries("alpha"), 2.0);
    page.browser.run("document.getElementById('confirm-word').value = ''");
    page.browser.type_into("#confirm-word", &format!("alpha{ENTER}"));
    page.browser.text_when("the event is listed", "#events", |text| {
        text.contains("Purged the cache of alpha: 2 entries")
    });
    assert_eq!((entries("alpha"), entries("beta")), (0.0, 2.0));
    page.browser.click("#purge-all");
    page.browser.type_into("#confirm-word", &format!("everything{ENTER}"));
    page.browser.text_when("the event is listed", "#events", |text| {
        text.contains("Purged every tenant’s cache: 2 entries")
    });
    assert_eq!(entries("beta"), 0.0);
    page.browser.is_clean_but_for(&[]);
}

#[test]
fn the_configuration_is_shown_and_reloaded() {
    let Some(page) = Page::open(Config::default()) else { return };
    page.wait_until_live();
    page.browser.click("#config summary");
    let shown =
        page.browser.text_when("the configuration", "#config-text", |text| text.contains("\"cache\""));
    assert!(shown.contains("\"ttl\": \"24h\"") && !shown.contains("upstream-key-of-alpha"), "{shown}");
    page.gateway.rewrite(Config::default().with("cache", "ttl = \"7h\"").text(page.upstream.address()));
    page.browser.click("#reload");
    page.browser.click("#confirm-go");
    page.browser
        .text_when("the event is listed", "#events", |text| text.contains("Reloaded the configuration"));
    page.browser.text_when("the new one is shown", "#config-text", |text| text.contains("\"ttl\": \"7h\""));
    page.gateway.rewrite("nonsense = 1\n");
    page.browser.click("#reload");
    page.browser.click("#confirm-go");
    page.browser
        .text_when("the failure is listed", "#events", |text| text.contains("The reload was rejected"));
    eventually("with its problem", || page.browser.text("#problems").contains("nonsense"));
    page.browser.is_clean_but_for(&["422"]);
}
