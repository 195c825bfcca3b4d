//! Comma-separated lists (RFC 9110 section 5.6.1) whose members may hold quoted strings.

/// The members of a list, without the white space around them and without empty ones. Commas within quoted
/// strings do not separate.
pub(crate) fn list_members(text: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c: char| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        c == ',' && !quoted
    })
    .map(|member| member.trim_matches([' ', '\t']))
    .filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quoted_strings_do_not_separate() {
        let members: Vec<_> = list_members(",a, b=\"x, \\\"y,\" ,,\tc ,").collect();
        assert_eq!(members, ["a", "b=\"x, \\\"y,\"", "c"]);
    }
}
