//! Answers a client that uses HTTP without TLS on a TLS port, in a form that it can read.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 52\r\n\
    Connection: close\r\n\r\nThis port speaks HTTPS. Use https:// in the address.";

/// Bytes of the request that are read before the socket closes: with unread data, the kernel would reset the
/// connection, and the client might lose the answer.
const MOST_READ: u64 = 64 << 10;

/// Waits for the client's first byte. A TLS handshake begins with its record type, 22; HTTP methods and HTTP/2's
/// preface begin with a letter.
pub(super) async fn is_spoken(socket: &TcpStream) -> bool {
    let mut first = [0];
    matches!(socket.peek(&mut first).await, Ok(1)) && first.iter().all(u8::is_ascii_alphabetic)
}

/// Refuses every request.
pub(super) async fn refuse(socket: &mut TcpStream) {
    // The client may have disconnected.
    if socket.write_all(ANSWER).await.is_ok() && socket.shutdown().await.is_ok() {
        let _ = tokio::io::copy(&mut socket.take(MOST_READ), &mut tokio::io::sink()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_has_the_length_that_it_states() {
        let text = std::str::from_utf8(ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }
}
