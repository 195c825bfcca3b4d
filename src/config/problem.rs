//! Problems of a configuration: all at once, each with file, line, column, key and what is allowed. Never shows a
//! value, which may be a secret in the wrong place.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueOrigin {
    /// A range of bytes of the file.
    File(Range<usize>),
    /// An environment variable.
    Variable(String),
    /// Nothing: the value is missing.
    Nowhere,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    pub origin: ValueOrigin,
    /// The key, as `cache.ttl` or `tenants[0].name`; empty for the file as a whole.
    pub key: String,
    /// The mistake, and what is allowed.
    pub message: String,
}

/// All problems of one file; at least one.
#[derive(Clone, PartialEq, Eq)]
pub struct Problems {
    file: PathBuf,
    text: String,
    list: Vec<ConfigProblem>,
}

/// Shows the problems without the file's text, which may hold secrets.
impl fmt::Debug for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lines()).finish()
    }
}

impl Problems {
    /// The problems of `file`, whose text is `text`, in the order of their lines.
    pub fn new(file: &Path, text: &str, mut list: Vec<ConfigProblem>) -> Self {
        list.sort_by_key(|problem| match &problem.origin {
            ValueOrigin::File(span) => (0, span.start),
            ValueOrigin::Variable(_) => (1, 0),
            ValueOrigin::Nowhere => (2, 0),
        });
        list.dedup();
        Self { file: file.into(), text: text.into(), list }
    }

    /// In the order of their lines.
    pub fn list(&self) -> &[ConfigProblem] {
        &self.list
    }

    /// One line per problem: `FILE:LINE:COLUMN: KEY: MESSAGE`.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.list.iter().map(|problem| self.line(problem))
    }

    fn line(&self, problem: &ConfigProblem) -> String {
        let place = match &problem.origin {
            ValueOrigin::File(span) => {
                let place = TextLocation::of(&self.text, span, &problem.key);
                format!("{}:{}:{}", self.file.display(), place.line, place.column)
            }
            ValueOrigin::Variable(name) => format!("environment variable {name}"),
            ValueOrigin::Nowhere => self.file.display().to_string(),
        };
        let colon = if problem.key.is_empty() { "" } else { ": " };
        format!("{place}{colon}{}: {}", problem.key, problem.message)
    }
}

/// The lines of [`Problems::lines`], each followed by its key as written in the file and carets under the place.
/// The rest of the line is hidden: it could be a secret.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.list.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            write!(f, "{}", self.line(problem))?;
            if let ValueOrigin::File(span) = &problem.origin {
                TextLocation::of(&self.text, span, &problem.key).draw(f)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A location in the file: line and column, from 1.
struct TextLocation<'a> {
    line: usize,
    column: usize,
    /// The beginning of the line, as far as it is a key.
    shown: &'a str,
    /// Shown in place of the rest.
    hidden: &'static str,
    width: usize,
}

impl<'a> TextLocation<'a> {
    /// The place of a problem with `key`.
    fn of(text: &'a str, span: &Range<usize>, key: &str) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let indent = before.get(line_start..).unwrap_or_default();
        let spanned = text.get(span.clone()).unwrap_or_default().split('\n').next().unwrap_or_default();
        let line = text.get(line_start..).unwrap_or_default().split('\n').next().unwrap_or_default();
        let (shown, hidden) = match indent.split_once('=') {
            Some((key, _)) => (key.trim_end(), " = …"),
            None if is_header(line) => (line.trim_end(), ""),
            // The key itself is the problem.
            None if !spanned.is_empty() && key.rsplit('.').next() == Some(spanned) => {
                (text.get(line_start..span.end).unwrap_or_default(), "")
            }
            None => ("", "…"),
        };
        let plain = shown.chars().all(|c| is_bare(c) || matches!(c, '.' | ' ' | '\t' | '[' | ']' | '{'));
        let (shown, hidden) = if plain { (shown, hidden) } else { ("", "…") };
        Self {
            line: before.matches('\n').count() + 1,
            column: indent.chars().count() + 1,
            shown,
            hidden,
            width: spanned.chars().count().max(1),
        }
    }

    fn draw(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        let pad = " ".repeat(self.column.saturating_sub(1).min(100));
        let carets = "^".repeat(self.width.min(40));
        write!(f, "\n  {number} | {}{}\n  {gutter} | {pad}{carets}", self.shown, self.hidden)
    }
}

/// Whether a key without quotes may have this character.
const fn is_bare(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

/// Whether a line is the header of a table: `[a.b]` or `[[a]]`.
fn is_header(line: &str) -> bool {
    let name = line.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let name =
        name.map(|name| name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name));
    name.is_some_and(|name| {
        name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(|c| is_bare(c) || c == '.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_file_line_column_and_key_and_hides_the_value() {
        let text = "[cache]\nttl = \"hunter2\"\n";
        let at = text.find("\"hunter2\"").unwrap();
        let problem = ConfigProblem {
            origin: ValueOrigin::File(at..at + 9),
            key: "cache.ttl".into(),
            message: "expected a duration".into(),
        };
        let problems = Problems::new(Path::new("g.toml"), text, vec![problem]);
        assert_eq!(
            problems.to_string(),
            "g.toml:2:7: cache.ttl: expected a duration\n  2 | ttl = …\n    |       ^^^^^^^^^"
        );
    }

    #[test]
    fn only_the_key_of_a_line_is_shown() {
        let shown = |text: &str, at: &str, key: &str| {
            let start = text.find(at).unwrap();
            let problem = ConfigProblem {
                origin: ValueOrigin::File(start..start + at.len()),
                key: key.into(),
                message: "bad".into(),
            };
            let shown = Problems::new(Path::new("g"), text, vec![problem]).to_string();
            shown.lines().nth(1).unwrap().to_owned()
        };
        assert_eq!(shown("[limitz]", "limitz", "limitz"), "  1 | [limitz]");
        assert_eq!(shown("[[tenants]]", "[[tenants]]", "tenants[0]"), "  1 | [[tenants]]");
        assert_eq!(shown("[upstream.retry]", "[upstream.retry]", "upstream.retry"), "  1 | [upstream.retry]");
        assert_eq!(shown("[cache", "", ""), "  1 | …");
        assert_eq!(shown("  tll = \"hunter2\"", "tll", "cache.tll"), "  1 |   tll");
        assert_eq!(shown("x = { tll = \"hunter2\" }", "tll", "x.tll"), "  1 | x = …");
        // Values may stand on lines of their own.
        assert_eq!(shown("tokens = [\n  \"hunter2\",\n]", "\"hunter2\"", "tenants[0].tokens[0]"), "  2 | …");
        assert_eq!(shown("hosts = [\n  \"hunter2\", 5\n]", "5", "admin.hosts[1]"), "  2 | …");
        assert_eq!(shown("hosts = [\n  \"hunter2=x\", 5\n]", "5", "admin.hosts[1]"), "  2 | …");
        assert_eq!(shown("hunter2", "hunter2", ""), "  1 | …", "not TOML at all");
    }

    #[test]
    fn problems_come_in_the_order_of_their_lines() {
        let problem =
            |origin: ValueOrigin, key: &str| ConfigProblem { origin, key: key.into(), message: "bad".into() };
        let problems = Problems::new(
            Path::new("g.toml"),
            "a\nb\nc",
            vec![
                problem(ValueOrigin::Nowhere, "missing"),
                problem(ValueOrigin::File(4..5), "c"),
                problem(ValueOrigin::Variable("X".into()), "x"),
                problem(ValueOrigin::File(0..1), "a"),
            ],
        );
        let lines: Vec<_> = problems.lines().collect();
        assert_eq!(
            lines,
            [
                "g.toml:1:1: a: bad",
                "g.toml:3:1: c: bad",
                "environment variable X: x: bad",
                "g.toml: missing: bad"
            ]
        );
    }
}
