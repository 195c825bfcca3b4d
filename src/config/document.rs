//! A parsed configuration file with the environment's overrides applied.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::problem::{ConfigProblem, Problems, ValueOrigin};
use super::schema_node::{SchemaNode, join};
use super::tree::{Field, Node, Value, table_value};
use super::variables::overridden_key;

/// A parsed file.
pub(crate) struct Document {
    file: PathBuf,
    text: String,
    root: Node,
}

impl Document {
    /// Parses TOML. The error lists every syntax error.
    pub(crate) fn parse(file: &Path, text: String) -> Result<Self, Problems> {
        let (table, errors) = DeTable::parse_recoverable(&text);
        if !errors.is_empty() {
            let problem = |error: &toml::de::Error| ConfigProblem {
                origin: error.span().map_or(ValueOrigin::Nowhere, ValueOrigin::File),
                key: String::new(),
                message: format!("not TOML: {}", error.message()),
            };
            let list = errors.iter().map(problem).collect();
            return Err(Problems::new(file, &text, list));
        }
        let root = Node { value: table_value(table.get_ref()), origin: ValueOrigin::Nowhere };
        Ok(Self { file: file.into(), text, root })
    }

    pub(crate) const fn root(&self) -> &Node {
        &self.root
    }

    /// Adds the file and its text to a list of problems.
    pub(crate) fn problems(&self, list: Vec<ConfigProblem>) -> Problems {
        Problems::new(&self.file, &self.text, list)
    }

    /// Applies the environment's overrides; one that matches no key is a problem.
    pub(crate) fn overlay(
        &mut self,
        variables: &BTreeMap<String, String>,
        schema: &SchemaNode,
    ) -> Vec<ConfigProblem> {
        let mut problems = Vec::new();
        for (name, text) in variables {
            let Some(steps) = overridden_key(name) else { continue };
            if let Err(message) = set(&mut self.root, schema, &steps, name, text) {
                let key = steps.join(".");
                problems.push(ConfigProblem { origin: ValueOrigin::Variable(name.clone()), key, message });
            }
        }
        problems
    }

    /// The origin of a key's value, or of the innermost table or list around it.
    pub(crate) fn origin(&self, key: &str) -> ValueOrigin {
        let mut node = &self.root;
        for step in key.split(['.', '[', ']']).filter(|step| !step.is_empty()) {
            let next = match &node.value {
                Value::Table(fields) => fields.iter().find(|f| f.name == step).map(|f| &f.node),
                Value::List(nodes) => step.parse().ok().and_then(|place: usize| nodes.get(place)),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node.origin.clone()
    }
}

/// Sets the value at `steps` below `node` to `text`, adding the tables between them.
fn set(node: &mut Node, schema: &SchemaNode, steps: &[String], name: &str, text: &str) -> Result<(), String> {
    let origin = ValueOrigin::Variable(name.into());
    let Some((step, rest)) = steps.split_first() else {
        if !schema.is_scalar() {
            return Err("only single values can be overridden, not lists or tables".into());
        }
        *node = Node { value: schema.read_text(text), origin };
        return Ok(());
    };
    match (schema, &mut node.value) {
        (SchemaNode::Table(table) | SchemaNode::OneKey(table), Value::Table(fields)) => {
            let Some(inner) = table.get(step) else {
                return Err(format!("overrides no key of the configuration; {}", table.hint(step)));
            };
            if matches!(schema, SchemaNode::OneKey(_)) {
                // The environment's source of a secret replaces the file's.
                fields
                    .retain(|field| field.name == *step || matches!(field.origin, ValueOrigin::Variable(_)));
            }
            if !fields.iter().any(|field| field.name == *step) {
                let value = Value::Table(Vec::new());
                let node = Node { value, origin: origin.clone() };
                fields.push(Field { name: step.clone(), origin, node });
            }
            let field = fields.iter_mut().find(|field| field.name == *step);
            field.map_or(Ok(()), |field| set(&mut field.node, inner, rest, name, text))
        }
        (SchemaNode::List(items), Value::List(nodes)) => {
            let place: Option<usize> = step.parse().ok();
            match place.and_then(|place| nodes.get_mut(place)) {
                Some(item) => set(item, items, rest, name, text),
                None => Err(format!(
                    "the file's list has no entry {}; entries are counted from 0",
                    join("", step)
                )),
            }
        }
        _ => Err("overrides no key of the configuration".into()),
    }
}
