//! Monitoring, network policies, and the objects of standalone gateways.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{CENTRAL, ROOT, central, configurations, gateway, of_kind, rendered, sidecar};
use crate::deploy::project::{path, text, yaml};

/// Whether a selector matches the pods with the label `credira-gateway: VALUE`.
fn means(selector: &Value, value: &str) -> bool {
    let labels = selector["matchLabels"].as_object();
    let expressions = selector["matchExpressions"].as_array();
    let by_label =
        labels.is_none_or(|labels| labels.iter().all(|(k, v)| k == "credira-gateway" && v == value));
    let by_expression = expressions.is_none_or(|expressions| {
        expressions.iter().all(|expression| {
            let values = expression["values"].as_array().unwrap();
            expression["key"] == "credira-gateway" && values.iter().any(|one| one == value)
        })
    });
    (labels.is_some() || expressions.is_some()) && by_label && by_expression
}

#[test]
fn monitor_and_policy_mean_the_pods_and_the_port_of_every_gateway() {
    let monitor = yaml(&format!("{ROOT}/monitoring/podmonitor.yaml")).remove(0);
    let policies = yaml(&format!("{ROOT}/networkpolicy/networkpolicy.yaml"));
    for value in ["sidecar", "central"] {
        assert!(means(&monitor["spec"]["selector"], value));
        assert!(means(&policies[0]["spec"]["podSelector"], value));
        let workload = if value == "sidecar" { sidecar() } else { central() };
        assert_eq!(workload["spec"]["template"]["metadata"]["labels"]["credira-gateway"], value);
    }
    assert_eq!(monitor["spec"]["podMetricsEndpoints"][0]["port"], "gateway-admin");
    assert_eq!(policies[0]["spec"]["ingress"][0]["ports"][0]["port"], "gateway-admin");
    assert_eq!(policies[1]["spec"]["ingress"][0]["ports"][0]["port"], "gateway");
    // The job that Prometheus makes of the monitor is one that the rules watch.
    let name = monitor["metadata"]["name"].as_str().unwrap();
    assert!(text("deploy/prometheus/rules.yml").contains(&format!("up{{job=~\".*{name}.*\"}}")));
}

#[test]
fn names_are_resolved_by_the_clusters_dns_and_by_a_cache_on_the_node() {
    let policy = yaml(&format!("{ROOT}/networkpolicy/networkpolicy.yaml")).remove(0);
    let egress = policy["spec"]["egress"].as_array().unwrap();
    let names = egress.iter().find(|rule| rule["ports"][0]["port"] == 53).unwrap();
    let protocols: Vec<_> =
        names["ports"].as_array().unwrap().iter().map(|port| port["protocol"].as_str().unwrap()).collect();
    assert_eq!(protocols, ["UDP", "TCP"]);
    let peers = names["to"].as_array().unwrap();
    let blocks: BTreeSet<_> = peers.iter().filter_map(|peer| peer["ipBlock"]["cidr"].as_str()).collect();
    // NodeLocal DNSCache, and a Service's address.
    assert!(blocks.contains("169.254.20.10/32") && blocks.contains("10.0.0.0/8"), "{blocks:?}");
    assert!(peers.iter().any(|peer| peer["podSelector"]["matchLabels"]["k8s-app"] == "kube-dns"));
}

/// Needs kubectl.
#[test]
fn the_gateways_of_their_own_are_found_spread_kept_and_scaled() {
    let Some(manifests) = rendered(CENTRAL) else { return };
    let deployment = of_kind(&manifests, "Deployment");
    assert!(deployment["spec"]["replicas"].is_null(), "an apply would undo the autoscaler's number");
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    let service = &of_kind(&manifests, "Service")["spec"];
    for (name, value) in service["selector"].as_object().unwrap() {
        assert_eq!(&labels[name], value);
    }
    let ports = gateway(deployment).unwrap()["ports"].as_array().unwrap();
    let port = ports.iter().find(|port| port["name"] == service["ports"][0]["targetPort"]).unwrap();
    let address = configurations()[1]["listen"]["address"].as_str().unwrap().to_owned();
    assert_eq!(address.rsplit(':').next().unwrap(), port["containerPort"].to_string());
    let budget = &of_kind(&manifests, "PodDisruptionBudget")["spec"];
    assert!(means(&budget["selector"], "central"));
    let scaler = &of_kind(&manifests, "HorizontalPodAutoscaler")["spec"];
    assert_eq!(scaler["scaleTargetRef"]["name"], deployment["metadata"]["name"]);
    // The disruption budget allows draining a node, and there are several replicas to spread.
    assert!(scaler["minReplicas"].as_u64().unwrap() > budget["maxUnavailable"].as_u64().unwrap());
    assert!(gateway(deployment).unwrap()["resources"]["requests"]["cpu"].is_string());
}

/// `UPDATE=1` writes it anew.
#[test]
fn the_operators_rules_are_those_of_prometheus() {
    let file = format!("{ROOT}/monitoring/prometheusrule.yaml");
    let rules = text("deploy/prometheus/rules.yml");
    let groups = rules.find("groups:\n").unwrap();
    let indented = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") };
    let body: String = rules[groups..].lines().map(indented).collect();
    let written = text(&file);
    let head = written.split("spec:\n").next().unwrap();
    let wanted = format!("{head}spec:\n{body}");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path(&file), wanted).unwrap();
        return;
    }
    assert_eq!(yaml(&file)[0]["spec"], yaml("deploy/prometheus/rules.yml")[0]);
    assert!(written == wanted, "{file} is not up to date: UPDATE=1");
}
