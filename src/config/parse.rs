//! From a file's bytes to its raw sections: syntax, keys and kinds of values. Everything wrong is collected.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use super::document::Document;
use super::problem::{ConfigProblem, Problems, ValueOrigin};
use super::schema_node::SchemaNode;
use super::sections::RawConfig;

/// The largest file that is read.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// A file whose keys and kinds of values were checked against the schema.
pub(crate) struct Parsed {
    /// The valid values in the file's own types; an invalid one is at its default.
    pub(crate) raw: RawConfig,
    pub(crate) document: Document,
    pub(crate) problems: Vec<ConfigProblem>,
}

pub(crate) fn read(file: &Path) -> Result<String, Problems> {
    let whole = |message: String| {
        Problems::new(
            file,
            "",
            vec![ConfigProblem { origin: ValueOrigin::Nowhere, key: String::new(), message }],
        )
    };
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file);
    let read = opened.and_then(|opened| opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| whole(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(whole(format!("larger than {} MiB", MAX_FILE_BYTES >> 20)));
    }
    String::from_utf8(bytes).map_err(|_| whole("not UTF-8 text".into()))
}

/// Parses `text`, applies the environment's overrides, and checks it against the schema. Fails only where the
/// file isn't TOML.
pub(crate) fn parse(
    file: &Path,
    text: String,
    variables: &BTreeMap<String, String>,
) -> Result<Parsed, Problems> {
    let mut document = Document::parse(file, text)?;
    let schema = SchemaNode::of_config();
    let mut problems = document.overlay(variables, &schema);
    let valid = schema.check(document.root(), "", &mut problems).unwrap_or_default();
    match serde_json::from_value(valid) {
        Ok(raw) => Ok(Parsed { raw, document, problems }),
        Err(error) => {
            // The schema is made from the same types, so this is a bug.
            let message = error.to_string();
            problems.push(ConfigProblem { origin: ValueOrigin::Nowhere, key: String::new(), message });
            Err(document.problems(problems))
        }
    }
}
