//! The schema as a tree: the keys of each table and the values that they accept. A document is checked against it
//! value by value, where serde would stop at the first problem.

use serde_json::{Map, Number, Value as Json};

use super::problem::ConfigProblem;
use super::schema::SCHEMA;
use super::tree::{Field, Node, Value};
use super::units::{Size, Span};

/// The values that are accepted.
#[derive(Debug, Clone)]
pub(crate) enum SchemaNode {
    /// A table with these keys.
    Table(TableSchema),
    /// A table with exactly one of these keys.
    OneKey(TableSchema),
    List(Box<SchemaNode>),
    /// A string or a list of strings.
    TextOrList,
    /// A string.
    Text,
    /// A string that reads as a duration.
    Duration,
    /// A string that reads as a size.
    Size,
    /// One of these strings.
    Choice(Vec<String>),
    /// A whole number within these bounds.
    Integer(i64, i64),
    Number,
    /// `true` or `false`.
    Boolean,
}

/// A table's keys.
#[derive(Debug, Clone)]
pub(crate) struct TableSchema {
    /// Each with what it may hold.
    pub(crate) keys: Vec<(String, SchemaNode, Presence)>,
}

/// Whether a key is required.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Required,
    /// It has a default, or may be absent.
    Optional,
}

impl TableSchema {
    /// The values that a key accepts.
    pub(crate) fn get(&self, key: &str) -> Option<&SchemaNode> {
        self.keys.iter().find(|(name, ..)| name == key).map(|(_, node, _)| node)
    }

    fn nearest(&self, key: &str) -> Option<&str> {
        let scored = self.keys.iter().map(|(name, ..)| (strsim::jaro_winkler(name, key), name));
        let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
        (best.0 > 0.7).then_some(best.1.as_str())
    }
}

impl SchemaNode {
    /// The schema of the whole file.
    pub(crate) fn of_config() -> Self {
        let schema = serde_json::from_str(SCHEMA).unwrap_or_default();
        Self::read(&schema, &schema)
    }

    fn read(schema: &Json, root: &Json) -> Self {
        if let Some(name) = schema.get("$ref").and_then(Json::as_str).and_then(|r| r.strip_prefix("#/$defs/"))
        {
            return match name {
                "Duration" => Self::Duration,
                "Size" => Self::Size,
                _ => Self::read(root.pointer(&format!("/$defs/{name}")).unwrap_or(&Json::Null), root),
            };
        }
        if let Some(any) = schema.get("anyOf").and_then(Json::as_array) {
            return match any.as_slice() {
                [one, null] if null.get("type").and_then(Json::as_str) == Some("null") => {
                    Self::read(one, root)
                }
                _ => Self::TextOrList,
            };
        }
        if let Some(one) = schema.get("oneOf").and_then(Json::as_array) {
            let words: Vec<_> =
                one.iter().filter_map(|v| v.get("const")?.as_str().map(String::from)).collect();
            if words.len() == one.len() {
                return Self::Choice(words);
            }
            let keys = one.iter().flat_map(|variant| Self::keys(variant, root)).collect();
            return Self::OneKey(TableSchema { keys });
        }
        Self::of_type(schema, root)
    }

    fn of_type(schema: &Json, root: &Json) -> Self {
        let kind = match schema.get("type") {
            Some(Json::Array(kinds)) => kinds.first().and_then(Json::as_str),
            Some(kind) => kind.as_str(),
            None => None,
        };
        let bound = |name: &str| schema.get(name).and_then(Json::as_i64);
        match kind {
            Some("object") => Self::Table(TableSchema { keys: Self::keys(schema, root) }),
            Some("array") => {
                Self::List(Box::new(Self::read(schema.get("items").unwrap_or(&Json::Null), root)))
            }
            Some("integer") => {
                Self::Integer(bound("minimum").unwrap_or(0), bound("maximum").unwrap_or(i64::MAX))
            }
            Some("number") => Self::Number,
            Some("boolean") => Self::Boolean,
            _ => Self::Text,
        }
    }

    fn keys(schema: &Json, root: &Json) -> Vec<(String, SchemaNode, Presence)> {
        let required: Vec<_> =
            schema.get("required").and_then(Json::as_array).into_iter().flatten().collect();
        let properties = schema.get("properties").and_then(Json::as_object).into_iter().flatten();
        properties
            .map(|(name, schema)| {
                let must = required.iter().any(|key| key.as_str() == Some(name));
                let presence = if must { Presence::Required } else { Presence::Optional };
                (name.clone(), Self::read(schema, root), presence)
            })
            .collect()
    }

    /// Whether an environment variable can hold it.
    pub(crate) const fn is_scalar(&self) -> bool {
        !matches!(self, Self::Table(_) | Self::OneKey(_) | Self::List(_))
    }

    /// The accepted values, for messages.
    fn expected(&self) -> String {
        match self {
            Self::Table(_) => "a table".into(),
            Self::OneKey(table) => {
                let keys: Vec<_> =
                    table.keys.iter().map(|(name, ..)| format!("{{ {name} = \"…\" }}")).collect();
                format!("one of {}", keys.join(", "))
            }
            Self::List(_) => "a list".into(),
            Self::TextOrList => "a string or a list of strings".into(),
            Self::Text => "a string".into(),
            Self::Duration => Span::EXPECTED.0.into(),
            Self::Size => Size::EXPECTED.0.into(),
            Self::Choice(words) => {
                let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
                format!("one of {}", words.join(", "))
            }
            Self::Integer(min, i64::MAX) => format!("a whole number of at least {min}"),
            Self::Integer(min, max) => format!("a whole number from {min} to {max}"),
            Self::Number => "a number".into(),
            Self::Boolean => "true or false".into(),
        }
    }

    /// The value that an environment variable's text stands for.
    pub(crate) fn read_text(&self, text: &str) -> Value {
        let typed = match self {
            Self::Integer(..) => text.parse().ok().map(Value::Integer),
            Self::Number => text.parse().ok().map(Value::Float),
            Self::Boolean => text.parse().ok().map(Value::Boolean),
            _ => None,
        };
        typed.unwrap_or_else(|| Value::Text(text.into()))
    }

    /// Checks a value: adds what is invalid to `problems` and returns the rest, so that it can still be checked for
    /// what a schema can't express.
    pub(crate) fn check(&self, node: &Node, key: &str, problems: &mut Vec<ConfigProblem>) -> Option<Json> {
        let taken = match (self, &node.value) {
            (Self::Table(table), Value::Table(fields)) => return table.check(fields, node, key, problems),
            (Self::OneKey(table), Value::Table(fields)) if fields.len() == 1 => {
                let taken = table.check_known(fields, key, problems);
                return (!taken.is_empty()).then_some(Json::Object(taken));
            }
            (Self::List(items), Value::List(nodes)) => return Some(check_list(items, nodes, key, problems)),
            (Self::TextOrList, Value::List(nodes)) => {
                return Some(check_list(&Self::Text, nodes, key, problems));
            }
            (Self::Text | Self::TextOrList, Value::Text(text)) => Some(text.as_str().into()),
            (Self::Boolean, Value::Boolean(yes)) => Some((*yes).into()),
            (Self::Duration, Value::Text(text)) => text.parse::<Span>().ok().map(|_| text.as_str().into()),
            (Self::Size, Value::Text(text)) => text.parse::<Size>().ok().map(|_| text.as_str().into()),
            (Self::Choice(words), Value::Text(text)) => words.contains(text).then(|| text.as_str().into()),
            (Self::Integer(min, max), Value::Integer(number)) => {
                (min..=max).contains(&number).then(|| (*number).into())
            }
            (Self::Number, Value::Integer(number)) => Some((*number).into()),
            (Self::Number, Value::Float(number)) => Number::from_f64(*number).map(Json::Number),
            _ => None,
        };
        if taken.is_none() {
            let message = format!("expected {}", self.expected());
            problems.push(ConfigProblem { origin: node.origin.clone(), key: key.into(), message });
        }
        taken
    }
}

/// Every entry keeps its place: an invalid one becomes `null`, and of a table the valid fields remain.
fn check_list(items: &SchemaNode, nodes: &[Node], key: &str, problems: &mut Vec<ConfigProblem>) -> Json {
    let mut place = 0..;
    let mut check = |node: &Node| {
        let key = format!("{key}[{}]", place.next().unwrap_or_default());
        match (items, &node.value) {
            (SchemaNode::Table(table), Value::Table(fields)) => {
                Json::Object(table.check_present(fields, node, &key, problems))
            }
            _ => items.check(node, &key, problems).unwrap_or(Json::Null),
        }
    };
    Json::Array(nodes.iter().map(&mut check).collect())
}

impl TableSchema {
    /// The valid fields, if every required one is among them.
    fn check(
        &self,
        fields: &[Field],
        node: &Node,
        key: &str,
        problems: &mut Vec<ConfigProblem>,
    ) -> Option<Json> {
        let taken = self.check_present(fields, node, key, problems);
        self.required().all(|name| taken.contains_key(name)).then_some(Json::Object(taken))
    }

    /// The valid fields. A required one that is missing is a problem.
    fn check_present(
        &self,
        fields: &[Field],
        node: &Node,
        key: &str,
        problems: &mut Vec<ConfigProblem>,
    ) -> Map<String, Json> {
        let taken = self.check_known(fields, key, problems);
        for name in self.required().filter(|name| !fields.iter().any(|field| field.name == *name)) {
            let message = "missing; it has no default".into();
            problems.push(ConfigProblem { origin: node.origin.clone(), key: join(key, name), message });
        }
        taken
    }

    fn required(&self) -> impl Iterator<Item = &str> {
        let required = self.keys.iter().filter(|(.., presence)| *presence == Presence::Required);
        required.map(|(name, ..)| name.as_str())
    }

    fn check_known(
        &self,
        fields: &[Field],
        key: &str,
        problems: &mut Vec<ConfigProblem>,
    ) -> Map<String, Json> {
        let mut taken = Map::new();
        for field in fields {
            let full = join(key, &field.name);
            match self.get(&field.name) {
                Some(schema) => {
                    let value = schema.check(&field.node, &full, problems);
                    taken.extend(value.map(|value| (field.name.clone(), value)));
                }
                None => problems.push(self.unknown(field, full)),
            }
        }
        taken
    }

    fn unknown(&self, field: &Field, key: String) -> ConfigProblem {
        let message = format!("unknown key; {}", self.hint(&field.name));
        ConfigProblem { origin: field.origin.clone(), key, message }
    }

    /// A suggestion for an unknown key.
    pub(crate) fn hint(&self, name: &str) -> String {
        match self.nearest(name) {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                let known: Vec<_> = self.keys.iter().map(|(name, ..)| name.as_str()).collect();
                format!("known here: {}", known.join(", "))
            }
        }
    }
}

/// `parent.name`, or `name` at the top.
pub(crate) fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.into() } else { format!("{parent}.{name}") }
}
