//! The JSON Schema of the configuration file. A test makes it from the types that the file is read into;
//! the program carries what was made, so that it need not make it again at every start.

/// The schema as pretty JSON, with a final newline.
pub const SCHEMA: &str = include_str!("../../config/gateway.schema.json");

#[cfg(test)]
mod tests {
    use super::super::raw;
    use super::*;

    fn made() -> String {
        let mut schema = schemars::schema_for!(raw::Config);
        schema.insert("$comment".into(), "Made by `credira-gateway schema`.".into());
        serde_json::to_string_pretty(&schema).unwrap() + "\n"
    }

    /// `UPDATE=1 cargo test --lib schema` writes the file anew.
    #[test]
    fn the_schema_is_made_from_the_types() {
        let made = made();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/config/gateway.schema.json"), &made)
                .unwrap();
        }
        assert!(
            SCHEMA == made,
            "config/gateway.schema.json differs; UPDATE=1 cargo test --lib schema writes it anew"
        );
    }
}
