//! The Kubernetes manifests, as kustomize renders them.

mod cluster;
mod fleet;
mod pods;

use std::process::Command;

use serde_json::Value;

use crate::deploy::project::{path, words, yaml};
use crate::support::needed;

const ROOT: &str = "deploy/kubernetes";
const EXAMPLE: &str = "deploy/kubernetes/example";
const CENTRAL: &str = "deploy/kubernetes/central";
const FLEET: &str = "deploy/kubernetes/fleet";
/// Foreign workloads that use the component.
const FOREIGN: [&str; 2] = ["tests/kubernetes/plain", "tests/kubernetes/grown"];

/// The oldest version with native sidecars, and a later one.
const VERSIONS: [&str; 2] = ["1.29", "1.33"];

/// The objects that kustomize renders from a folder. `None` where kubectl, which has kustomize built in, is missing.
fn rendered(folder: &str) -> Option<Vec<Value>> {
    let output = needed("kubectl", Command::new("kubectl").arg("kustomize").arg(path(folder)).output())?;
    assert!(output.status.success(), "{folder}: {}", words(&output));
    Some(serde_saphyr::from_multiple(&String::from_utf8(output.stdout).unwrap()).unwrap())
}

fn of_kind<'a>(manifests: &'a [Value], kind: &str) -> &'a Value {
    manifests.iter().find(|manifest| manifest["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

fn pod(workload: &Value) -> &Value {
    &workload["spec"]["template"]["spec"]
}

/// The gateway's container in a pod, on its own or beside others.
fn gateway(workload: &Value) -> Option<&Value> {
    let kinds = ["initContainers", "containers"].map(|kind| pod(workload)[kind].as_array());
    kinds.into_iter().flatten().flatten().find(|container| container["name"] == "credira-gateway")
}

/// The patch that adds the sidecar.
fn sidecar() -> Value {
    yaml(&format!("{ROOT}/sidecar/sidecar.yaml")).remove(0)
}

fn central() -> Value {
    yaml(&format!("{CENTRAL}/deployment.yaml")).remove(0)
}

/// The configurations that come with the sidecar and with the gateways of their own.
fn configurations() -> [toml::Table; 2] {
    [format!("{ROOT}/sidecar/configmap.yaml"), format!("{CENTRAL}/configmap.yaml")].map(|file| {
        yaml(&file).remove(0)["data"]["gateway.toml"].as_str().expect("a configuration").parse().unwrap()
    })
}

fn seconds(configuration: &toml::Table, key: &str) -> u64 {
    let value = configuration["shutdown"].get(key).map_or("0s", |value| value.as_str().unwrap());
    value.strip_suffix('s').unwrap().parse().unwrap()
}

/// Needs kubernetes-validate and kubectl.
#[test]
fn every_kustomization_renders_to_valid_manifests_without_a_secret() {
    for folder in [EXAMPLE, CENTRAL, FLEET, FOREIGN[0], FOREIGN[1]] {
        let Some(manifests) = rendered(folder) else { return };
        assert!(manifests.iter().all(|manifest| manifest["kind"] != "Secret"), "{folder} installs a Secret");
        let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        let documents: Vec<_> = manifests.iter().map(Value::to_string).collect();
        std::fs::write(file.path(), documents.join("\n---\n")).unwrap();
        for version in VERSIONS {
            let mut command = Command::new("kubernetes-validate");
            command.args(["--strict", "--kubernetes-version", version]).arg(file.path());
            let Some(output) = needed("kubernetes-validate", command.output()) else { return };
            let said = words(&output);
            assert!(output.status.success(), "{folder}: {said}");
            // It validates Kubernetes' own kinds, not the operator's.
            for line in said.lines().filter(|line| line.starts_with("WARN")) {
                assert!(line.contains("PodMonitor") || line.contains("PrometheusRule"), "{line}");
            }
            assert!(said.contains("passed for resource deployment/"), "{said}");
        }
    }
}

/// Needs kubectl.
#[test]
fn the_component_adds_the_sidecar_to_foreign_workloads_and_changes_nothing_else() {
    let mut changed = 0;
    for folder in FOREIGN {
        let Some(manifests) = rendered(folder) else { return };
        let written = ["deployment", "statefulset", "without"].map(|name| format!("{folder}/{name}.yaml"));
        for file in written.iter().filter(|file| path(file).exists()) {
            let written = yaml(file).remove(0);
            let name = written["metadata"]["name"].as_str().unwrap();
            let is_it = |manifest: &&Value| {
                manifest["kind"] == written["kind"]
                    && manifest["metadata"]["name"].as_str().unwrap().ends_with(name)
            };
            let mut made = manifests.iter().find(is_it).unwrap().clone();
            if written["metadata"]["labels"]["credira-gateway"] == "none" {
                assert_eq!(made["spec"], written["spec"], "{name} was to be left alone");
                continue;
            }
            assert!(gateway(&made).is_some(), "{name} has no gateway");
            changed += 1;
            // Without the additions it is unchanged.
            let template = &mut made["spec"]["template"];
            let labels = template["metadata"]["labels"].as_object_mut().unwrap();
            assert_eq!(labels.remove("credira-gateway").unwrap(), "sidecar");
            let pod = template["spec"].as_object_mut().unwrap();
            for kind in ["initContainers", "volumes"] {
                let added = |item: &Value| {
                    let name = item["name"].as_str().unwrap();
                    name == "credira-gateway" || name.starts_with("gateway-")
                };
                let items = pod[kind].as_array_mut().unwrap();
                items.retain(|item| !added(item));
                if items.is_empty() {
                    pod.remove(kind);
                }
            }
            assert_eq!(made["spec"], written["spec"], "{name}");
        }
    }
    assert_eq!(changed, 3);
}

/// Needs kubectl.
#[test]
fn configuration_and_resources_of_the_sidecar_can_be_patched() {
    let Some(manifests) = rendered(FOREIGN[1]) else { return };
    let map = of_kind(&manifests, "ConfigMap");
    assert!(map["data"]["gateway.toml"].as_str().unwrap().contains("name = \"invoices\""));
    let workload = of_kind(&manifests, "Deployment");
    assert_eq!(gateway(workload).unwrap()["resources"]["limits"]["memory"], "1Gi");
    // With a name prefix, the volume refers to the renamed map.
    let volumes = pod(workload)["volumes"].as_array().unwrap();
    let mounted = volumes.iter().find(|volume| volume["name"] == "gateway-config").unwrap();
    assert_eq!(mounted["configMap"]["name"], map["metadata"]["name"]);
}

/// Needs kubectl.
#[test]
fn the_example_takes_namespace_and_image_of_its_own() {
    let Some(manifests) = rendered(EXAMPLE) else { return };
    assert!(manifests.iter().all(|manifest| manifest["metadata"]["namespace"] == "calls"));
    let image = &gateway(of_kind(&manifests, "Deployment")).unwrap()["image"];
    assert_eq!(image, "registry.example.com/credira-gateway:0.1.0");
}
