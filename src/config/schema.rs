//! The JSON Schema of the configuration file. A test generates it from the types that the file is deserialised into,
//! so the program need not do so at startup.

/// The schema as pretty JSON, with a final newline.
pub(crate) const SCHEMA: &str = include_str!("../../config/gateway.schema.json");
