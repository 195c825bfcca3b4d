//! The commands, their words and their exit codes.

use std::process::Command;

use crate::support::{
    Client, Config, Finished, Program, TOKENS, Upstream, eventually, program, write_config,
};

fn run(arguments: &[&str]) -> Finished {
    Finished::of(&mut program(arguments))
}

fn check(text: &str) -> Finished {
    let file = write_config(text);
    run(&["check", "--config", file.path().to_str().unwrap()])
}

fn valid() -> String {
    Config::default().text("127.0.0.1:1".parse().unwrap())
}

#[test]
fn every_command_has_help_with_examples() {
    let commands: &[&[&str]] = &[
        &["--help"],
        &["serve", "--help"],
        &["demo", "--help"],
        &["check", "--help"],
        &["mock-upstream", "--help"],
        &["token", "--help"],
        &["healthcheck", "--help"],
        &["schema", "--help"],
        &["completions", "--help"],
        &["man", "--help"],
    ];
    for command in commands {
        let help = run(command);
        assert_eq!((help.code, help.err.as_str()), (0, ""), "{command:?}");
        assert!(help.out.contains("Example") && help.out.contains("Usage:"), "{command:?}: {}", help.out);
    }
    assert_eq!(run(&["token", "new", "--help"]).code, 0);
}

#[test]
fn wrong_usage_is_2_and_says_so_on_standard_error() {
    for arguments in
        [&[][..], &["nonsense"], &["serve", "--nonsense"], &["check", "-c"], &["mock-upstream"], &["token"]]
    {
        let finished = run(arguments);
        assert_eq!((finished.code, finished.out.as_str()), (2, ""), "{arguments:?}");
        assert!(!finished.err.is_empty());
    }
    let latency = run(&["mock-upstream", "--listen", "127.0.0.1:0", "--latency", "soon"]);
    assert!(latency.code == 2 && latency.err.contains("\"30s\""), "{latency:?}");
    assert_eq!(run(&["mock-upstream", "--listen", "127.0.0.1:0", "--error-rate", "2"]).code, 2);
}

#[test]
fn the_version_names_the_commit() {
    let version = run(&["--version"]);
    assert!(
        version.out.starts_with(&format!("credira-gateway {} (", env!("CARGO_PKG_VERSION"))),
        "{}",
        version.out
    );
}

#[test]
fn check_accepts_what_is_valid_and_warns_of_inline_secrets() {
    let checked = check(&valid());
    assert!(checked.code == 0 && checked.out.ends_with(": valid, 2 tenants\n"), "{checked:?}");
    assert!(checked.err.contains(
        "warning: tenants[0].upstream_key: the secret is written in the configuration file itself"
    ));
    assert!(!checked.err.contains(TOKENS[0]));
}

#[test]
fn check_and_serve_report_every_problem_and_exit_with_78() {
    let text =
        "[cache]\ntll = \"1h\"\nsettle_ttl = 5\n[upstream]\nbase_url = \"http://api.credira.com/v1\"\n";
    let file = write_config(text);
    let path = file.path().to_str().unwrap();
    for command in ["check", "serve"] {
        let finished = run(&[command, "--config", path]);
        assert_eq!((finished.code, finished.out.as_str()), (78, ""), "{command}");
        for line in [
            format!("{path}:2:1: cache.tll: unknown key; did you mean `ttl`?"),
            format!("{path}:3:14: cache.settle_ttl: expected a duration such as"),
            format!("{path}:5:12: upstream.base_url: expected no path, query or fragment"),
            format!("{path}: tenants: expected at least one [[tenants]] entry"),
        ] {
            assert!(finished.err.contains(&line), "{line} in\n{}", finished.err);
        }
    }
}

#[test]
fn a_configuration_that_cannot_be_read_is_78() {
    for path in ["/no/such/file.toml", "/"] {
        let finished = run(&["serve", "--config", path]);
        assert!(finished.code == 78 && finished.err.contains("cannot be read"), "{finished:?}");
    }
    let binary = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(binary.path(), [0xff, 0xfe, 0]).unwrap();
    let finished = run(&["check", "-c", binary.path().to_str().unwrap()]);
    assert!(finished.code == 78 && finished.err.contains("not UTF-8"), "{finished:?}");
}

// T08.
#[test]
fn two_tenants_with_one_token_are_refused() {
    let tokens = format!("tokens = [{{ value = \"{}\" }}]", TOKENS[0]);
    let checked = check(&Config::default().tenant(1, &tokens).text("127.0.0.1:1".parse().unwrap()));
    assert!(
        checked.code == 78 && checked.err.contains("tokens must be unique across tenants"),
        "{checked:?}"
    );
    assert!(!checked.err.contains(TOKENS[0]));
}

#[test]
fn check_print_shows_what_is_in_effect_and_no_secret() {
    let file = write_config(&valid());
    let mut command = program(&["check", "--print", "-c", file.path().to_str().unwrap()]);
    let printed = Finished::of(command.env("CREDIRA_GATEWAY__CACHE__TTL", "90m"));
    assert_eq!(printed.code, 0);
    let shown: toml::Table = printed.out.parse().expect("TOML");
    assert_eq!(shown["cache"]["ttl"].as_str(), Some("1h 30m"));
    assert_eq!(shown["tenants"][0]["name"].as_str(), Some("alpha"));
    for secret in TOKENS.iter().chain(&crate::support::KEYS) {
        assert!(!printed.out.contains(secret) && !printed.err.contains(secret));
    }
}

#[test]
fn the_environment_may_name_the_configuration_file() {
    let file = write_config(&valid());
    let checked = Finished::of(program(&["check"]).env("CREDIRA_GATEWAY_CONFIG", file.path()));
    assert_eq!(checked.code, 0, "{checked:?}");
}

#[test]
fn a_new_token_fits_its_line_of_the_configuration() {
    let made = run(&["token", "new"]);
    assert_eq!((made.code, made.out.lines().count()), (0, 2));
    let token = made.out.lines().next().unwrap().strip_prefix("token: ").unwrap();
    let line = made.out.lines().nth(1).unwrap();
    assert_ne!(made.out, run(&["token", "new"]).out);
    let upstream = Upstream::contract();
    let text = Config::default().tenant(0, "tokens = []").text(upstream.address());
    let file = write_config(&text.replace("tokens = []", line));
    let process = Program::start(&mut program(&["serve", "-c", file.path().to_str().unwrap()]));
    let listening = process.err_line("about a listener", |line| line.contains("\"plane\":\"data\""));
    let address = serde_json::from_str::<serde_json::Value>(&listening).unwrap()["address"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(Client::connect(address).get("/v1/calls/call_1", token, &[]).read().status, 200);
}

#[test]
fn the_schema_is_json_and_completions_are_there_for_every_shell() {
    let schema: serde_json::Value = serde_json::from_str(&run(&["schema"]).out).unwrap();
    assert!(schema["properties"]["cache"].is_object());
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let completions = run(&["completions", shell]);
        assert!(completions.code == 0 && completions.out.contains("mock-upstream"), "{shell}");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let main = run(&["man"]);
    assert!(main.code == 0 && main.out.contains(".TH credira-gateway 1"), "{main:?}");
    for section in ["SIGNALS", "EXAMPLES", "EXIT STATUS", "ENVIRONMENT", "FILES"] {
        assert!(main.out.contains(&format!(".SH {section}\n")), "{section}: {main:?}");
    }
    assert!(main.out.contains("SIGHUP") && !main.out.contains("EXTRA"), "{main:?}");
    for command in ["serve", "check", "mock-upstream", "purge", "explain", "man"] {
        assert!(main.out.contains(&command.replace('-', "\\-")), "{command} is not in the program's page");
        let page = run(&["man", command]);
        assert!(page.out.contains(&format!(".TH credira-gateway-{command} 1")), "{command}: {page:?}");
        let example = format!(".nf\n.RS 4\ncredira\\-gateway {}", command.replace('-', "\\-"));
        let has_sections = page.out.contains(".SH EXAMPLES") && page.out.contains(".SH EXIT STATUS");
        assert!(has_sections && page.out.contains(&example), "{command}: {page:?}");
    }
    assert!(run(&["man", "token", "new"]).out.contains(".TH credira-gateway-token-new 1"));
    assert_eq!(run(&["man", "nonsense"]).code, 2);
}

#[test]
fn a_port_in_use_is_one_clear_line_and_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let text = Config::default()
        .with("listen", &format!("address = \"{address}\""))
        .text("127.0.0.1:1".parse().unwrap());
    let file = write_config(&(text + "[log]\nlevel = \"off\"\n"));
    let finished = run(&["serve", "-c", file.path().to_str().unwrap()]);
    assert_eq!((finished.code, finished.err.lines().count()), (1, 1), "{finished:?}");
    assert!(finished.err.contains(&format!("cannot listen on {address}")), "{}", finished.err);
}

#[test]
fn the_stand_in_upstream_keeps_to_the_contract() {
    let arguments = [
        "mock-upstream",
        "--listen",
        "127.0.0.1:0",
        "--api-key",
        "k1",
        "--api-key",
        "k2",
        "--latency",
        "1ms",
    ];
    let mut mock = Program::start(&mut program(&arguments));
    eventually("it listens", || !mock.out().is_empty());
    let address = mock.out()[0].strip_prefix("listening on http://").unwrap().parse().unwrap();
    let ask = |path: &str, key: &str| Client::connect(address).get(path, key, &[]).read();
    let call = ask("/v1/calls/call_1", "k2");
    assert_eq!((call.status, call.json()["data"]["status"].as_str()), (200, Some("completed")));
    assert_eq!(
        call.body,
        ask("/v1/calls/call_1", "k1")
            .json()
            .to_string()
            .into_bytes()
            .len()
            .checked_sub(0)
            .map(|_| call.body.clone())
            .unwrap()
    );
    assert_eq!(ask("/v1/calls/call_1", "k3").code(), "UNAUTHORIZED");
    assert_eq!(ask("/v1/calls/call_missing1", "k1").code(), "NOT_FOUND");
    assert_eq!(ask("/v1/calls/call_forbidden1", "k1").code(), "FORBIDDEN");
    assert_eq!(ask("/v1/calls/nonsense", "k1").code(), "INVALID_REQUEST");
    assert_eq!(ask("/v1/calls/call_progress1", "k1").json()["data"]["status"], "in_progress");
    mock.signal("TERM");
    assert_eq!(mock.wait().code(), Some(0));

    let failing =
        Program::start(&mut program(&["mock-upstream", "--listen", "127.0.0.1:0", "--error-rate", "1"]));
    eventually("it listens", || !failing.out().is_empty());
    let address = failing.out()[0].strip_prefix("listening on http://").unwrap().parse().unwrap();
    assert_eq!(Client::connect(address).get("/v1/calls/call_1", "any", &[]).read().status, 500);
}

/// Needs curl.
#[test]
fn a_demo_that_is_started_again_begins_with_a_hit_from_disk() {
    let directory = tempfile::tempdir().unwrap();
    let keep = directory.path().join("kept").display().to_string();
    let mut story = String::new();
    // Another test's demo may use the stand-in's port, and the disk level belongs to one upstream.
    for _ in 0..8 {
        let mut demo = Program::start(&mut program(&["demo", "--keep", &keep]));
        eventually("the demo has begun", || {
            demo.out().iter().any(|line| line.contains("Ctrl-C ends the demo"))
        });
        assert!(demo.out().contains(&format!("credira-gateway demo --keep {keep}")));
        let lookup = demo.out().into_iter().find(|line| line.starts_with("curl ")).unwrap();
        let address = lookup.split("http://").nth(1).unwrap().split('/').next().unwrap().parse().unwrap();
        let token = lookup.split("Bearer ").nth(1).unwrap().trim_end_matches('\'');
        story = Client::connect(address).get("/v1/calls/call_123456789", token, &[]).read().story();
        demo.signal("INT");
        assert_eq!(demo.wait().code(), Some(0));
        if story == "hit; ttl; detail=disk" {
            return;
        }
    }
    panic!("never from disk, the last time {story}");
}

#[test]
fn the_demo_shows_a_miss_a_hit_an_isolation_a_refusal_and_the_metrics() {
    let mut demo = Program::start(&mut program(&["demo"]));
    eventually("the guide is printed", || {
        demo.out().iter().any(|line| line.contains("Ctrl-C ends the demo"))
    });
    let commands: Vec<String> = demo.out().into_iter().filter(|line| line.starts_with("curl ")).collect();
    assert_eq!(commands.len(), 10);
    let folder = tempfile::tempdir().unwrap();
    let Some(_) = crate::support::needed("curl", Command::new("curl").arg("--version").output()) else {
        return;
    };
    let outputs: Vec<String> = commands
        .iter()
        .map(|command| {
            let output = Command::new("sh").args(["-c", command]).current_dir(&folder).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        })
        .collect();
    for (output, expected) in outputs.iter().zip([
        "fwd=uri-miss; fwd-status=200; stored",
        "credira-gateway; hit",
        "fwd=uri-miss; fwd-status=200; stored",
        "UNAUTHORIZED",
        "detail=not-completed",
        "preference-applied: wait=30",
        "",
        "",
        "Transcription of call_123456789",
        "cache_requests_total{outcome=\"hit\",tenant=\"billing\"} 3",
    ]) {
        assert!(output.contains(expected), "{expected} in\n{output}");
    }
    for file in ["call.mp3", "redirected.mp3"] {
        let sound = std::fs::read(folder.path().join(file)).unwrap();
        assert!(sound.len() > 100_000 && sound.starts_with(&[0xff, 0xfb]), "{file}");
    }
    demo.signal("INT");
    assert_eq!(demo.wait().code(), Some(0));
}
