//! Faults: an upstream that fails in every way, clients that are slow or many or gone, reloads and ends
//! under load, and a storm of all of it. One file a theme, one test a promise.
//!
//! Each row of the list of faults that the gateway must withstand, and the test that shows it:
//!
//! | row | fault | test |
//! |---|---|---|
//! | F01 | upstream refused | `f01_a_refused_connection_is_502_cold_and_stale_warm_until_the_breaker_opens` |
//! | F02 | SYN black hole | `f02_a_black_hole_costs_everyone_the_connect_timeout_and_no_more` |
//! | F03 | no head | `f03_a_head_that_never_comes_is_504_at_first_byte_timeout` |
//! | F04 | head drips | `f04_a_head_that_drips_is_504_at_its_deadline` |
//! | F05 | body drips or stalls | `f05_a_body_that_stalls_or_drips_is_504_at_the_total_timeout_and_not_stored` |
//! | F06 | reset in head or body | `f06_a_reset_is_repeated_only_before_the_first_byte` |
//! | F07 | early end, wrong length | `f07_an_early_end_is_never_half_an_answer` |
//! | F08 | pooled connection closed | `f08_connections_closed_just_as_they_are_reused_cost_no_error_in_thousands` |
//! | F09 | TLS | `f09_a_handshake_that_breaks_or_stalls_ends_in_time_and_gives_no_key_away` |
//! | F10 | burst of 5xx | `f10_a_burst_of_5xx_is_answered_from_stale_and_leaves_the_upstream_alone` |
//! | F11 | flapping | `f11_a_flapping_upstream_is_ridden_out` |
//! | F12 | 429 | `f12_a_429_pauses_its_tenant_for_a_clamped_time_and_nobody_else` |
//! | F13 | 401 for one tenant | `f13_a_rejected_key_of_one_tenant_is_nothing_to_another` |
//! | F14 | names | `f14_a_new_address_of_the_upstream_is_used_for_the_next_connection` |
//! | F15 | slow upstream | `f15_a_slow_upstream_sheds_what_is_too_much_at_once_and_hits_flow` |
//! | F16 | 1xx, headers, redirects | `t49_interim_responses_are_skipped_up_to_the_deadline` |
//! | F17 | leader's client leaves | `t64_and_f17_a_leader_that_leaves_harms_nobody` |
//! | F18 | leader panics | `a_panic_in_a_fetch_fails_its_waiters_and_frees_the_call` |
//! | F19 | cache full | `f19_and_f20_a_full_cache_stays_within_its_bytes_and_the_process_with_it` |
//! | F20 | one large entry | `f19_and_f20_a_full_cache_stays_within_its_bytes_and_the_process_with_it` |
//! | F21 | memory pressure | none: what F19 and F22 bound is all the memory that grows with use |
//! | F22 | idle connections | `f22_many_idle_connections_are_cheap_and_leave_nothing_behind` |
//! | F23 | no files left | `f23_without_a_file_left_it_waits_quietly_and_recovers` |
//! | F24 | slow and hostile clients | `t54_heads_that_drip_end_at_their_timeout_and_keep_nobody_waiting` |
//! | F25 | SIGTERM under load | `f25_twenty_drains_with_two_hundred_requests_in_flight_lose_no_byte` |
//! | F26 | SIGTERM, stuck upstream | `f26_what_does_not_finish_gets_503_at_the_drain_timeout` |
//! | F27 | reloads under load | `f27_two_hundred_reloads_under_load_fail_no_request_and_lose_nothing` |
//! | F28 | bad file | `t83_f28_a_bad_file_changes_nothing_and_is_told_in_full` |
//! | F34 | steps of the clock | `f34_steps_of_the_calendar_change_no_age_and_harm_nobody` |
//! | F35 | log blocked | `f35_a_reader_that_stalls_costs_lines_and_no_request` |
//! | F36 | killed | `f36_a_killed_process_begins_anew_with_one_fetch_a_call` |
//! | F37 | upstream back | `f37_a_recovery_is_no_stampede` |
//! | F38 | scrapes under load | `f38_ten_scrapers_under_load_get_whole_answers_and_cost_no_lookup` |
//! | F39 | starved of processor | `f39_a_starved_processor_makes_no_deadlock_and_no_false_alarm` |
//! | F40 | a day of lifetimes | `f40_a_day_of_lifetimes_leaves_nothing_behind` |
//!
//! F29 to F33 are not on the list.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::string_slice,
    reason = "a test that fails must stop, and tests may read the clock"
)]

#[path = "../support/proxy.rs"]
mod proxy;
#[expect(dead_code, unused_imports, reason = "one harness for all suites, each of which needs a part of it")]
#[path = "../support/mod.rs"]
mod support;

mod clients;
mod crowds;
mod drains;
mod frames;
mod http2;
mod names;
mod outages;
mod overload;
mod reloads;
mod retries;
mod storm;
mod surroundings;

/// Every line of Rust below a folder of the project.
fn code_below(folder: &str) -> String {
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    let mut code = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                code += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    code
}

#[test]
fn every_fault_of_the_list_has_its_test() {
    let code = code_below("tests") + &code_below("src");
    let rows = include_str!("main.rs").lines().filter(|line| line.starts_with("//! | F"));
    let mut count = 0;
    for row in rows {
        count += 1;
        let Some(test) = row.split('`').nth(1) else {
            assert!(row.contains("| none: "), "{row}");
            continue;
        };
        assert!(code.contains(&format!("fn {test}()")), "{row}");
    }
    assert_eq!(count, 40 - 5);
}
