//! The Kubernetes manifests.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::project::{check_configuration, files, path, text, words, yaml};
use crate::support::needed;

const BASE: &str = "deploy/kubernetes/base";
const EXAMPLE: &str = "deploy/kubernetes/example";

/// The oldest version that starts sidecars by itself, and a later one.
const VERSIONS: [&str; 2] = ["1.29", "1.33"];

fn manifest(name: &str) -> Value {
    yaml(&format!("{BASE}/{name}.yaml")).remove(0)
}

fn pod() -> Value {
    manifest("deployment")["spec"]["template"]["spec"].clone()
}

fn sidecar() -> Value {
    pod()["initContainers"][0].clone()
}

/// The files that kustomize reads as manifests.
fn manifests() -> Vec<String> {
    let all = files(BASE, ".yaml").into_iter().chain(files(EXAMPLE, ".yaml"));
    all.filter(|name| !name.ends_with("/kustomization.yaml")).collect()
}

/// Has kubernetes-validate judge files. It knows Kubernetes' own kinds, not the operator's PodMonitor.
fn validate(files: &[String], version: &str) {
    let mut command = Command::new("kubernetes-validate");
    command.args(["--strict", "--kubernetes-version", version]).args(files);
    let Some(output) = needed("kubernetes-validate", command.output()) else { return };
    let said = words(&output);
    assert!(output.status.success(), "{said}");
    for line in said.lines().filter(|line| line.starts_with("WARN")) {
        assert!(line.contains("PodMonitor"), "{line}");
    }
    assert!(said.contains("passed for resource deployment/application"), "{said}");
}

/// Needs kubernetes-validate.
#[test]
fn the_manifests_are_valid() {
    let all: Vec<String> = manifests().iter().map(|name| path(name).display().to_string()).collect();
    for version in VERSIONS {
        validate(&all, version);
    }
}

/// Needs kubectl, which has kustomize built in.
#[test]
fn kustomize_makes_valid_manifests_of_the_example() {
    let Some(output) =
        needed("kubectl", Command::new("kubectl").arg("kustomize").arg(path(EXAMPLE)).output())
    else {
        return;
    };
    assert!(output.status.success(), "{}", words(&output));
    let made = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(made.path(), &output.stdout).unwrap();
    validate(&[made.path().display().to_string()], VERSIONS[1]);
    let made: Vec<Value> = serde_saphyr::from_multiple(&String::from_utf8(output.stdout).unwrap()).unwrap();
    assert_eq!(made.len(), 5);
    assert!(made.iter().all(|manifest| manifest["metadata"]["namespace"] == "calls"));
    let deployment = made.iter().find(|manifest| manifest["kind"] == "Deployment").unwrap();
    let image = &deployment["spec"]["template"]["spec"]["initContainers"][0]["image"];
    assert_eq!(image, "example/credira-gateway:0.1.0");
}

#[test]
fn everything_is_in_the_kustomization() {
    for folder in [BASE, EXAMPLE] {
        let kustomization = yaml(&format!("{folder}/kustomization.yaml")).remove(0);
        let listed: BTreeSet<String> = kustomization["resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| format!("{folder}/{}", name.as_str().unwrap()))
            .filter(|name| name.ends_with(".yaml"))
            .collect();
        let there: BTreeSet<String> =
            manifests().into_iter().filter(|name| name.starts_with(&format!("{folder}/"))).collect();
        assert_eq!(listed, there);
    }
}

#[test]
fn the_configuration_in_the_config_map_is_valid() {
    let map = manifest("configmap");
    let text = map["data"]["gateway.toml"].as_str().expect("the file that the sidecar is told to read");
    let checked = check_configuration(text, "/run/secrets/credira-gateway");
    assert_eq!((checked.code, checked.err.as_str()), (0, ""), "{checked:?}");
    assert!(checked.out.contains("valid, 1 tenant"));
}

#[test]
fn secrets_come_as_files_and_the_example_has_each_of_them() {
    let map = manifest("configmap");
    let configuration: toml::Table = map["data"]["gateway.toml"].as_str().unwrap().parse().unwrap();
    let folder = mount("gateway-secrets");
    let secret = yaml(&format!("{EXAMPLE}/secret.yaml")).remove(0);
    let tenant = &configuration["tenants"][0];
    for wanted in [&tenant["tokens"][0], &tenant["upstream_key"], &configuration["admin"]["token"]] {
        let file = wanted["file"].as_str().expect("a file");
        let key =
            file.strip_prefix(&format!("{folder}/")).unwrap_or_else(|| panic!("{file} is not in {folder}"));
        assert!(secret["stringData"][key].is_string(), "the example has no {key}");
    }
    assert!(sidecar()["env"].is_null(), "secrets of the gateway are not in its environment");
}

/// Where the sidecar finds a volume.
fn mount(volume: &str) -> String {
    let sidecar = sidecar();
    let mounts = sidecar["volumeMounts"].as_array().unwrap();
    let mount = mounts.iter().find(|mount| mount["name"] == volume).unwrap();
    assert_eq!(mount["readOnly"], true);
    // Files that are mounted one by one are never renewed.
    assert!(mount["subPath"].is_null());
    mount["mountPath"].as_str().unwrap().to_owned()
}

#[test]
fn the_gateway_is_a_native_sidecar_with_probes_that_the_program_answers() {
    let sidecar = sidecar();
    assert_eq!(sidecar["restartPolicy"], "Always");
    let arguments: Vec<_> =
        sidecar["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(arguments, ["serve", "--config", &format!("{}/gateway.toml", mount("gateway-config"))]);
    let port = &sidecar["ports"][0];
    let configuration: toml::Table =
        manifest("configmap")["data"]["gateway.toml"].as_str().unwrap().parse().unwrap();
    let admin = configuration["admin"]["address"].as_str().unwrap();
    assert_eq!(admin.rsplit(':').next().unwrap(), port["containerPort"].to_string());
    for (probe, path) in
        [("startupProbe", "/readyz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/livez")]
    {
        assert_eq!(sidecar[probe]["httpGet"]["path"], path, "{probe}");
        assert_eq!(sidecar[probe]["httpGet"]["port"], port["name"], "{probe}");
    }
}

#[test]
fn every_container_keeps_to_the_restricted_pod_security_standard() {
    let pod = pod();
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_ne!(pod["securityContext"]["runAsUser"], 0);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(pod["automountServiceAccountToken"], false);
    let kinds = ["initContainers", "containers"];
    for container in kinds.iter().flat_map(|kind| pod[kind].as_array().unwrap()) {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false, "{}", container["name"]);
        assert_eq!(context["readOnlyRootFilesystem"], true, "{}", container["name"]);
        assert_eq!(context["capabilities"]["drop"][0], "ALL", "{}", container["name"]);
        assert!(container["resources"]["limits"]["memory"].is_string(), "{}", container["name"]);
    }
    for volume in pod["volumes"].as_array().unwrap() {
        assert!(volume["hostPath"].is_null());
    }
}

#[test]
fn the_grace_period_is_longer_than_the_drain() {
    let configuration: toml::Table =
        manifest("configmap")["data"]["gateway.toml"].as_str().unwrap().parse().unwrap();
    let drain = configuration["shutdown"]["drain_timeout"].as_str().unwrap();
    let drain: u64 = drain.strip_suffix('s').unwrap().parse().unwrap();
    assert!(pod()["terminationGracePeriodSeconds"].as_u64().unwrap() > drain);
}

#[test]
fn monitor_and_policy_mean_the_pods_and_the_port_of_the_sidecar() {
    let labels = manifest("deployment")["spec"]["template"]["metadata"]["labels"].clone();
    let (monitor, policy) = (manifest("podmonitor"), manifest("networkpolicy"));
    for selector in [&monitor["spec"]["selector"], &policy["spec"]["podSelector"]] {
        for (name, value) in selector["matchLabels"].as_object().unwrap() {
            assert_eq!(&labels[name], value);
        }
    }
    let port = sidecar()["ports"][0].clone();
    assert_eq!(monitor["spec"]["podMetricsEndpoints"][0]["port"], port["name"]);
    assert_eq!(policy["spec"]["ingress"][0]["ports"][0]["port"], port["containerPort"]);
    // The job that Prometheus makes of the monitor is one that the rules watch.
    let name = monitor["metadata"]["name"].as_str().unwrap();
    assert!(text("deploy/prometheus/rules.yml").contains(&format!("up{{job=~\".*{name}.*\"}}")));
}
