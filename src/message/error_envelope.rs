use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;

#[derive(Serialize)]
struct ErrorEnvelope<'a> {
    success: bool,
    error: Error<'a>,
    meta: Meta<'a>,
}

#[derive(Serialize)]
struct Error<'a> {
    code: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct Meta<'a> {
    timestamp: &'a str,
    request_id: &'a str,
}

/// The upstream's own envelope around an error of ours, as JSON:
/// `{"success":false,"error":{"code","message"},"meta":{"timestamp","request_id"}}`, the time in
/// whole seconds UTC.
pub(crate) fn error_envelope(code: &str, message: &str, at: Timestamp, request_id: &str) -> Bytes {
    let timestamp = format!("{at:.0}");
    let envelope = ErrorEnvelope {
        success: false,
        error: Error { code, message },
        meta: Meta { timestamp: &timestamp, request_id },
    };
    // Strings under string keys always serialise; an empty body would still carry its status.
    serde_json::to_vec(&envelope).map(Bytes::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_has_the_upstreams_shape() {
        let at = "2024-01-15T10:30:00.987Z".parse().unwrap();
        assert_eq!(
            error_envelope("NOT_FOUND", "No such route", at, "req_1"),
            r#"{"success":false,"error":{"code":"NOT_FOUND","message":"No such route"},"meta":{"timestamp":"2024-01-15T10:30:00Z","request_id":"req_1"}}"#
        );
    }
}
