//! Gateways of their own that share a Valkey: their configuration, and the engine's.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{CENTRAL, FLEET, ROOT, gateway, of_kind, pod, rendered};
use crate::deploy::project::{text, words, yaml};
use crate::support::{Authority, Engine, Finished, Upstream, free_address, needed, program, write_config};

fn document(file: &str, kind: &str) -> Value {
    of_kind(&yaml(&format!("{FLEET}/{file}")), kind).clone()
}

fn configuration(folder: &str) -> String {
    yaml(&format!("{folder}/configmap.yaml"))[0]["data"]["gateway.toml"].as_str().unwrap().to_owned()
}

/// Runs what the page says before it names `kubectl`, in a folder.
fn make_secrets(folder: &Path) {
    let page = text(&format!("{ROOT}/README.md"));
    let section = page.split("## A fleet\n").nth(1).unwrap();
    let block = section.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let script = block.split("kubectl ").next().unwrap();
    let mut command = Command::new("sh");
    let output = command.args(["-euc", script]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{script}\n{}", words(&output));
    for file in std::fs::read_dir(folder).unwrap() {
        std::fs::set_permissions(file.unwrap().path(), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}

#[test]
fn the_configuration_of_a_fleet_is_that_of_central_gateways_and_the_engine() {
    let [mut fleet, central]: [toml::Table; 2] =
        [FLEET, CENTRAL].map(|folder| configuration(folder).parse().unwrap());
    let shared = fleet.remove("shared").expect("an engine");
    assert_eq!(fleet, central);
    let service = document("valkey.yaml", "Service");
    let port = &service["spec"]["ports"][0]["port"];
    let url = format!("rediss://{}:{port}", service["metadata"]["name"].as_str().unwrap());
    assert_eq!(shared["urls"][0].as_str(), Some(url.as_str()));
}

/// The list of users is the one that docs/operations.md gives.
#[test]
fn the_page_creates_the_documented_user() {
    let documented = text("docs/operations.md");
    let rules =
        documented.lines().find_map(|line| line.strip_prefix("ACL SETUSER credira on >PASSWORD ")).unwrap();
    let page = text(&format!("{ROOT}/README.md"));
    assert!(page.contains(&format!("\"user credira on >$(cat engine-password) {rules}\" >> users.acl")));
}

/// Needs redis-server and openssl.
#[test]
fn the_engine_starts_as_configured_and_the_gateways_can_use_it() {
    if needed("openssl", Command::new("openssl").arg("version").output()).is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    make_secrets(folder.path());
    let (authority, address) = (Authority::new(), free_address());
    let ip = address.ip().to_string();
    let (cert, key) = authority.certify(&[&ip, "credira-gateway.calls.svc"]).write(folder.path());
    let ca_file = authority.write(folder.path());
    for secret in [&key, &folder.path().join("admin-token")] {
        std::fs::write(folder.path().join("admin-token"), "an-admin-token-of-32-characters-or-more").unwrap();
        std::fs::set_permissions(secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let at = |name: &str| folder.path().join(name).display().to_string();
    let map = document("valkey.yaml", "ConfigMap");
    let written = map["data"]["valkey.conf"].as_str().unwrap();
    let configured = written
        .replace("tls-port 6379", &format!("tls-port {}", address.port()))
        .replace("/run/tls/valkey/tls.crt", cert.to_str().unwrap())
        .replace("/run/tls/valkey/tls.key", key.to_str().unwrap())
        .replace("/run/tls/valkey/ca.crt", ca_file.to_str().unwrap())
        .replace("/run/secrets/valkey/users.acl", &at("users.acl"));
    let mut arguments = vec!["--bind".to_owned(), ip];
    for line in configured.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.split_once(' ').unwrap();
        arguments.extend([format!("--{name}"), value.replace("\"\"", "")]);
    }
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let Some(_engine) = Engine::start_with(&arguments) else { return };

    let upstream = Upstream::contract();
    for name in ["token-billing", "upstream-key-billing"] {
        std::fs::write(folder.path().join(name), format!("a-secret-of-32-characters-for-{name}")).unwrap();
        std::fs::set_permissions(folder.path().join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let configured = configuration(FLEET)
        .replace("rediss://valkey:6379", &format!("rediss://{address}"))
        .replace("https://api.credira.com", &format!("http://{}", upstream.address()))
        .replace("/run/secrets/credira-gateway-fleet", folder.path().to_str().unwrap())
        .replace("/run/secrets/credira-gateway", folder.path().to_str().unwrap())
        .replace("/run/tls/credira-gateway/tls.crt", cert.to_str().unwrap())
        .replace("/run/tls/credira-gateway/tls.key", key.to_str().unwrap())
        .replace("/run/tls/valkey/ca.crt", ca_file.to_str().unwrap())
        .replace("/var/lib/credira-gateway/level", &at("level"));
    let file = write_config(&configured);
    let probed = Finished::of(&mut program(&["check", "--probe", "-c", file.path().to_str().unwrap()]));
    assert_eq!(probed.code, 0, "{probed:?}");
    for line in [
        format!("ok      shared rediss://{address}: connected, certificate verified, "),
        format!(
            "ok      shared rediss://{address}: calls, claims and the fleet's log can be written and read"
        ),
        format!("ok      shared rediss://{address}: maxmemory is 384 MiB, maxmemory-policy volatile-lru"),
    ] {
        assert!(probed.out.contains(&line), "{line} in {}", probed.out);
    }
}

#[test]
fn the_engine_hears_gateways_alone_and_has_room_beside_its_entries() {
    let deployment = document("valkey.yaml", "Deployment");
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    assert_eq!(deployment["metadata"]["labels"]["credira-gateway"], "none", "it gets no sidecar");
    let policies = yaml(&format!("{FLEET}/networkpolicy.yaml"));
    let gateways = &policies[1]["spec"]["podSelector"];
    assert_eq!(gateways["matchExpressions"][0]["values"], serde_json::json!(["sidecar", "central"]));
    assert_eq!(policies[0]["spec"]["ingress"][0]["from"], serde_json::json!([{ "podSelector": gateways }]));
    assert!(policies[0]["spec"]["egress"].is_null(), "it asks no one");
    let engine = &policies[0]["spec"]["podSelector"];
    assert_eq!(&engine["matchLabels"], labels);
    assert_eq!(policies[1]["spec"]["egress"][0]["to"], serde_json::json!([{ "podSelector": engine }]));
    assert_eq!(&document("valkey.yaml", "Service")["spec"]["selector"], labels);
    let container = &pod(&deployment)["containers"][0];
    assert_eq!(container["resources"]["limits"]["memory"], "512Mi");
    let map = document("valkey.yaml", "ConfigMap");
    assert!(map["data"]["valkey.conf"].as_str().unwrap().contains("\nmaxmemory 384mb\n"));
}

/// Needs kubectl.
#[test]
fn the_fleets_secrets_are_mounted_where_its_configuration_looks_for_them() {
    let Some(manifests) = rendered(FLEET) else { return };
    let is_it = |manifest: &&Value| {
        manifest["kind"] == "Deployment" && manifest["metadata"]["name"] == "credira-gateway"
    };
    let workload = manifests.iter().find(is_it).unwrap();
    let mounts = gateway(workload).unwrap()["volumeMounts"].as_array().unwrap();
    let volumes = pod(workload)["volumes"].as_array().unwrap();
    let shared: toml::Table = configuration(FLEET).parse().unwrap();
    let shared = &shared["shared"];
    for (file, secret) in [
        (shared["password"]["file"].as_str().unwrap(), "credira-gateway-fleet"),
        (shared["key"]["file"].as_str().unwrap(), "credira-gateway-fleet"),
        (shared["ca_file"].as_str().unwrap(), "valkey-tls"),
    ] {
        let (folder, key) = file.rsplit_once('/').unwrap();
        let mount = mounts.iter().find(|mount| mount["mountPath"] == folder).unwrap();
        assert_eq!(mount["readOnly"], true);
        let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).unwrap();
        assert_eq!(volume["secret"]["secretName"], secret);
        let items = volume["secret"]["items"].as_array().unwrap();
        assert!(items.iter().any(|item| item["key"] == key && item["path"] == key), "{file}");
        assert!(items.iter().all(|item| item["key"] != "tls.key" && item["key"] != "users.acl"));
    }
    assert!(volumes.iter().any(|volume| volume["name"] == "gateway-secrets"), "what central ones have stays");
}
