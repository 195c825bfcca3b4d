//! Names of environment variables: which ones override a key, and which ones merely resemble an override.

/// The prefix of environment variables that override a key.
const PREFIX: &str = "CREDIRA_GATEWAY__";

/// The path of the key that a variable overrides, one step per level. `None` for every other variable.
pub(crate) fn overridden_key(name: &str) -> Option<Vec<String>> {
    let path = name.strip_prefix(PREFIX).filter(|_| !is_of_service(name))?;
    Some(path.split("__").map(str::to_ascii_lowercase).collect())
}

/// Whether a variable was probably meant to override a key: one underscore instead of two.
pub(crate) fn resembles_override(name: &str) -> bool {
    let of_ours = name.strip_prefix("CREDIRA_GATEWAY_").is_some_and(|rest| !rest.starts_with('_'));
    of_ours && name != "CREDIRA_GATEWAY_CONFIG" && !is_of_service(name)
}

/// Whether Kubernetes sets a variable of this name in every pod, because a Service has a similar name. No key of
/// the configuration ends like that, and no name of a Service ends with a hyphen.
fn is_of_service(name: &str) -> bool {
    name.match_indices('_').any(|(at, _)| {
        let (service, rest) = name.split_at(at);
        !service.ends_with('_') && is_service_suffix(rest)
    })
}

/// `_SERVICE_HOST`, `_SERVICE_PORT`, `_SERVICE_PORT_NAME`, `_PORT`, `_PORT_8080_TCP` or `_PORT_8080_TCP_ADDR`.
fn is_service_suffix(text: &str) -> bool {
    if ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"].contains(&text) || text.starts_with("_SERVICE_PORT_") {
        return true;
    }
    let Some(port) = text.strip_prefix("_PORT_") else { return false };
    let mut parts = port.split('_');
    let has_number = parts.next().is_some_and(|number| number.parse::<u16>().is_ok());
    let has_protocol = parts.next().is_some_and(|protocol| ["TCP", "UDP", "SCTP"].contains(&protocol));
    let is_known = parts.next().is_none_or(|what| ["PROTO", "PORT", "ADDR"].contains(&what));
    has_number && has_protocol && is_known && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_kubernetes_services_override_nothing() {
        for service in ["CREDIRA_GATEWAY_", "CREDIRA_GATEWAY__CACHE_", "CREDIRA_GATEWAY_ADMIN_"] {
            for variable in [
                "SERVICE_HOST",
                "SERVICE_PORT",
                "SERVICE_PORT_METRICS",
                "PORT",
                "PORT_9090_TCP",
                "PORT_9090_TCP_PROTO",
                "PORT_9090_TCP_PORT",
                "PORT_9090_TCP_ADDR",
                "PORT_53_UDP",
            ] {
                let name = format!("{service}{variable}");
                assert_eq!(overridden_key(&name), None, "{name}");
                assert!(!resembles_override(&name), "{name}");
            }
        }
    }

    #[test]
    fn a_variable_with_one_underscore_resembles_an_override() {
        for name in ["CREDIRA_GATEWAY_CACHE_TTL", "CREDIRA_GATEWAY_CACHE__TTL", "CREDIRA_GATEWAY_PORT_X"] {
            assert!(resembles_override(name), "{name}");
            assert_eq!(overridden_key(name), None);
        }
        for name in ["CREDIRA_GATEWAY__LISTEN__PORT", "CREDIRA_GATEWAY__PORT"] {
            assert!(overridden_key(name).is_some(), "no Service has this name: {name}");
        }
        for name in ["CREDIRA_GATEWAY_CONFIG", "CREDIRA_GATEWAY__CACHE__TTL", "CREDIRA_KEY_BILLING"] {
            assert!(!resembles_override(name), "{name}");
        }
        assert_eq!(overridden_key("CREDIRA_GATEWAY__CACHE__TTL"), Some(vec!["cache".into(), "ttl".into()]));
    }
}
