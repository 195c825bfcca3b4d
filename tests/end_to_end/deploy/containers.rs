//! The image and the compose file. tests/deploy/image.sh builds the image and runs it.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use crate::deploy::project::{check_configuration, path, text, words, yaml};
use crate::support::{Finished, Program, Upstream, eventually, needed, program, write_config};

/// Whether an image is named with an exact version.
fn is_pinned(image: &str) -> bool {
    let Some((name, tag)) = image.rsplit_once(':') else { return false };
    let version = tag.trim_start_matches('v').split('-').next().unwrap();
    let numbers = version.split('.').filter(|part| part.parse::<u32>().is_ok()).count();
    !name.is_empty() && numbers == 3
}

#[test]
fn the_image_is_static_empty_pinned_and_unprivileged() {
    let dockerfile = text("deploy/Dockerfile");
    let lines: Vec<_> = dockerfile.lines().filter(|line| !line.starts_with('#')).collect();
    let after = |word: &str| lines.iter().filter_map(move |line| line.strip_prefix(word)).collect::<Vec<_>>();
    let bases = after("FROM ");
    assert_eq!(bases.len(), 2);
    assert!(is_pinned(bases[0].strip_suffix(" AS build").unwrap()), "{}", bases[0]);
    assert_eq!(bases[1], "scratch");
    assert_eq!(after("USER "), ["65532:65532"]);
    let check = after("HEALTHCHECK ")[0];
    assert!(check.ends_with("CMD [\"/credira-gateway\", \"healthcheck\"]"));
    // The buildah of Debian 12 does not know it.
    assert!(!check.contains("--start-interval"));
    let version = format!("org.opencontainers.image.version=\"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(dockerfile.contains(&version));
    assert!(dockerfile.contains("ARG FEATURES=otlp"));
    assert_eq!(after("ENTRYPOINT "), ["[\"/credira-gateway\"]"]);
    assert_eq!(dockerfile.matches("--mount=type=cache").count(), 3);
    // The build is the one that the scripts in this folder test.
    assert!(dockerfile.contains("deploy/build-static.sh"));
    assert!(text("deploy/build-static.sh").contains("-C target-feature=+crt-static"));
}

/// The cargo command of deploy/build-static.sh on a host with this triple.
fn static_build(host: &str, variables: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    for (name, script) in [
        ("rustc", format!("echo 'rustc 1.95.0'; echo 'host: {host}'")),
        ("cargo", "echo \"cargo $*\" >&2".to_owned()),
    ] {
        let file = folder.path().join(name);
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let tools = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(path("deploy/build-static.sh"));
    command.arg(folder.path().join("target")).env("PATH", tools).env_remove("FEATURES").env_remove("TARGET");
    let output = command.envs(variables.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    words(&output)
}

#[test]
fn the_static_build_is_for_the_host_and_with_traces_unless_something_else_is_asked_for() {
    let said = static_build("aarch64-unknown-linux-gnu", &[]);
    assert!(said.contains("--features otlp --target aarch64-unknown-linux-gnu "), "{said}");
    assert!(said.contains("/aarch64-unknown-linux-gnu/release/credira-gateway"), "{said}");
    let said = static_build("x86_64-unknown-linux-gnu", &[("FEATURES", "")]);
    assert!(said.contains("--features  --target x86_64-unknown-linux-gnu "), "{said}");
    let other = [("TARGET", "riscv64gc-unknown-linux-gnu")];
    assert!(
        static_build("x86_64-unknown-linux-gnu", &other).contains("--target riscv64gc-unknown-linux-gnu ")
    );
}

/// Needs a registry's sources, which are there where this was built.
#[test]
fn the_licence_texts_cover_every_crate_that_is_linked_in() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(path("deploy/licenses.sh"));
    let output = command.arg(folder.path()).arg("static").env_remove("FEATURES").output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let crates = read("crates.txt");
    let (list, texts) = crates.split_once("\n---").unwrap();
    let listed: Vec<_> = list.lines().filter(|line| line.contains(": ")).collect();
    assert!(listed.len() > 100 && list.contains("\nopentelemetry_sdk "), "{list}");
    for line in listed {
        let name = line.split(':').next().unwrap();
        assert!(texts.contains(&format!("\n# {name}\n")), "no text for {name}");
    }
    assert!(read("glibc.txt").contains("GNU LESSER GENERAL PUBLIC LICENSE"));
    assert!(read("rust-library.html").contains("Apache"));
    assert_eq!(read("LICENSE-MIT"), text("LICENSE-MIT"));
}

#[test]
fn the_images_build_inputs_exist() {
    for line in text("deploy/Dockerfile.dockerignore").lines() {
        if let Some(name) = line.strip_prefix('!') {
            assert!(path(name).exists(), "{name}");
        }
    }
}

/// The compose files, each with its gateways.
const COMPOSE: [(&str, &[&str]); 2] =
    [("deploy/compose.yaml", &["gateway"]), ("deploy/compose-fleet.yaml", &["gateway-1", "gateway-2"])];

#[test]
fn the_compose_files_are_pinned_and_closed() {
    for (file, gateways) in COMPOSE {
        let compose = yaml(file).remove(0);
        is_pinned_and_closed(&compose, gateways);
    }
}

fn is_pinned_and_closed(compose: &Value, gateways: &[&str]) {
    let services = compose["services"].as_object().unwrap();
    assert!(gateways.iter().all(|gateway| services.contains_key(*gateway)));
    let mut ports = std::collections::BTreeSet::new();
    for (name, service) in services {
        let image = service["image"].as_str().unwrap();
        assert!(is_pinned(image), "{name}: {image}");
        for port in service["ports"].as_array().into_iter().flatten() {
            assert!(
                port.as_str().unwrap().starts_with("127.0.0.1:"),
                "{name} is open to the network: {port}"
            );
            let own = port.as_str().unwrap().rsplit_once(':').unwrap().0.to_owned();
            assert!(ports.insert(own), "{name}: {port} is another service's, too");
        }
        for mount in service["volumes"].as_array().into_iter().flatten() {
            let file = mount.as_str().unwrap().split(':').next().unwrap();
            assert!(path(&format!("deploy/{file}")).exists(), "{name}: {file}");
            assert!(mount.as_str().unwrap().ends_with(":ro"), "{name} can write to {file}");
        }
    }
    for (name, secret) in compose["secrets"].as_object().unwrap() {
        let file = secret["file"].as_str().unwrap();
        assert!(path(&format!("deploy/{file}")).exists(), "{name}: {file}");
    }
}

#[test]
fn the_configurations_of_the_compose_files_are_valid() {
    for (file, gateways) in COMPOSE {
        let compose = yaml(file).remove(0);
        let text = compose["configs"]["gateway"]["content"].as_str().unwrap();
        let checked = check_configuration(text, "/run/secrets");
        assert_eq!(checked.code, 0, "{checked:?}");
        assert!(checked.out.contains("valid, 1 tenant"), "{checked:?}");
        for gateway in gateways {
            let secrets = compose["services"][gateway]["secrets"].as_array().unwrap();
            let has = |name: &str| secrets.iter().any(|secret| secret == name);
            let named = text.split("/run/secrets/").skip(1).map(|rest| rest.split('"').next().unwrap());
            assert!(named.clone().count() > 2 && named.into_iter().all(has), "{file}: {secrets:?}");
        }
    }
}

/// The engine's own command, with Debian's program and a socket in place of the port.
#[test]
fn the_engine_of_the_compose_file_starts_and_the_gateways_can_use_it() {
    if needed("redis-server", Command::new("redis-server").arg("--version").output()).is_none() {
        return;
    }
    let compose = yaml("deploy/compose-fleet.yaml").remove(0);
    let command = compose["services"]["valkey"]["command"].as_array().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("engine.sock");
    let script = command[2].as_str().unwrap().replace("$$", "$").replace("valkey-server", "redis-server");
    let script = script
        .replace("--port 6379", &format!("--port 0 --unixsocket {}", socket.display()))
        .replace("/run/secrets", path("deploy/compose-secrets").to_str().unwrap());
    let mut shell = Command::new(command[0].as_str().unwrap());
    let shell = shell.arg(command[1].as_str().unwrap()).arg(script).current_dir(&folder);
    let engine = Program::start(shell);
    eventually("the engine listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    let upstream = Upstream::contract();
    let text = compose["configs"]["gateway"]["content"].as_str().unwrap();
    let text = text
        .replace("redis://valkey:6379", &format!("unix:{}", socket.display()))
        .replace("http://upstream:8081", &format!("http://{}", upstream.address()))
        .replace("/run/secrets", folder.path().to_str().unwrap());
    for name in ["gateway-token", "upstream-key", "admin-token", "engine-password", "fleet-key"] {
        let file = folder.path().join(name);
        std::fs::copy(path(&format!("deploy/compose-secrets/{name}")), &file).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let file = write_config(&text);
    let probed = Finished::of(&mut program(&["check", "--probe", "-c", file.path().to_str().unwrap()]));
    assert!(probed.code == 0 && !probed.out.contains("risk "), "{probed:?}");
    assert!(probed.out.contains("maxmemory is 64 MiB, maxmemory-policy volatile-lru"), "{probed:?}");
    drop(engine);
}

#[test]
fn the_commands_of_the_compose_files_are_the_programs() {
    for (file, _) in COMPOSE {
        let compose = yaml(file).remove(0);
        starts_upstream(&compose);
    }
}

fn starts_upstream(compose: &Value) {
    let command = compose["services"]["upstream"]["command"].as_array().unwrap();
    let words: Vec<_> =
        command.iter().map(|word| word.as_str().unwrap().replace("0.0.0.0:8081", "127.0.0.1:0")).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let upstream = Program::start(&mut program(&words));
    eventually("it listens", || upstream.out().iter().any(|line| line.contains("listening")));
}
