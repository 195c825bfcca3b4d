//! The description of both planes that `/openapi.yaml` serves.

/// `config/openapi.yaml`, as it is in the repository.
pub(crate) const TEXT: &str = include_str!("../../config/openapi.yaml");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use yaml_rust2::{Yaml, YamlLoader};

    use super::*;
    use crate::admin::problems::ProblemKind;
    use crate::admin::refusal::Refused;
    use crate::admin::route;
    use crate::domain::{NotStored, Outcome, ROUTES, Refusal};
    use crate::telemetry::Eviction;

    fn document() -> Yaml {
        YamlLoader::load_from_str(TEXT).unwrap().remove(0)
    }

    /// The value at a path of keys.
    fn at(document: &Yaml, path: &[&str]) -> Yaml {
        path.iter().fold(document.clone(), |yaml, key| {
            assert!(!yaml[*key].is_badvalue(), "no {key} of {path:?}");
            yaml[*key].clone()
        })
    }

    fn words(yaml: &Yaml) -> BTreeSet<String> {
        yaml.as_vec().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    }

    fn keys(yaml: &Yaml) -> BTreeSet<String> {
        yaml.as_hash().unwrap().keys().map(|key| key.as_str().unwrap().to_owned()).collect()
    }

    fn set<'a>(words: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
        words.into_iter().map(String::from).collect()
    }

    #[test]
    fn every_route_is_described_with_its_methods_and_no_other_is() {
        let paths = at(&document(), &["paths"]);
        let listed =
            route::ALL.iter().map(|(path, _)| *path).chain(ROUTES.iter().map(|route| route.template));
        assert_eq!(keys(&paths), set(listed));
        let verbs = set(["get", "head", "post", "put", "delete", "patch", "options", "trace"]);
        let described = |path: &str| &keys(&paths[path]) & &verbs;
        for (path, methods) in route::ALL {
            let methods: Vec<_> = methods.iter().map(|method| method.to_lowercase()).collect();
            assert_eq!(described(path), methods.into_iter().collect(), "{path}");
        }
        assert_eq!(described("/v1/calls/{id}"), set(["get", "head"]));
    }

    #[test]
    fn the_description_states_who_may_use_the_api() {
        let paths = at(&document(), &["paths"]);
        for (path, methods) in route::ALL {
            for method in methods {
                let operation = &paths[path][method.to_lowercase().as_str()];
                let asks = !operation["security"].as_vec().unwrap().is_empty();
                assert_eq!(asks, route::area(path) == route::Area::Api, "{method} {path}");
            }
        }
    }

    #[test]
    fn every_error_is_described_with_its_status() {
        let document = document();
        let admin = at(&document, &["components", "schemas", "AdminErrorCode", "enum"]);
        assert_eq!(words(&admin), set(Refused::ALL.map(Refused::code)));
        let data = at(&document, &["components", "schemas", "GatewayErrorCode", "enum"]);
        assert_eq!(words(&data), set(Refusal::one_of_each().iter().map(Refusal::code)));
        let of = |path: &str| at(&document, &["paths", path, "get", "responses"]);
        let routes = [of("/v1/calls/{id}"), of("/v1/calls/{id}/recording")];
        for refusal in Refusal::one_of_each() {
            let (status, code) = (refusal.status(), refusal.code());
            let described = |answers: &Yaml| {
                answers[status.as_str()]["description"].as_str().is_some_and(|text| text.contains(code))
            };
            assert!(routes.iter().any(described), "{status} {code}");
        }
    }

    #[test]
    fn the_closed_lists_are_those_of_the_code() {
        let schemas = at(&document(), &["components", "schemas"]);
        let names = |schema: &str| words(&at(&schemas, &[schema, "propertyNames", "enum"]));
        assert_eq!(names("Outcomes"), set(Outcome::ALL.map(Outcome::label)));
        assert_eq!(names("NotStored"), set(NotStored::ALL.map(NotStored::label)));
        assert_eq!(
            words(&at(&schemas, &["ProblemKind", "enum"])),
            set(ProblemKind::ALL.map(ProblemKind::label))
        );
        assert_eq!(names("Evictions"), set(Eviction::ALL.map(Eviction::label)));
    }

    #[test]
    fn every_reference_leads_somewhere_and_the_version_is_the_programs() {
        let document = document();
        for rest in TEXT.split("$ref: \"#/").skip(1) {
            let path: Vec<_> = rest.split('"').next().unwrap().split('/').collect();
            at(&document, &path);
        }
        assert_eq!(at(&document, &["info", "version"]).as_str(), Some(crate::telemetry::VERSION));
        assert!(at(&document, &["openapi"]).as_str().unwrap().starts_with("3.1."));
    }
}
