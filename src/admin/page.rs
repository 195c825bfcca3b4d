//! The dashboard: one page with inline style and script, which uses the API.
//!
//! Its content security policy permits exactly this style and this script, by digest, and only connections to its own
//! listener. Names and messages of tenants, the upstream and the configuration can be displayed, but never executed.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use http::{HeaderName, HeaderValue, StatusCode};
use sha2::{Digest, Sha256};

use super::answer::{AdminResponse, typed};

macro_rules! style {
    () => {
        include_str!("dashboard/style.css")
    };
}

macro_rules! script {
    () => {
        concat!(
            "'use strict';\n",
            include_str!("dashboard/series.js"),
            include_str!("dashboard/elements.js"),
            include_str!("dashboard/charts.js"),
            include_str!("dashboard/api.js"),
            include_str!("dashboard/overview.js"),
            include_str!("dashboard/tenants.js"),
            include_str!("dashboard/problems.js"),
            include_str!("dashboard/actions.js"),
            include_str!("dashboard/main.js"),
        )
    };
}

const STYLE: &str = style!();
const SCRIPT: &str = script!();

const PAGE: &str = concat!(
    include_str!("dashboard/head.html"),
    "<style>",
    style!(),
    "</style>\n",
    include_str!("dashboard/body.html"),
    "<script>",
    script!(),
    "</script>\n",
);

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// `Content-Security-Policy` of the page.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; img-src data:; \
         frame-ancestors 'none'; base-uri 'none'; form-action 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
        digest(SCRIPT),
        digest(STYLE)
    )
});

/// The source expression for an inline text's digest (CSP level 3, section 2.3.1).
fn digest(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

pub(crate) fn page() -> AdminResponse {
    let mut answer = typed(StatusCode::OK, HTML, Bytes::from_static(PAGE.as_bytes()));
    let headers = answer.headers_mut();
    if let Ok(policy) = HeaderValue::try_from(POLICY.as_str()) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text between two tags that occur once.
    fn between<'a>(text: &'a str, open: &str, close: &str) -> &'a str {
        let (_, rest) = text.split_once(open).unwrap();
        assert!(!rest.contains(open), "{open} twice");
        rest.split_once(close).unwrap().0
    }

    #[test]
    fn the_policy_names_the_style_and_script_of_the_page_and_nothing_else() {
        let policy = page().headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        let style = digest(between(PAGE, "<style>", "</style>"));
        let script = digest(between(PAGE, "<script>", "</script>"));
        assert!(policy.contains(&format!("script-src '{script}';")), "{policy}");
        assert!(policy.contains(&format!("style-src '{style}';")), "{policy}");
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    }

    #[test]
    fn the_page_is_whole_in_itself_and_writes_text_as_text() {
        for word in ["src=", "http://", "https://", " style=", " onclick=", " onload=", "@import", "url("] {
            let told = PAGE.replace("http://www.w3.org/2000/svg", "");
            assert!(!told.contains(word), "{word}");
        }
        for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("] {
            assert!(!SCRIPT.contains(word), "{word}");
        }
        for word in ["localStorage", "sessionStorage", "indexedDB", "document.cookie", "history.pushState"] {
            assert!(!SCRIPT.contains(word), "a token has no place in {word}");
        }
    }
}
