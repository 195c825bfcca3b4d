//! A configuration file as a tree in which every value knows where it came from: a place in the
//! file, or the environment variable that overrides it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Origin, Problem, Problems};
use super::shape::{Shape, join};

/// The prefix of environment variables that override a key.
pub const PREFIX: &str = "CREDIRA_GATEWAY__";

/// A value and where it came from.
#[derive(Clone)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Its place.
    pub origin: Origin,
}

/// What TOML can say.
#[derive(Clone)]
pub enum Value {
    /// A string.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// A date or time, which no key takes.
    Date,
    /// A list.
    List(Vec<Node>),
    /// A table, in the order of the file.
    Table(Vec<Field>),
}

/// A table's entry.
#[derive(Clone)]
pub struct Field {
    /// The key.
    pub name: String,
    /// Where the key stands.
    pub origin: Origin,
    /// Its value.
    pub node: Node,
}

/// A file that was read.
pub struct Document {
    file: PathBuf,
    text: String,
    root: Node,
}

impl Document {
    /// Parses TOML; every syntax error is reported.
    pub fn parse(file: &Path, text: String) -> Result<Self, Problems> {
        let (table, errors) = DeTable::parse_recoverable(&text);
        if !errors.is_empty() {
            let problem = |error: &toml::de::Error| Problem {
                origin: error.span().map_or(Origin::Nowhere, Origin::File),
                key: String::new(),
                message: format!("not TOML: {}", error.message()),
            };
            let list = errors.iter().map(problem).collect();
            return Err(Problems::new(file, &text, list));
        }
        let root = Node { value: table_value(table.get_ref()), origin: Origin::Nowhere };
        Ok(Self { file: file.into(), text, root })
    }

    /// The tree.
    pub const fn root(&self) -> &Node {
        &self.root
    }

    /// Gives a list of problems its file and text.
    pub fn problems(&self, list: Vec<Problem>) -> Problems {
        Problems::new(&self.file, &self.text, list)
    }

    /// Lays the environment's overrides over the file; a name that fits no key is a problem.
    pub fn overlay(&mut self, variables: &BTreeMap<String, String>, shape: &Shape) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (name, text) in variables {
            let Some(path) = name.strip_prefix(PREFIX) else { continue };
            let steps: Vec<_> = path.split("__").map(str::to_ascii_lowercase).collect();
            if let Err(message) = set(&mut self.root, shape, &steps, name, text) {
                let key = steps.join(".");
                problems.push(Problem { origin: Origin::Variable(name.clone()), key, message });
            }
        }
        problems
    }

    /// Where the value of a key stands, or the nearest thing around it.
    pub fn origin(&self, key: &str) -> Origin {
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

/// Puts `text` at `steps` below `node`, making the tables on the way.
fn set(node: &mut Node, shape: &Shape, steps: &[String], name: &str, text: &str) -> Result<(), String> {
    let origin = Origin::Variable(name.into());
    let Some((step, rest)) = steps.split_first() else {
        if !shape.is_scalar() {
            return Err("only single values can be overridden, not lists or tables".into());
        }
        *node = Node { value: shape.read_text(text), origin };
        return Ok(());
    };
    match (shape, &mut node.value) {
        (Shape::Table(table) | Shape::OneKey(table), Value::Table(fields)) => {
            let Some(inner) = table.get(step) else {
                return Err(format!("overrides no key of the configuration; {}", table.hint(step)));
            };
            if matches!(shape, Shape::OneKey(_)) {
                // Where the secret is kept by the file gives way to where it is kept by the environment.
                fields.retain(|field| field.name == *step || matches!(field.origin, Origin::Variable(_)));
            }
            if !fields.iter().any(|field| field.name == *step) {
                let value = Value::Table(Vec::new());
                let node = Node { value, origin: origin.clone() };
                fields.push(Field { name: step.clone(), origin, node });
            }
            let field = fields.iter_mut().find(|field| field.name == *step);
            field.map_or(Ok(()), |field| set(&mut field.node, inner, rest, name, text))
        }
        (Shape::List(items), Value::List(nodes)) => {
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

fn table_value(table: &DeTable<'_>) -> Value {
    let fields = table.iter().map(|(name, node)| Field {
        name: name.get_ref().to_string(),
        origin: Origin::File(name.span()),
        node: read(node),
    });
    Value::Table(fields.collect())
}

fn read(value: &Spanned<DeValue<'_>>) -> Node {
    let origin = Origin::File(value.span());
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::Float(number.as_str().parse().unwrap_or(f64::INFINITY)), Value::Integer),
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(yes) => Value::Boolean(*yes),
        DeValue::Datetime(_) => Value::Date,
        DeValue::Array(items) => Value::List(items.iter().map(read).collect()),
        DeValue::Table(table) => table_value(table),
    };
    Node { value, origin }
}
