//! The links to recordings and transcriptions, and to what they redirect. They come from outside: only a plain
//! absolute URL is one. Its query may hold a signature, so a link is never shown.

use std::fmt;

use http::Uri;
use http::uri::Scheme;

/// The longest link that is read.
const MAX_BYTES: usize = 8 << 10;

/// An absolute URL, read once: what was checked is what is sent.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Link(Uri);

/// This is no link that could be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoLink;

impl Link {
    /// Reads a URL of scheme, host, path and query. One with user info, a fragment, a backslash, control or
    /// non-ASCII characters, or a dot segment, encoded or not, is none.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, NoLink> {
        let is_plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#');
        if text.len() > MAX_BYTES || !text.iter().all(is_plain) {
            return Err(NoLink);
        }
        let uri = Uri::try_from(text).map_err(|_| NoLink)?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else { return Err(NoLink) };
        let host = authority.host();
        let port = authority.as_str().get(host.len()..).unwrap_or_default();
        let has_port = !port.is_empty();
        let is_right = (*scheme == Scheme::HTTP || *scheme == Scheme::HTTPS)
            && !host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte))
            && !authority.as_str().contains('@')
            && (!has_port || authority.port_u16().is_some_and(|port| port > 0))
            && !has_dot_segment(uri.path());
        if is_right { Ok(Self(uri)) } else { Err(NoLink) }
    }

    /// Reads the `Location` of a response to this link: a URL, or a path on the same host.
    pub(crate) fn redirected(&self, location: &[u8]) -> Result<Self, NoLink> {
        // "//host" is a URL without a scheme, which another reader may take for a path.
        let is_path = location.first() == Some(&b'/') && location.get(1) != Some(&b'/');
        if !is_path {
            return Self::parse(location);
        }
        let (Some(scheme), Some(authority)) = (self.0.scheme_str(), self.0.authority()) else {
            return Err(NoLink);
        };
        Self::parse(&[scheme.as_bytes(), b"://", authority.as_str().as_bytes(), location].concat())
    }

    pub(crate) const fn uri(&self) -> &Uri {
        &self.0
    }

    /// Host and port, for a line in the log.
    pub(crate) fn host(&self) -> &str {
        self.0.authority().map_or("", |authority| authority.as_str())
    }

    /// What follows the last dot of the path's last segment.
    pub(crate) fn extension(&self) -> Option<&str> {
        let name = self.0.path().rsplit('/').next()?;
        name.rsplit_once('.').map(|(_, extension)| extension)
    }

    /// Whether its path leads, or could be read as leading, into `/v1`.
    pub(crate) fn is_into_api(&self) -> bool {
        let path = decoded(self.0.path());
        let mut segments = path.split(is_separator).filter(|segment| !segment.is_empty());
        segments.next().is_some_and(|first| without_parameters(first).eq_ignore_ascii_case(b"v1"))
    }
}

/// Shows nothing of it: it may be all that is needed to get personal data.
impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link(***)")
    }
}

/// Whether a segment of the path means this or the parent folder, to whichever reader.
fn has_dot_segment(path: &str) -> bool {
    let path = decoded(path);
    path.split(is_separator).map(without_parameters).any(|segment| segment == b"." || segment == b"..")
}

const fn is_separator(byte: &u8) -> bool {
    matches!(byte, b'/' | b'\\')
}

/// What some servers read of a segment: what comes before a `;`.
fn without_parameters(segment: &[u8]) -> &[u8] {
    segment.split(|byte| *byte == b';').next().unwrap_or_default()
}

/// The path with every escape replaced, and the escapes that appear thereby, too: one pass, as each replacement
/// is read again together with the bytes before it.
fn decoded(path: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for byte in path.bytes() {
        out.push(byte);
        while let [rest @ .., b'%', high, low] = out.as_slice()
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            let (length, value) = (rest.len(), high << 4 | low);
            out.truncate(length);
            out.push(value);
        }
    }
    out
}

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(text: &str) -> Result<Link, NoLink> {
        Link::parse(text.as_bytes())
    }

    #[test]
    fn a_plain_absolute_url_is_a_link_and_is_sent_as_it_was_read() {
        for text in [
            "https://api.credira.com/recordings/call_123456789.mp3",
            "https://cdn.example:8443/a/b.c?X-Amz-Signature=ab%2Fc&x=../y",
            "http://127.0.0.1:9000/x",
            "https://[::1]:9000/x",
            "https://cdn.example/a%20b/..c/.d;x=1",
            "https://cdn.example",
            "https://cdn.example/a%/b%zz",
        ] {
            let read = link(text).unwrap();
            assert_eq!(read.uri().to_string().trim_end_matches('/'), text, "{text}");
        }
    }

    // T92.
    #[test]
    fn anything_that_readers_might_read_differently_is_no_link() {
        let long = format!("https://cdn.example/{}", "a".repeat(MAX_BYTES));
        for text in [
            "",
            "/recordings/x.mp3",
            "//evil/x",
            "x.mp3",
            "file:///etc/passwd",
            "ftp://cdn.example/x",
            "javascript:alert(1)",
            "https:/cdn.example/x",
            "https:\\\\evil\\x",
            "https://cdn.example\\@evil/x",
            "https://api.credira.com@evil/x",
            "https://user:pw@cdn.example/x",
            "https://cdn.example/x#y",
            "https://cdn.example/x#",
            "https://cdn.example/a b",
            " https://cdn.example/x",
            "https://cdn.example/x\n",
            "https://cdn.example/\u{0}",
            "https://b\u{fc}cher.example/x",
            "https://cdn%2eexample/x",
            "https://cdn.example:/x",
            "https://cdn.example:0/x",
            "https://cdn.example:99999/x",
            "https://cdn.example:80:80/x",
            "https:///x",
            "https://?x",
            "https://cdn.example/a/../b",
            "https://cdn.example/a/./b",
            "https://cdn.example/..",
            "https://cdn.example/a/%2e%2e/b",
            "https://cdn.example/a/%2E./b",
            "https://cdn.example/a/.%2e;x/b",
            "https://cdn.example/a%2f..%2fb",
            "https://cdn.example/a%5c..%5cb",
            "https://cdn.example/a/%252e%252e/b",
            "https://cdn.example/a/%25%32%65%2e/b",
            &long,
        ] {
            assert_eq!(link(text), Err(NoLink), "{text:.60}");
        }
    }

    // T92.
    #[test]
    fn a_path_into_the_api_is_found_however_it_is_spelt() {
        for path in [
            "/v1/users/1",
            "/v1",
            "/V1/calls",
            "//v1/calls",
            "/%76%31/calls",
            "/%2576%31/calls",
            "/v1%2fcalls",
            "/v1;x/calls",
            "/%2fv1/x",
            "/%5cv1/x",
        ] {
            assert!(link(&format!("https://a.example{path}")).unwrap().is_into_api(), "{path}");
        }
        for path in ["", "/recordings/v1/x", "/v1x", "/v2/calls", "/recordings/x?/v1/"] {
            assert!(!link(&format!("https://a.example{path}")).unwrap().is_into_api(), "{path}");
        }
    }

    // T93.
    #[test]
    fn a_location_is_a_url_or_a_path_on_the_same_host() {
        let from = link("https://cdn.example:8443/a/b?x").unwrap();
        let to = |location: &str| from.redirected(location.as_bytes()).map(|link| link.uri().to_string());
        assert_eq!(to("/c?y").unwrap(), "https://cdn.example:8443/c?y");
        assert_eq!(to("https://other.example/c").unwrap(), "https://other.example/c");
        let long = format!("/{}", "a".repeat(10_000));
        for bad in ["", "c", "?y", "//evil/c", "/../c", "/c#d", "/\\evil", &long] {
            assert_eq!(to(bad), Err(NoLink), "{bad:.20}");
        }
    }

    // T95.
    #[test]
    fn debug_output_shows_nothing_of_a_link() {
        let link = link("https://cdn.example/x?signature=secret").unwrap();
        assert_eq!(format!("{link:?}"), "Link(***)");
        assert_eq!((link.host(), link.extension()), ("cdn.example", None));
    }

    #[test]
    fn the_extension_is_that_of_the_last_segment() {
        for (text, extension) in [
            ("https://a.example/x.mp3", Some("mp3")),
            ("https://a.example/x.y/z?a.mp3", None),
            ("https://a.example/x.tar.gz", Some("gz")),
            ("https://a.example", None),
        ] {
            assert_eq!(link(text).unwrap().extension(), extension, "{text}");
        }
    }
}
