//! Runs the examples of docs/clients.md verbatim.

use std::process::Command;

use crate::support::{Config, Gateway, TOKENS, Upstream, needed, reply};

const PAGE: &str = include_str!("../../../docs/clients.md");

/// The page's examples in one language.
fn examples(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    PAGE.split(fence.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect()
}

/// A gateway whose calls are final from the third request for each on.
fn gateway() -> (Upstream, Gateway) {
    let upstream = Upstream::scripted(|seen| match seen.target.as_str() {
        "/v1/calls?invoice_id=inv_7" => {
            reply("200 OK", &[], r#"{"success":true,"data":[{"invoice_id":"inv_7"}]}"#)
        }
        "/recordings/call_1.mp3" => reply("200 OK", &["Content-Type: audio/mpeg"], "a sound"),
        "/transcriptions/call_1.txt" => {
            reply("200 OK", &["Content-Type: text/plain"], "Good morning, this is the billing department.")
        }
        _ if seen.number < 3 => {
            let body = crate::support::call(seen.id()).replace("\"completed\"", "\"in_progress\"");
            reply("200 OK", &["Content-Type: application/json"], &body)
        }
        _ => {
            let host = format!("http://{}/", seen.header("host").unwrap_or_default());
            let body = crate::support::call(seen.id()).replace("https://api.credira.com/", &host);
            reply("200 OK", &["Content-Type: application/json"], &body)
        }
    });
    let routes = "routes = [\"call\", \"calls\", \"recording\", \"transcription\"]";
    let config = Config::default().tenant(0, routes);
    let gateway = config.with("wait", "poll_min = \"50ms\"").start(&upstream);
    (upstream, gateway)
}

/// Runs an example with a program, and returns its output.
fn run(gateway: &Gateway, program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    // Some examples write a file.
    let folder = tempfile::tempdir().unwrap();
    command
        .current_dir(&folder)
        .args(arguments)
        .env("GATEWAY", format!("http://{}", gateway.data))
        .env("TOKEN", TOKENS[0]);
    let output = needed(program, command.env("CALL", "call_1").env("INVOICE", "inv_7").output())?;
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program}: {out}{error}");
    Some(out.into_owned())
}

#[test]
fn the_examples_in_curl_look_up_wait_and_list() {
    let (_upstream, gateway) = gateway();
    let examples = examples("sh");
    assert_eq!(examples.len(), 5);
    let expected = ["in_progress", "\"completed\"", "", "Good morning,", "inv_7"];
    for (example, expected) in examples.into_iter().zip(expected) {
        let Some(_) = needed("curl", Command::new("curl").arg("--version").output()) else { return };
        let Some(out) = run(&gateway, "sh", &["-c", example]) else { return };
        assert!(out.contains(expected), "{expected} in {out}");
    }
}

#[test]
fn the_examples_in_python_and_node_wait_until_the_call_is_completed() {
    for (language, program, flag) in [("python", "python3", "-c"), ("js", "node", "-e")] {
        let (upstream, gateway) = gateway();
        let examples = examples(language);
        assert_eq!(examples.len(), 2, "{language}");
        let Some(out) = run(&gateway, program, &[flag, examples[0]]) else { continue };
        assert_eq!(out.trim(), "completed", "{language}");
        assert!(upstream.count() >= 4, "{language}: it waited");
        let Some(out) = run(&gateway, program, &[flag, examples[1]]) else { continue };
        assert_eq!(out.trim(), "a sound".len().to_string(), "{language}");
    }
}
