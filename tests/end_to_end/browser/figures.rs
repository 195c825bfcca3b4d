//! What the page shows while there is traffic, and through a restart.

use crate::browser::driver::{Browser, LEFT};
use crate::browser::page::{Page, url};
use crate::support::{Act, Client, Config, Gate, Gateway, Program, TOKENS, call, eventually, program, reply};

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
fn the_page_shows_the_time_before_it_was_opened() {
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
fn problems_name_their_kind_and_lead_to_their_tenant() {
    let config = Config::default().with("upstream.breaker", "min_requests = 3\nopen_for = \"1h\"");
    let Some(page) = Page::open(config) else { return };
    page.wait_until_live();
    page.upstream.now(|_| reply("500 X", &[], "{}"));
    for id in ["call_1", "call_2", "call_3", "call_4"] {
        page.gateway.get(id);
    }
    let shown = page.browser.text_when("the breaker", "#problems", |text| text.contains("breaker-open"));
    assert!(
        shown.contains("alpha") && shown.contains("since ") && shown.contains("upstream-status"),
        "{shown}"
    );
    page.browser.text_when("it is read out", "#said", |text| text.contains("breaker-open alpha: "));
    page.browser.text_when("the event", "#events", |text| text.contains("Breaker of alpha: open"));
    page.browser.click("#problems a");
    assert_eq!(page.browser.run("return document.activeElement.id"), "tenant-alpha");
    page.upstream.now(|_| vec![Act::Close]);
    // Names and messages are shown and never run.
    page.gateway.rewrite("\"<img src=x onerror=window.hacked=1>\" = 1\n");
    assert_eq!(page.gateway.post_reload().status, 422);
    page.browser.text_when("the reload", "#problems", |text| {
        text.contains("reload-refused") && text.contains("<img src=x onerror=window.hacked=1>")
    });
    assert_eq!(
        page.browser.run("return [document.images.length, window.hacked ?? null]"),
        serde_json::json!([0, null])
    );
    page.browser.is_clean_but_for(&[]);
}

#[test]
fn a_share_of_0_is_a_figure_and_no_lookups_are_none() {
    let Some(page) = Page::open(Config::default()) else { return };
    page.wait_until_live();
    let note = |chart: &str| {
        let script = format!(
            "return document.getElementById('chart-{chart}').closest('figure').querySelector('.nothing').hidden"
        );
        page.browser.run(&script) == true
    };
    assert!(!note("ratio") && !note("lookups"), "nothing has happened yet");
    eventually("the line at 0 %", || {
        page.gateway.get(&format!("call_progress{}", page.upstream.count()));
        page.browser.run("return document.querySelectorAll('.chart .stroke.one').length").as_u64().unwrap()
            > 0
    });
    assert_eq!(page.browser.text("#tile-ratio"), "0 %");
    assert!(note("ratio") && note("lookups"), "a line is drawn, so there are lookups");
}

#[test]
fn errors_and_coverage_are_shown_for_each_tenant() {
    let limit = "rate_limit = { per_minute = 1, burst = 6 }";
    let Some(page) = Page::open(Config::default().tenant(0, limit)) else { return };
    page.wait_until_live();
    for id in ["call_1", "call_1", "call_1"] {
        page.gateway.get(id);
    }
    page.browser.text_when("the coverage", "#tile-covered", |text| text == "66.7 %");
    assert!(page.browser.text("#tiles").contains("2 upstream requests saved"));
    assert!(page.cell("alpha", "Hit ratio").contains("66.7 % covered"));
    page.upstream.now(|_| reply("500 X", &[], "{}"));
    for id in ["call_2", "call_3", "call_4", "call_5", "call_6"] {
        page.gateway.get(id);
    }
    eventually("the errors", || page.cell("alpha", "Errors").contains("3 × 5xx · 2 × 429"));
    assert!(page.cell("beta", "Errors").contains("0 × 5xx"));
}

#[test]
fn no_label_of_an_axis_is_cut_off() {
    let Some(page) = Page::open(Config::default()) else { return };
    page.wait_until_live();
    // 180,000 lookups a second, and each second of a minute, since time moves the labels along.
    let outside = "const chart = new Chart({ name: 'large', label: '', kind: 'stack', scale: 'rate', format: rate, axis: rate, \
           keys: [{ key: 'all', label: '', css: 'one' }], value: () => 180000 }); \
         document.getElementById('charts').append(chart.node); \
         const box = (node) => node.getBoundingClientRect(); \
         const cut = []; \
         for (let second = 0; second < 60; second += 1) { \
           const clock = 1700000000000 + second * 1000; \
           for (const range of [90, 300, 900]) { \
             chart.update([[{ clock: clock - 60000, delta: {} }, { clock, delta: {} }]], range, clock); \
             const ticks = [...chart.svg.querySelectorAll('.tick')]; \
             if (ticks.length < 3) cut.push('no labels'); \
             cut.push(...ticks.filter((tick) => box(tick).left < box(chart.svg).left || box(tick).right > box(chart.svg).right \
               || box(tick).bottom > box(chart.svg).bottom + 1).map((tick) => `${range}: ${tick.textContent}`)); \
           } \
         } \
         chart.node.remove(); \
         return [...new Set(cut)];";
    for width in [1360, 800, 360] {
        page.browser.resize(width, 900, width == 360);
        assert_eq!(page.browser.run(outside), serde_json::json!([]), "at a width of {width}");
    }
}

#[test]
fn every_panel_of_a_demo_with_load_shows_something() {
    let Some(browser) = Browser::start() else { return };
    let demo = Program::start(&mut program(&["demo", "--load"]));
    eventually("the guide", || demo.out().iter().any(|line| line.contains("Ctrl-C ends the demo")));
    let line = demo.out().into_iter().find(|line| line.starts_with("admin ")).unwrap();
    browser.open(line.split_whitespace().last().unwrap());
    browser.text_when("the page is live", "#link", |text| text == "live");
    let empty = "return [...document.querySelectorAll('.chart')].filter((one) => !one.querySelector('.nothing').hidden) \
         .map((one) => one.querySelector('h3').textContent) \
         .concat([...document.querySelectorAll('#lists .card')].filter((one) => one.querySelector('li.soft')).map((one) => one.textContent)) \
         .concat([...document.querySelectorAll('.tile .value')].filter((one) => one.textContent.includes('–')).map((one) => one.id))";
    eventually("every panel shows something", || browser.run(empty) == serde_json::json!([]));
    let outcomes = || {
        let admin = line.split('/').next_back().unwrap().parse().unwrap();
        let stats = Client::connect(admin).get("/api/v1/stats", "", &[]).read().json();
        stats["totals"].clone()
    };
    eventually("each outcome that the stand-in can cause, and each kind of refusal", || {
        let totals = outcomes();
        let has = |map: &str, keys: &[&str]| keys.iter().all(|key| totals[map][key].as_u64() > Some(0));
        has("outcomes", &["hit", "negative", "stale", "collapsed", "bypass", "miss"])
            && has("answers", &["200", "400", "401", "403", "404", "429"])
            && has("not_stored", &["not-completed"])
            && has("evictions", &["replaced"])
    });
    assert!(demo.err().is_empty(), "nothing but figures is shown: {:?}", demo.err());
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

#[test]
fn streams_waiting_lookups_and_polled_calls_are_shown_for_each_tenant() {
    let config = Config::default()
        .tenant(0, "routes = [\"call\", \"recording\"]")
        .with("media", "max_streams = 2")
        .with("wait", "poll_min = \"1s\"\npoll_max = \"1s\"");
    let Some(page) = Page::open(config) else { return };
    page.wait_until_live();
    eventually("nothing flows yet", || page.cell("alpha", "Streams").starts_with("0 of 2"));
    assert!(page.cell("beta", "Streams").starts_with("no media"));
    assert!(page.cell("alpha", "Waiting").contains("0 calls polled"));

    let (gate, address) = (Gate::default(), page.upstream.address());
    let waits = gate.clone();
    page.upstream.now(move |seen| match seen.target.strip_prefix("/v1/calls/") {
        Some("call_unfinished") => {
            let body = call("call_unfinished").replace("\"completed\"", "\"in_progress\"");
            reply("200 OK", &["Content-Type: application/json"], &body)
        }
        Some(id) => {
            let link = format!("http://{address}/{id}.mp3?key=canary");
            let body = call(id).replace(&format!("https://api.credira.com/recordings/{id}.mp3"), &link);
            reply("200 OK", &["Content-Type: application/json"], &body)
        }
        None => vec![
            Act::Send(b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: 2\r\n\r\n1".to_vec()),
            Act::Wait(waits.clone()),
            Act::Send(b"2".to_vec()),
        ],
    });
    let mut clients: Vec<_> = (0..5).map(|_| page.gateway.connect()).collect();
    let (streams, waiting) = clients.split_at_mut(2);
    for client in streams {
        client.get("/v1/calls/call_1/recording", TOKENS[0], &[]).read_head().expect("a head");
    }
    for client in waiting {
        client.get("/v1/calls/call_unfinished", TOKENS[0], &["Prefer: wait=60"]);
    }
    eventually("both streams", || page.cell("alpha", "Streams").starts_with("2 of 2"));
    eventually("all who wait", || page.cell("alpha", "Waiting").starts_with('3'));
    assert!(page.cell("alpha", "Waiting").contains("1 call polled"));
    assert!(page.cell("beta", "Waiting").starts_with('0'));
    page.picture("streams-and-waits");

    page.browser.run("document.getElementById('search-id').value = 'call_1'");
    page.browser.click("#search button");
    let told =
        page.browser.text_when("what is explained", "#explanation", |text| text.contains("streams left"));
    assert!(told.contains("recording\nOVERLOADED") && !told.contains("canary"), "{told}");
    gate.open();
    eventually("no stream is left", || page.cell("alpha", "Streams").starts_with("0 of 2"));
    page.browser.is_clean_but_for(&[]);
}
