//! The settings of a gateway's container: configuration, secrets, probes, permissions and termination time.

use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use serde_json::Value;

use super::{CENTRAL, ROOT, central, configurations, gateway, pod, seconds, sidecar};
use crate::deploy::project::{check_configuration, text, yaml};
use crate::support::{Authority, Finished, needed, write_config};

const SECRETS: &str = "/run/secrets/credira-gateway";

/// A Secret's files belong to root's group, where a pod has no fsGroup. Needs setpriv, and root.
#[test]
fn the_gateways_user_can_read_the_files_of_its_secret_without_an_fs_group() {
    for workload in [sidecar(), central()] {
        let volumes = pod(&workload)["volumes"].as_array().unwrap();
        let volume = volumes.iter().find(|volume| volume["name"] == "gateway-secrets").unwrap();
        // Octal in YAML 1.1, which Kubernetes reads; to our reader it is a decimal number.
        let written = volume["secret"]["defaultMode"].as_f64().unwrap().to_string();
        let mode = u32::from_str_radix(&written, 8).unwrap();
        assert_eq!(mode & 0o007, 0, "readable by everyone");
        let context = &gateway(&workload).unwrap()["securityContext"];
        let [user, group] = ["runAsUser", "runAsGroup"].map(|key| context[key].as_u64().unwrap());

        let folder = tempfile::tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "a secret").unwrap();
        if chown(&file, Some(0), Some(0)).is_err() {
            return; // Not root: nothing can be said.
        }
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let reads_as = |group: u64| {
            let (user, group) = (format!("--reuid={user}"), format!("--regid={group}"));
            let mut command = Command::new("setpriv");
            command.args([&user, &group, "--clear-groups", "--bounding-set=-all", "cat"]).arg(&file);
            needed("setpriv", command.output()).map(|output| output.status.success())
        };
        let (Some(as_written), Some(as_another)) = (reads_as(group), reads_as(65532)) else { return };
        assert!(as_written);
        assert!(!as_another, "the group makes no difference: is the file readable by everyone?");
    }
}

#[test]
fn the_configuration_of_the_sidecar_is_valid() {
    let map = yaml(&format!("{ROOT}/sidecar/configmap.yaml")).remove(0);
    let checked = check_configuration(map["data"]["gateway.toml"].as_str().unwrap(), SECRETS);
    assert_eq!(checked.code, 0, "{checked:?}");
    // The kubelet and Prometheus come without TLS.
    let warning = "warning: admin.address: 0.0.0.0:9090 serves plain HTTP to other machines";
    assert!(checked.err.starts_with(warning) && checked.err.lines().count() == 1, "{checked:?}");
    assert!(checked.out.contains("valid, 1 tenant"));
}

#[test]
fn the_configuration_of_the_gateways_of_their_own_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = Authority::new().certify(&["credira-gateway.calls.svc"]).write(folder.path());
    for name in ["admin-token", "token-billing", "upstream-key-billing"] {
        let file = folder.path().join(name);
        std::fs::write(&file, format!("a-secret-of-32-characters-for-{name}")).unwrap();
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let map = yaml(&format!("{CENTRAL}/configmap.yaml")).remove(0);
    let text = map["data"]["gateway.toml"].as_str().unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = text
        .replace(SECRETS, folder.path().to_str().unwrap())
        .replace("/run/tls/credira-gateway/tls.crt", certificate.to_str().unwrap())
        .replace("/run/tls/credira-gateway/tls.key", key.to_str().unwrap());
    let file = write_config(&text);
    let mut check = crate::support::program(&["check", "--config", file.path().to_str().unwrap()]);
    let checked = Finished::of(&mut check);
    assert_eq!(checked.code, 0, "{checked:?}");
    // The kubelet and Prometheus come without TLS.
    let warning = "warning: admin.address: 0.0.0.0:9090 serves plain HTTP to other machines";
    assert!(checked.err.starts_with(warning) && checked.err.lines().count() == 1, "{checked:?}");
}

/// The mount path of a volume.
fn mount(container: &Value, volume: &str) -> String {
    let mounts = container["volumeMounts"].as_array().unwrap();
    let mount = mounts.iter().find(|mount| mount["name"] == volume).unwrap();
    assert_eq!(mount["readOnly"], true);
    // Files that are mounted one by one are never updated.
    assert!(mount["subPath"].is_null());
    mount["mountPath"].as_str().unwrap().to_owned()
}

#[test]
fn secrets_come_as_files_and_the_page_says_how_to_make_each() {
    let page = text(&format!("{ROOT}/README.md"));
    for (configuration, workload) in configurations().iter().zip([sidecar(), central()]) {
        let container = gateway(&workload).unwrap();
        assert!(container["env"].is_null(), "secrets of the gateway are not in its environment");
        let folder = mount(container, "gateway-secrets");
        let tenant = &configuration["tenants"][0];
        for wanted in [&tenant["tokens"][0], &tenant["upstream_key"], &configuration["admin"]["token"]] {
            let file = wanted["file"].as_str().expect("a file");
            let key = file.strip_prefix(&format!("{folder}/")).unwrap_or_else(|| panic!("{file}: {folder}"));
            let general = key.replace("billing", "NAME");
            assert!(
                page.contains(&format!("--from-file={key}")) || page.contains(&format!("`{general}`")),
                "{key}"
            );
        }
        for volume in pod(&workload)["volumes"].as_array().unwrap() {
            if let Some(secret) = volume["secret"]["secretName"].as_str() {
                assert!(page.contains(secret), "the page does not name the Secret {secret}");
            }
        }
    }
}

#[test]
fn the_gateway_has_probes_that_the_program_answers_and_the_sidecar_is_a_native_one() {
    assert_eq!(gateway(&sidecar()).unwrap()["restartPolicy"], "Always");
    assert!(pod(&sidecar())["containers"].is_null());
    for (configuration, workload) in configurations().iter().zip([sidecar(), central()]) {
        let container = gateway(&workload).unwrap();
        let arguments: Vec<_> =
            container["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        let file = format!("{}/gateway.toml", mount(container, "gateway-config"));
        assert_eq!(arguments, ["serve", "--config", &file]);
        let ports = container["ports"].as_array().unwrap();
        let port = ports.iter().find(|port| port["name"] == "gateway-admin").unwrap();
        let admin = configuration["admin"]["address"].as_str().unwrap();
        assert_eq!(admin.rsplit(':').next().unwrap(), port["containerPort"].to_string());
        for (probe, path) in
            [("startupProbe", "/readyz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/livez")]
        {
            assert_eq!(container[probe]["httpGet"]["path"], path, "{probe}");
            assert_eq!(container[probe]["httpGet"]["port"], port["name"], "{probe}");
        }
    }
}

#[test]
fn the_gateways_container_keeps_to_the_restricted_standard_whatever_its_pod_says() {
    for workload in [sidecar(), central()] {
        assert!(pod(&workload)["securityContext"].is_null(), "that is the pod's own");
        let container = gateway(&workload).unwrap();
        let context = &container["securityContext"];
        assert_eq!(context["runAsNonRoot"], true);
        assert_ne!(context["runAsUser"].as_u64().unwrap(), 0);
        assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault");
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["capabilities"]["drop"][0], "ALL");
        assert!(container["resources"]["limits"]["memory"].is_string());
        assert!(
            pod(&workload)["volumes"].as_array().unwrap().iter().all(|volume| volume["hostPath"].is_null())
        );
    }
}

#[test]
fn the_grace_period_is_longer_than_the_drain() {
    let [beside, own] = configurations();
    // What a pod has that says nothing of it.
    assert!(seconds(&beside, "grace") + seconds(&beside, "drain_timeout") < 30);
    let period = pod(&central())["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(period > seconds(&own, "grace") + seconds(&own, "drain_timeout"));
    // Until the probe has noticed.
    let central = central();
    let probe = &gateway(&central).unwrap()["readinessProbe"];
    let noticed = probe["periodSeconds"].as_u64().unwrap() * probe["failureThreshold"].as_u64().unwrap();
    assert!(seconds(&own, "grace") > noticed);
}
