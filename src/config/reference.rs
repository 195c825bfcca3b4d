//! Generates `docs/configuration.md` from the schema: each key with its meaning and what it may hold.

use serde_json::Value;

use super::schema::SCHEMA;
use super::sections::{NAMES, restart_keys};

/// The text above the tables.
const INTRODUCTION: &str = include_str!("reference.md");

/// The keys are in its order.
const EXAMPLE: &str = include_str!("../../config/gateway.toml");

fn reference() -> String {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let reference = Reference { schema: &schema };
    let properties = schema["properties"].as_object().unwrap();
    let mut page = INTRODUCTION.to_owned();
    for &name in NAMES {
        let section = reference.resolved(&properties[name]);
        match section["items"].as_object() {
            Some(_) => {
                let heading = format!("`[[{name}]]`");
                reference.section(
                    &heading,
                    name,
                    &format!("{name}__0"),
                    section,
                    &section["items"],
                    &mut page,
                );
            }
            None => reference.section(&format!("`[{name}]`"), name, name, section, section, &mut page),
        }
    }
    page
}

struct Reference<'a> {
    schema: &'a Value,
}

impl<'a> Reference<'a> {
    /// The definition that a schema refers to, or the schema itself.
    fn resolved(&self, schema: &'a Value) -> &'a Value {
        let optional = schema["anyOf"].as_array().filter(|any| any.len() == 2 && any[1]["type"] == "null");
        let schema = optional.map_or(schema, |any| &any[0]);
        let name = schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/"));
        name.map_or(schema, |name| &self.schema["$defs"][name])
    }

    /// The name of the definition that a schema refers to.
    fn name(&self, schema: &'a Value) -> &'a str {
        let schema = schema["anyOf"].as_array().map_or(schema, |any| &any[0]);
        schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")).unwrap_or_default()
    }

    fn section(
        &self,
        heading: &str,
        path: &str,
        variable: &str,
        described: &Value,
        table: &'a Value,
        page: &mut String,
    ) {
        *page += &format!("\n## {heading}\n\n{}\n\n", text(described));
        *page +=
            "| Key, environment variable | Value | Default | Reload | Meaning |\n|---|---|---|---|---|\n";
        let mut inner = Vec::new();
        for (name, schema) in self.keys(table, path) {
            let (path, variable) = (format!("{path}.{name}"), format!("{variable}__{name}"));
            match self.name(schema) {
                "Retry" | "Breaker" => inner.push((path, variable, schema)),
                "Tls" => {
                    *page += &self.row(name, &path, None, schema, table);
                    let files = self.resolved(schema);
                    for (key, schema) in self.keys(files, &path) {
                        let variable = format!("{variable}__{key}");
                        *page += &self.row(
                            &format!("{name}.{key}"),
                            &format!("{path}.{key}"),
                            Some(variable),
                            schema,
                            files,
                        );
                    }
                }
                _ => *page += &self.row(name, &path, Some(variable), schema, table),
            }
        }
        for (path, variable, schema) in inner {
            self.section(&format!("`[{path}]`"), &path, &variable, self.resolved(schema), schema, page);
        }
    }

    /// A table's keys, in the order in which the example has them.
    fn keys(&self, table: &'a Value, path: &str) -> Vec<(&'a str, &'a Value)> {
        let properties = self.resolved(table)["properties"].as_object().unwrap();
        let section = EXAMPLE.find(&format!("[{path}]")).unwrap_or(0);
        let place = |name: &str| {
            let example = EXAMPLE.get(section..).unwrap();
            let written = [
                format!("\n{name} ="),
                format!("\n# {name} ="),
                format!(" {name} ="),
                format!("\n[{path}.{name}]"),
            ];
            written.iter().find_map(|key| example.find(key))
        };
        let mut keys: Vec<_> = properties.iter().map(|(name, schema)| (name.as_str(), schema)).collect();
        keys.sort_by_key(|(name, _)| {
            place(name).unwrap_or_else(|| panic!("{path}.{name} is not in the example"))
        });
        keys
    }

    fn row(
        &self,
        name: &str,
        path: &str,
        variable: Option<String>,
        schema: &'a Value,
        table: &'a Value,
    ) -> String {
        let variable = variable.filter(|_| schema["type"] != "array").map(|variable| {
            let variable = format!("CREDIRA_GATEWAY__{}", variable.to_ascii_uppercase());
            let inner = match self.name(schema) {
                "Secret" => "__…",
                "Rate" => "__…",
                _ => "",
            };
            format!("<br>`{variable}{inner}`")
        });
        let reload = if restart_keys().contains(&path) { "restart" } else { "applies" };
        format!(
            "| `{name}`{} | {} | {} | {reload} | {} |\n",
            variable.unwrap_or_default(),
            self.value(schema),
            self.default(name, schema, table),
            self.meaning(schema)
        )
    }

    /// A key's description, with that of each choice.
    fn meaning(&self, schema: &'a Value) -> String {
        let choices = self.resolved(schema)["oneOf"].as_array().into_iter().flatten();
        let choices = choices.filter(|choice| choice["const"].is_string());
        let described = choices.map(|choice| format!(" `{}`: {}", choice["const"], text(choice)));
        text(schema) + &described.collect::<String>()
    }

    /// The values that the key accepts.
    fn value(&self, schema: &'a Value) -> String {
        let kind = |name: &str| format!("[{name}](#kinds-of-values)");
        match self.name(schema) {
            "Duration" => return kind("duration"),
            "Size" => return kind("size"),
            "Secret" => return kind("secret"),
            "Rate" => return kind("rate"),
            "OneOrMore" => return format!("{} or a list of them", kind("address")),
            "Tls" => return "table".into(),
            _ => {}
        }
        let schema = self.resolved(schema);
        if let Some(choices) = schema["oneOf"].as_array() {
            let words: Vec<_> = choices.iter().map(|choice| format!("`{}`", choice["const"])).collect();
            return words.join(", ");
        }
        let kind_of =
            |schema: &Value| schema["type"].as_array().map_or(&schema["type"], |kinds| &kinds[0]).clone();
        match kind_of(schema).as_str() {
            Some("boolean") => "`true`, `false`".into(),
            Some("integer") => format!("{} to {}", schema["minimum"], schema["maximum"]),
            Some("array") if self.name(&schema["items"]) == "Secret" => {
                format!("list of {}s", kind("secret"))
            }
            Some("array") => "list of strings".into(),
            Some("string") => "string".into(),
            other => panic!("{other:?} has no name"),
        }
    }

    fn default(&self, name: &str, schema: &Value, table: &'a Value) -> String {
        let key = name.rsplit('.').next();
        let required = self.resolved(table)["required"].as_array().into_iter().flatten();
        if required.into_iter().any(|required| required.as_str() == key) {
            return "required".into();
        }
        match &schema["default"] {
            Value::Null if schema["type"] == "array" => "`[]`".into(),
            Value::Null => "none".into(),
            default => format!("`{default}`"),
        }
    }
}

/// A description, on one line of a table.
fn text(schema: &Value) -> String {
    schema["description"]
        .as_str()
        .unwrap_or_else(|| panic!("no description: {schema}"))
        .replace('\n', " ")
        .replace('|', "\\|")
}

/// `UPDATE=1 cargo test --lib config::reference` regenerates the page.
#[test]
fn the_page_on_the_configuration_is_generated_from_the_schema() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let generated = reference();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&page, &generated).unwrap();
    }
    let kept = std::fs::read_to_string(&page).unwrap_or_default();
    assert!(
        kept == generated,
        "docs/configuration.md differs; UPDATE=1 cargo test --lib config::reference regenerates it"
    );
}
