//! TOML as a tree in which every value has its origin: a location in the file, or the environment variable that
//! overrides it.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::ValueOrigin;

/// A value with its origin.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) origin: ValueOrigin,
}

/// A TOML value.
#[derive(Clone)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// A date or time, which no key takes.
    Date,
    List(Vec<Node>),
    /// A table, in the order of the file.
    Table(Vec<Field>),
}

/// A table's entry.
#[derive(Clone)]
pub(crate) struct Field {
    pub(crate) name: String,
    /// Of the key.
    pub(crate) origin: ValueOrigin,
    pub(crate) node: Node,
}

pub(crate) fn table_value(table: &DeTable<'_>) -> Value {
    let fields = table.iter().map(|(name, node)| Field {
        name: name.get_ref().to_string(),
        origin: ValueOrigin::File(name.span()),
        node: read(node),
    });
    Value::Table(fields.collect())
}

fn read(value: &Spanned<DeValue<'_>>) -> Node {
    let origin = ValueOrigin::File(value.span());
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
