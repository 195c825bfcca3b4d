//! The admin token: asked for, held, forgotten.

use crate::browser::driver::{ENTER, ESCAPE};
use crate::browser::page::{Page, url};
use crate::support::Config;

const TOKEN: &str = "admin-token-0123456789-0123456789-abcdef";

#[test]
fn the_admin_token_is_asked_for_and_kept_in_memory_alone() {
    let config = Config::default().with("admin", &format!("token = {{ value = \"{TOKEN}\" }}"));
    let Some(page) = Page::open(config) else { return };
    let browser = &page.browser;
    let is_asking = || browser.run("return document.getElementById('token-dialog').open") == true;
    crate::support::eventually("it is asked for", is_asking);
    browser.press(ESCAPE);
    browser.text_when("without it the page is locked", "#link", |text| text == "locked");
    browser.click("#unlock");
    crate::support::eventually("it is asked for again", is_asking);
    browser.type_into("#token", &format!("wrong-token{ENTER}"));
    browser.text_when("a wrong one is refused", "#token-wrong", |text| text.contains("does not take"));
    browser.type_into("#token", &format!("{TOKEN}{ENTER}"));
    page.wait_until_live();
    assert!(!is_asking());

    let kept = browser.run(
        "return JSON.stringify([document.cookie, {...localStorage}, {...sessionStorage}, location.href, \
         document.documentElement.outerHTML, document.getElementById('token').value])",
    );
    assert!(!kept.as_str().unwrap().contains(TOKEN), "{kept}");
    assert_eq!(browser.address(), url(page.gateway.admin));
    browser.click("#forget");
    crate::support::eventually("a forgotten one is asked for", is_asking);
    browser.type_into("#token", &format!("{TOKEN}{ENTER}"));
    page.wait_until_live();
    browser.open(&url(page.gateway.admin));
    crate::support::eventually("a page that was reloaded has forgotten it", is_asking);
    browser.is_clean_but_for(&["401"]);
}
