//! The variants: first messages whose framing two parsers might interpret differently, byte by byte, each with the
//! number of valid requests in it. A valid request for another call, the *second*, follows each of them.

/// The meaning of a variant by RFC 9112 and the gateway's contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not a request, or one with a body: at most one response, no 2xx, and the connection ends.
    Refused,
    /// A request without a body: it is answered, and the second one after it.
    Valid,
    /// An unambiguous request for something that does not exist or is not allowed: a 4xx, then the second one's answer.
    Rejected,
    /// A valid request that closes the connection (HTTP/1.0, `Connection: close`): the only one that is answered.
    Last,
}

use Verdict::{Last, Refused, Rejected, Valid};

/// One first message.
pub(super) struct Variant {
    /// What differs from the plain request.
    pub name: String,
    pub verdict: Verdict,
    bytes: Box<Write>,
}

type Write = dyn Fn(&Plain<'_>) -> Vec<u8> + Send + Sync;

/// The target of a variant's plain request.
pub(super) struct Plain<'a> {
    pub target: &'a str,
    pub token: &'a str,
    /// Further lines, each with its end.
    pub lines: &'a str,
}

impl Variant {
    pub(super) fn bytes(&self, plain: &Plain<'_>) -> Vec<u8> {
        (self.bytes)(plain)
    }
}

/// Every variant.
pub(super) fn all() -> Vec<Variant> {
    let mut all = Vec::new();
    transfer_codings(&mut all);
    lengths(&mut all);
    field_syntax(&mut all);
    line_ends(&mut all);
    request_lines(&mut all);
    hops(&mut all);
    all
}

/// A request with these field lines, raw, and these bytes behind its head.
fn with_fields(all: &mut Vec<Variant>, verdict: Verdict, fields: &[u8], body: &[u8]) {
    let (fields, body) = (fields.to_vec(), body.to_vec());
    let name = format!("{} + {}", fields.escape_ascii(), body.escape_ascii());
    let bytes = move |plain: &Plain<'_>| {
        let mut bytes = head(plain, "GET", "HTTP/1.1").into_bytes();
        bytes.extend_from_slice(&fields);
        bytes.extend_from_slice(b"\r\n\r\n");
        bytes.extend_from_slice(&body);
        bytes
    };
    all.push(Variant { name, verdict, bytes: Box::new(bytes) });
}

/// A head but for its empty line.
fn head(plain: &Plain<'_>, method: &str, version: &str) -> String {
    format!(
        "{method} {} {version}\r\nHost: gateway\r\nAuthorization: Bearer {}\r\n{}",
        plain.target, plain.token, plain.lines
    )
}

/// Every form of `Transfer-Encoding`, alone and with a length before or after it.
fn transfer_codings(all: &mut Vec<Variant>) {
    const SPELLINGS: &[&[u8]] = &[
        b"Transfer-Encoding: chunked",
        b"transfer-encoding: chunked",
        b"TRANSFER-ENCODING: CHUNKED",
        b"Transfer-Encoding:chunked",
        b"Transfer-Encoding:  chunked",
        b"Transfer-Encoding:\tchunked",
        b"Transfer-Encoding: chunked ",
        b"Transfer-Encoding: chunked\t",
        b"Transfer-Encoding: chunked,",
        b"Transfer-Encoding: ,chunked",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: identity, chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked, gzip",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: gzip",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunkedx",
        b"Transfer-Encoding: x chunked",
        b"Transfer-Encoding: \"chunked\"",
        b"Transfer-Encoding: chunked;q=1",
        b"Transfer-Encoding: ",
        b"Transfer-Encoding:",
        b"Transfer-Encoding: chun\tked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: \xe4chunked",
        // Names that a lenient parser accepts as it.
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding\t: chunked",
        b" Transfer-Encoding: chunked",
        b"\tTransfer-Encoding: chunked",
        b"Transfer Encoding: chunked",
        b"Transfer-Encoding\x00: chunked",
        b"Transfer-Encoding\x0b: chunked",
        b"\x00Transfer-Encoding: chunked",
        b"Transfer-Encoding\xff: chunked",
        b"Transfer-Encoding chunked",
        // Values with bytes that some parsers treat as the end of a line.
        b"Transfer-Encoding:\x0bchunked",
        b"Transfer-Encoding:\x0cchunked",
        b"Transfer-Encoding: chunked\x00",
        b"Transfer-Encoding: \x00chunked",
        b"Transfer-Encoding: chunked\x0b",
        b"Transfer-Encoding: chunked\x7f",
        b"Transfer-Encoding: chunked\r",
        b"Transfer-Encoding: \rchunked",
        // Folded lines (RFC 9112 section 5.2).
        b"Transfer-Encoding:\r\n chunked",
        b"Transfer-Encoding:\r\n\tchunked",
        b"Transfer-Encoding: chunked\r\n ,identity",
        b"X: y\r\n Transfer-Encoding: chunked",
        // Behind a line that ends in a bare line feed.
        b"X: y\nTransfer-Encoding: chunked",
        b"X: y\rTransfer-Encoding: chunked",
    ];
    const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
    for spelling in SPELLINGS {
        with_fields(all, Refused, spelling, LAST_CHUNK);
        with_fields(all, Refused, spelling, b"");
        with_fields(all, Refused, &[b"Content-Length: 5\r\n", *spelling].concat(), LAST_CHUNK);
        with_fields(all, Refused, &[*spelling, b"\r\nContent-Length: 5"].concat(), LAST_CHUNK);
        with_fields(all, Refused, &[*spelling, b"\r\nContent-Length: 0"].concat(), b"");
    }
    // Names that mean something else (RFC 9110 section 5.1), without a body: plain requests.
    for name in [
        "Transfer_Encoding",
        "Transfer-Encodings",
        "X-Transfer-Encoding",
        "Transfer.Encoding",
        "TransferEncoding",
    ] {
        with_fields(all, Valid, format!("{name}: chunked").as_bytes(), b"");
        // The bytes after the head of such a request are not a request.
        with_fields(all, Last, format!("Connection: close\r\n{name}: chunked").as_bytes(), LAST_CHUNK);
    }
    // Chunked bodies that some parsers delimit differently.
    for body in [
        &b"5\r\nhello\r\n0\r\n\r\n"[..],
        b"5\nhello\n0\n\n",
        b"5;x=\"\r\n\"\r\nhello\r\n0\r\n\r\n",
        b"05\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"-1\r\nhello\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhelloX0\r\n\r\n",
        b"0\r\nX: y\r\n\r\n",
        b"0\r\nContent-Length: 9\r\n\r\n",
        b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"0\n\n",
        b"0\r\r\n\r\n",
        b"\r\n0\r\n\r\n",
        b"g\r\n\r\n",
    ] {
        with_fields(all, Refused, b"Transfer-Encoding: chunked", body);
    }
}

/// Every form of `Content-Length`.
fn lengths(all: &mut Vec<Variant>) {
    for value in [
        "5",
        "05",
        "005",
        "+5",
        "-5",
        "5 ",
        "5\t",
        "5 5",
        "5,5",
        "5, 5",
        "5,",
        ",5",
        "5;",
        "5.0",
        "5e0",
        "0x5",
        "5\x0b",
        "\x0b5",
        "5\x00",
        "\x005",
        "5\r",
        "5\u{660}",
        "\u{665}",
        "five",
        "5\x7f",
        "\"5\"",
        "18446744073709551615",
        "18446744073709551616",
        "18446744073709551621",
        "99999999999999999999999999",
        "-0",
        "+0",
        "0,0",
        "0, 5",
        "5, 0",
        "0 0",
        "0x0",
        "",
        " ",
        "\r\n 5",
        "5\r\n 5",
        "5\nX: y",
    ] {
        with_fields(all, Refused, format!("Content-Length: {value}").as_bytes(), b"hello");
    }
    for fields in [
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 0",
        "Content-Length: 0\r\nContent-Length: 5",
        "Content-Length: 5\r\nX: y\r\nContent-Length: 6",
        "content-length: 5\r\nCONTENT-LENGTH: 5",
        "Content-Length : 5",
        "Content-Length\t: 5",
        " Content-Length: 5",
        "Content-Length\x0b: 5",
        "Content Length: 5",
        "X: y\r\n Content-Length: 5",
        "X: y\nContent-Length: 5",
        "X: y\rContent-Length: 5",
        "Content-Length: 5\r\nExpect: 100-continue",
        "Content-Length: 5\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked",
        "Content-Length: 0\r\nContent-Length: 0",
        "Content-Length: 0, 0",
        "Content-Length: 00\r\nContent-Length: 0",
    ] {
        with_fields(all, Refused, fields.as_bytes(), b"hello");
    }
    // One zero says that there is no body (RFC 9112 section 6.3).
    for fields in [
        "Content-Length: 0",
        "content-length:0",
        "Content-Length: 0 ",
        "Content-Length:\t0",
        "Content-Length: 0\t \t",
    ] {
        with_fields(all, Valid, fields.as_bytes(), b"");
    }
    for name in ["Content_Length", "Content-Lengths", "X-Content-Length", "ContentLength", "Content-Length2"]
    {
        with_fields(all, Valid, format!("{name}: 5").as_bytes(), b"");
    }
}

/// Malformed field lines, and unusual ones that are valid.
fn field_syntax(all: &mut Vec<Variant>) {
    for line in [
        &b"X"[..],
        b": y",
        b" : y",
        b"X y: z",
        b"X\x00: y",
        b"X: \x00",
        b"X: y\x00z",
        b"X\r: y",
        b"X: y\rz",
        b"X: y\r\r",
        b"(X): y",
        b"X@: y",
        b"X[: y",
        b"X{: y",
        b"X\"y\": z",
        b"X/y: z",
        b"X\xc3\xa4: y",
        b"X: y\r\n z",
        b"X: y\r\n\tz",
        b"X: \r\n y",
        b"Host : gateway",
        b"Host: gateway\r\nHost: gateway",
        b"Host: gateway, gateway",
        b"host: other",
        b"Host:",
        b"Host: a b",
        b"Host: a/b",
        b"Host: a?b",
        b"Host: a@b",
        b"Host: a\\b",
        b"Host: a#b",
        b"X: \x01",
        b"X: \x1f",
        b"X: \x7f",
    ] {
        // A second `Host` makes any spelling of one ambiguous (RFC 9112 section 3.2).
        with_fields(all, Refused, line, b"");
    }
    for line in [
        &b"X:"[..],
        b"X: ",
        b"X:y",
        b"X:\ty",
        b"X: y:z",
        b"X: \xe4",
        b"X: \xff\xfe",
        b"X!#$%&'*+-.^_`|~: y",
        b"X: (y",
        b"X: \"y",
        b"X: y\tz",
        b"1: 2",
        b"X: GET /v1/calls/call_second HTTP/1.1",
    ] {
        with_fields(all, Valid, line, b"");
    }
}

/// Heads whose end some parsers see and others do not.
fn line_ends(all: &mut Vec<Variant>) {
    let mut whole = |name: &str, verdict, rewrite: fn(String) -> Vec<u8>| {
        let bytes = move |plain: &Plain<'_>| rewrite(head(plain, "GET", "HTTP/1.1") + "\r\n");
        all.push(Variant { name: name.to_owned(), verdict, bytes: Box::new(bytes) });
    };
    whole("plain", Valid, String::into_bytes);
    whole("an empty line before", Valid, |head| format!("\r\n{head}").into_bytes());
    whole("two empty lines before", Valid, |head| format!("\r\n\r\n{head}").into_bytes());
    whole("bare line feeds before", Valid, |head| format!("\n{head}").into_bytes());
    whole("bare carriage returns in the head", Refused, |head| head.replace("\r\n", "\r").into_bytes());
    whole("two carriage returns a line", Refused, |head| head.replace("\r\n", "\r\r\n").into_bytes());
    whole("reversed line ends", Refused, |head| head.replace("\r\n", "\n\r").into_bytes());
    whole("a space before", Refused, |head| format!(" {head}").into_bytes());
    whole("a tab before", Refused, |head| format!("\t{head}").into_bytes());
    whole("a NUL before", Refused, |head| format!("\0{head}").into_bytes());
    whole("a byte order mark before", Refused, |head| format!("\u{feff}{head}").into_bytes());
    whole("a carriage return before", Refused, |head| format!("\r{head}").into_bytes());
    whole("vertical tabs for line ends", Refused, |head| head.replace("\r\n", "\x0b").into_bytes());
    whole("a NUL at the end of each line", Refused, |head| head.replace("\r\n", "\0\r\n").into_bytes());
    whole("a line separator for line ends", Refused, |head| head.replace("\r\n", "\u{2028}").into_bytes());
    whole("a space in the empty line", Refused, |head| {
        (head[..head.len() - 2].to_owned() + " \r\n\r\n").into_bytes()
    });
    whole("a tab in the empty line", Refused, |head| {
        (head[..head.len() - 2].to_owned() + "\t\r\n\r\n").into_bytes()
    });
}

/// First lines: a method, a target and a version, valid or almost.
fn request_lines(all: &mut Vec<Variant>) {
    let mut line = |verdict, line: &str| {
        let written = line.to_owned();
        let bytes = move |plain: &Plain<'_>| {
            let rest = head(plain, "GET", "HTTP/1.1");
            let (_, rest) = rest.split_once("\r\n").expect("a first line");
            format!("{}\r\n{rest}\r\n", written.replace("{}", plain.target)).into_bytes()
        };
        all.push(Variant { name: line.escape_debug().to_string(), verdict, bytes: Box::new(bytes) });
    };
    for written in [
        "GET {}",
        "GET  {} HTTP/1.1",
        "GET {}  HTTP/1.1",
        "GET\t{}\tHTTP/1.1",
        "GET {} HTTP/1.1 ",
        "GET {} HTTP/1.1 HTTP/1.1",
        "GET {} http/1.1",
        "GET {} HTTP/1",
        "GET {} HTTP/1.",
        "GET {} HTTP/1.2",
        "GET {} HTTP/1.10",
        "GET {} HTTP/11",
        "GET {} HTTP/2.0",
        "GET {} HTTP/0.9",
        "GET {} HTTP/3",
        "GET {} HTTPS/1.1",
        "GET {} HTTP 1.1",
        "GET {} HTTP/ 1.1",
        "GET {} HTTP/1 .1",
        "GET {} XTTP/1.1",
        "GET {} HTTP/-1.1",
        "GET {} HTTP/1.1\x00",
        "GET {}\x00 HTTP/1.1",
        "GE\x00T {} HTTP/1.1",
        "GET {}\x0b HTTP/1.1",
        "{} HTTP/1.1",
        "GET HTTP/1.1",
        "GET",
        "",
        "(GET) {} HTTP/1.1",
        "GET: {} HTTP/1.1",
        "G\u{e4}T {} HTTP/1.1",
        "GET {}\r HTTP/1.1",
        "GET {} \rHTTP/1.1",
        "GET {} HTTP/1.1\rX: y",
        "GET {}#x HTTP/1.1",
        "GET v1{} HTTP/1.1",
        "CONNECT gateway:80 HTTP/1.1",
        "PRI * HTTP/2.0\r\n\r\nSM",
    ] {
        line(Refused, written);
    }
    for written in [
        "GET * HTTP/1.1",
        "GET /.{} HTTP/1.1",
        "GET /x/..{} HTTP/1.1",
        "GET /{} HTTP/1.1",
        "GET gateway:80 HTTP/1.1",
        "GET {}%00 HTTP/1.1",
        "GET {}%0d%0a HTTP/1.1",
        "GET {}/ HTTP/1.1",
        "GET {};x HTTP/1.1",
        "GET {}? HTTP/1.1",
        "GET {}?x=y HTTP/1.1",
        "GET {}\\ HTTP/1.1",
        "GETX {} HTTP/1.1",
        "POST {} HTTP/1.1",
        "PUT {} HTTP/1.1",
        "TRACE {} HTTP/1.1",
        "get {} HTTP/1.1",
    ] {
        line(Rejected, written);
    }
    for written in [
        "GET http://gateway{} HTTP/1.1",
        "GET http://elsewhere{} HTTP/1.1",
        "GET https://gateway:1{} HTTP/1.1",
    ] {
        line(Valid, written);
    }
    line(Last, "GET {} HTTP/1.0");
}

/// Fields about this connection, or about another protocol on it.
fn hops(all: &mut Vec<Variant>) {
    with_fields(all, Rejected, b"Expect: something", b"");
    for fields in [
        "Connection: keep-alive",
        "Connection: Content-Length",
        "Connection: Transfer-Encoding",
        "Connection: Host",
        "Connection: Authorization",
        "Connection: X-Request-Id",
        "Connection: keep-alive, Cookie",
        "Connection: ,",
        "Connection:",
        "Keep-Alive: timeout=1000, max=1",
        "Proxy-Connection: close",
        "Proxy-Authorization: Basic YTpi",
        "TE: trailers",
        "TE: chunked",
        "Trailer: Content-Length",
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
        "Upgrade: websocket\r\nConnection: Upgrade",
        "Upgrade: TLS/1.2, HTTP/1.1\r\nConnection: Upgrade",
        "X-HTTP-Method-Override: DELETE",
        "X-Original-URL: /v1/calls/call_second",
        "X-Rewrite-URL: /v1/calls/call_second",
        "X-Forwarded-Host: elsewhere",
        "Forwarded: host=elsewhere",
        "Max-Forwards: 0",
        "Content-Type: application/json",
        "Content-Encoding: gzip",
        "Expect: 100-continue",
        "Range: bytes=0-0",
        "Via: 1.1 x",
        "Authorization2: Bearer x",
        "Cookie: a=b",
        "HTTP2-Settings: AAMAAABkAAQAAP__",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ] {
        with_fields(all, Valid, fields.as_bytes(), b"");
    }
    for fields in [
        "Connection: close",
        "Connection: keep-alive, close",
        "Connection: CLOSE",
        "Connection: x\r\nConnection: close",
    ] {
        with_fields(all, Last, fields.as_bytes(), b"");
    }
}
