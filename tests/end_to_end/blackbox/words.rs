//! Help texts and messages, compared with the snapshots in `tests/snapshots/`.
//!
//! `UPDATE=1 cargo test --test end_to_end words` regenerates them; review the difference.

use std::path::{Path, PathBuf};

use crate::support::{Config, Finished, Upstream, program};

fn snapshots() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots")
}

/// Compares a text with its snapshot. White space at the ends of lines is ignored.
fn assert_snapshot(name: &str, text: &str) {
    let path = snapshots().join(name);
    let text: String = text.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == text,
        "{} differs; UPDATE=1 writes it anew. It would be:\n{text}",
        path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().display()
    );
}

/// As on a terminal of 100 columns.
fn run(arguments: &[&str]) -> Finished {
    Finished::of(program(arguments).env("COLUMNS", "100").current_dir(snapshots()))
}

/// The commands that a command's help lists.
fn subcommands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = listed.take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(String::from).collect()
}

#[test]
fn every_commands_help_is_as_it_was_approved() {
    let mut commands = vec![Vec::<String>::new()];
    let mut seen = Vec::new();
    while let Some(command) = commands.pop() {
        let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        arguments.push("--help");
        let help = run(&arguments);
        assert_eq!((help.code, help.err.as_str()), (0, ""), "{command:?}");
        assert!(help.out.contains("Example"), "{command:?} has no example");
        let name = if command.is_empty() { "credira-gateway".to_owned() } else { command.join("-") };
        assert_snapshot(&format!("help/{name}.txt"), &help.out);
        seen.push(format!("{name}.txt"));
        commands.extend(subcommands(&help.out).into_iter().map(|sub| [command.clone(), vec![sub]].concat()));
    }
    let kept = std::fs::read_dir(snapshots().join("help")).unwrap();
    for file in kept.map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
        assert!(seen.contains(&file), "tests/snapshots/help/{file} is of no command");
    }
}

#[test]
fn a_bad_configuration_is_reported_as_it_was_approved() {
    let checked = run(&["check", "--config", "invalid.toml"]);
    assert_eq!((checked.code, checked.out.as_str()), (78, ""));
    assert!(!checked.err.contains("hunter2"), "{}", checked.err);
    assert_snapshot("invalid.txt", &checked.err);
}

#[test]
fn wrong_usage_is_answered_as_it_was_approved() {
    let mut text = String::new();
    for arguments in [
        &["frobnicate"][..],
        &["serve", "--config"],
        &["check", "--config", "no-such-file.toml"],
        &["mock-upstream", "--listen", "8081"],
        &["mock-upstream", "--listen", "127.0.0.1:0", "--latency", "5"],
        &["mock-upstream", "--listen", "127.0.0.1:0", "--error-rate", "2"],
        &["purge"],
        &["purge", "--all", "billing"],
        &["stats", "--admin", "localhost:70000"],
        &["explain", "billing"],
        &["explain", "billing", "call_1?x", "--admin", "127.0.0.1:1"],
    ] {
        let finished = run(arguments);
        assert_eq!(finished.out, "", "{arguments:?}");
        text += &format!(
            "$ credira-gateway {}\n{}(exit {})\n\n",
            arguments.join(" "),
            finished.err,
            finished.code
        );
    }
    assert_snapshot("usage.txt", &text);
}

#[test]
fn an_override_of_no_key_suggests_the_nearest() {
    let checked =
        Finished::of(program(&["check", "-c", "/dev/null"]).env("CREDIRA_GATEWAY__CACHE__TLL", "1h"));
    let line = "environment variable CREDIRA_GATEWAY__CACHE__TLL: cache.tll: overrides no key of the configuration; \
                did you mean `ttl`?";
    assert!(checked.code == 78 && checked.err.contains(line), "{checked:?}");
}

#[test]
fn the_admin_plane_names_what_does_not_exist() {
    let upstream = Upstream::contract();
    let gateway = Config::default().start(&upstream);
    let admin = gateway.admin.to_string();
    let failed = |arguments: &[&str]| {
        let finished = run(&[arguments, &["--admin", &admin]].concat());
        assert_eq!((finished.code, finished.out.as_str()), (1, ""), "{arguments:?}");
        finished.err
    };
    for arguments in
        [&["explain", "nobody", "call_1"][..], &["purge", "nobody"], &["purge", "nobody", "call_1"]]
    {
        let told = failed(arguments);
        assert!(told.ends_with("404 Not Found: No tenant of this name is configured\n"), "{told}");
    }
    let entry = gateway.admin("/api/v1/cache/alpha/call_1");
    assert!(entry.text().contains("No entry is stored for this call of this tenant"), "{}", entry.text());
}

#[test]
fn healthcheck_speaks_json_too() {
    let upstream = Upstream::contract();
    let gateway = Config::default().with("shutdown", "grace = \"5s\"").start(&upstream);
    let ask = || {
        let asked = run(&["healthcheck", "--json", "--admin", &gateway.admin.to_string()]);
        assert_eq!(asked.err, "");
        let told: serde_json::Value = serde_json::from_str(&asked.out).unwrap();
        (asked.code, told["ready"].as_bool().unwrap(), told["state"].as_str().unwrap().to_owned())
    };
    assert_eq!(ask(), (0, true, "ready".into()));
    gateway.process.signal("TERM");
    gateway.process.err_line("about the drain", |line| line.contains("draining"));
    crate::support::eventually("the drain is reported", || ask() == (1, false, "draining".into()));
}
