//! The JSON Schema of the configuration file, made from the types that it is read into.

use super::raw;

/// The schema as pretty JSON, with a final newline.
pub fn schema() -> String {
    let mut schema = schemars::schema_for!(raw::Config);
    let defaults = serde_json::json!({ "$comment": "Made by `credira-gateway schema`." });
    if let (Some(object), serde_json::Value::Object(extra)) = (schema.as_object_mut(), defaults) {
        object.extend(extra);
    }
    serde_json::to_string_pretty(&schema).map(|text| text + "\n").unwrap_or_default()
}
