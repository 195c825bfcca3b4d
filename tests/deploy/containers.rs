//! The image and the compose file. No container is built or started here: that needs a container
//! runtime and images from elsewhere.

use crate::project::{check_configuration, path, text, yaml};

/// Whether an image is named with an exact version.
fn is_pinned(image: &str) -> bool {
    let Some((name, tag)) = image.rsplit_once(':') else { return false };
    let version = tag.trim_start_matches('v').split('-').next().unwrap();
    let numbers = version.split('.').filter(|part| part.parse::<u32>().is_ok()).count();
    !name.is_empty() && numbers == 3
}

#[test]
fn the_image_is_static_empty_pinned_and_nobodys() {
    let dockerfile = text("deploy/Dockerfile");
    let lines: Vec<_> = dockerfile.lines().filter(|line| !line.starts_with('#')).collect();
    let after = |word: &str| lines.iter().filter_map(move |line| line.strip_prefix(word)).collect::<Vec<_>>();
    let bases = after("FROM ");
    assert_eq!(bases.len(), 2);
    assert!(is_pinned(bases[0].strip_suffix(" AS build").unwrap()), "{}", bases[0]);
    assert_eq!(bases[1], "scratch");
    assert_eq!(after("USER "), ["65532:65532"]);
    assert!(after("HEALTHCHECK ")[0].ends_with("CMD [\"/credira-gateway\", \"healthcheck\"]"));
    assert_eq!(after("ENTRYPOINT "), ["[\"/credira-gateway\"]"]);
    assert_eq!(dockerfile.matches("--mount=type=cache").count(), 3);
    // The build is the one that the scripts beside this try.
    assert!(dockerfile.contains("deploy/build-static.sh"));
    assert!(text("deploy/build-static.sh").contains("-C target-feature=+crt-static"));
}

#[test]
fn what_the_image_is_built_from_is_there() {
    for line in text("deploy/Dockerfile.dockerignore").lines() {
        if let Some(name) = line.strip_prefix('!') {
            assert!(path(name).exists(), "{name}");
        }
    }
}

#[test]
fn the_compose_file_is_pinned_and_closed() {
    let compose = yaml("deploy/compose.yaml").remove(0);
    let services = compose["services"].as_object().unwrap();
    assert!(services.contains_key("gateway"));
    for (name, service) in services {
        let image = service["image"].as_str().unwrap();
        assert!(is_pinned(image), "{name}: {image}");
        for port in service["ports"].as_array().into_iter().flatten() {
            assert!(
                port.as_str().unwrap().starts_with("127.0.0.1:"),
                "{name} is open to the network: {port}"
            );
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
fn the_compose_files_configuration_is_valid() {
    let compose = yaml("deploy/compose.yaml").remove(0);
    let text = compose["configs"]["gateway"]["content"].as_str().unwrap();
    let checked = check_configuration(text, "/run/secrets");
    assert_eq!(checked.code, 0, "{checked:?}");
    assert!(checked.out.contains("valid, 1 tenant"), "{checked:?}");
}

#[test]
fn the_commands_of_the_compose_file_are_the_programs() {
    let compose = yaml("deploy/compose.yaml").remove(0);
    let command = compose["services"]["upstream"]["command"].as_array().unwrap();
    let words: Vec<_> =
        command.iter().map(|word| word.as_str().unwrap().replace("0.0.0.0:8081", "127.0.0.1:0")).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let upstream = crate::support::Program::start(&mut crate::support::program(&words));
    crate::support::eventually("it listens", || upstream.out().iter().any(|line| line.contains("listening")));
}
