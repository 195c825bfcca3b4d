//! Bounds the nesting of JSON: the parser recurses even into values that it skips.

/// Levels of objects and arrays; the API's calls have three.
const MAX_DEPTH: usize = 128;

/// Whether objects and arrays nest within the limit. Does not check whether the text is JSON.
pub(super) fn is_nested_within_limits(text: &str) -> bool {
    let mut rest = text.as_bytes();
    // Nearly always true: fewer brackets in total than may nest.
    if rest.iter().filter(|byte| matches!(byte, b'{' | b'[')).count() <= MAX_DEPTH {
        return true;
    }
    let mut depth = 0_usize;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => match after_string(after) {
                Some(after) => rest = after,
                None => return false,
            },
            _ => {}
        }
        if depth > MAX_DEPTH {
            return false;
        }
    }
    true
}

/// The text after the string that `rest` is inside of; `None` if the string does not end.
fn after_string(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let at = memchr::memchr2(b'"', b'\\', rest)?;
        if rest.get(at) == Some(&b'"') {
            return rest.get(at + 1..);
        }
        // Past the backslash and the first character of its escape.
        rest = rest.get(at + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_limited() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(is_nested_within_limits(&nested(127)));
        assert!(!is_nested_within_limits(&nested(128)));
        assert!(!is_nested_within_limits(&nested(100_000)));
    }

    #[test]
    fn many_brackets_side_by_side_or_in_strings_do_not_nest() {
        assert!(is_nested_within_limits(&"[]".repeat(1000)));
        assert!(is_nested_within_limits(&format!("{{\"a\":\"{}\\\"{{\\\\\",\"b\":1}}", "[".repeat(1000))));
        assert!(!is_nested_within_limits(&format!("\"{}", "[".repeat(1000))), "an unclosed string");
        assert!(!is_nested_within_limits(&format!("\"{}\\", "[".repeat(1000))), "cut in an escape");
    }
}
