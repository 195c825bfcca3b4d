//! What is wrong with a configuration, and where: all of it at once, each with file, line, column,
//! key and what is allowed. Never a value of the file: it may be a secret in the wrong place.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// These bytes of the file.
    File(Range<usize>),
    /// This environment variable.
    Variable(String),
    /// Nowhere: it is missing.
    Nowhere,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands.
    pub origin: Origin,
    /// The key, as `cache.ttl` or `tenants[0].name`; empty for the file as a whole.
    pub key: String,
    /// What is wrong, and what is allowed.
    pub message: String,
}

/// Everything that is wrong with one file; at least one problem.
#[derive(Clone, PartialEq, Eq)]
pub struct Problems {
    file: PathBuf,
    text: String,
    list: Vec<Problem>,
}

/// Shows the problems and not the file's text, which may hold secrets.
impl fmt::Debug for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lines()).finish()
    }
}

impl Problems {
    /// The problems of `file`, whose text is `text`, in the order of their lines.
    pub fn new(file: &Path, text: &str, mut list: Vec<Problem>) -> Self {
        list.sort_by_key(|problem| match &problem.origin {
            Origin::File(span) => (0, span.start),
            Origin::Variable(_) => (1, 0),
            Origin::Nowhere => (2, 0),
        });
        list.dedup();
        Self { file: file.into(), text: text.into(), list }
    }

    /// The problems, in the order of their lines.
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// One line a problem: `FILE:LINE:COLUMN: KEY: MESSAGE`.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.list.iter().map(|problem| self.line(problem))
    }

    fn line(&self, problem: &Problem) -> String {
        let place = match &problem.origin {
            Origin::File(span) => {
                let place = Place::of(&self.text, span, &problem.key);
                format!("{}:{}:{}", self.file.display(), place.line, place.column)
            }
            Origin::Variable(name) => format!("environment variable {name}"),
            Origin::Nowhere => self.file.display().to_string(),
        };
        let colon = if problem.key.is_empty() { "" } else { ": " };
        format!("{place}{colon}{}: {}", problem.key, problem.message)
    }
}

/// The lines of [`Problems::lines`], each followed by its key as it stands in the file and a caret under
/// the place. Nothing else of the line is shown: it could be a secret.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.list.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            write!(f, "{}", self.line(problem))?;
            if let Origin::File(span) = &problem.origin {
                Place::of(&self.text, span, &problem.key).draw(f)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A span of the file as people count: lines and columns from 1.
struct Place<'a> {
    line: usize,
    column: usize,
    /// The start of the line as far as it is a key.
    shown: &'a str,
    /// What stands for the rest.
    hidden: &'static str,
    width: usize,
}

impl<'a> Place<'a> {
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
            // What is wrong is the key itself.
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

/// The characters of a key without quotes.
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
        let problem = Problem {
            origin: Origin::File(at..at + 9),
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
    fn nothing_of_a_line_is_shown_but_a_key() {
        let shown = |text: &str, at: &str, key: &str| {
            let start = text.find(at).unwrap();
            let problem = Problem {
                origin: Origin::File(start..start + at.len()),
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
        let problem = |origin: Origin, key: &str| Problem { origin, key: key.into(), message: "bad".into() };
        let problems = Problems::new(
            Path::new("g.toml"),
            "a\nb\nc",
            vec![
                problem(Origin::Nowhere, "missing"),
                problem(Origin::File(4..5), "c"),
                problem(Origin::Variable("X".into()), "x"),
                problem(Origin::File(0..1), "a"),
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
