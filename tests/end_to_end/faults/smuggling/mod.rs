//! Request smuggling: several hundred first messages with ambiguous framing, each followed by a valid request for
//! another call, with the first call in every state that a lookup can find it in. However a message is parsed, no
//! connection gets more responses than it has valid requests (plus one refusal), each response is about the requested
//! call, and the upstream sees only requests of the contract.

mod variants;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{
    Act, Client, Config, Gateway, KEYS, Response, TOKENS, Upstream, call, call_reply, reply,
};
use variants::{Plain, Variant, Verdict};

/// The state of the first message's call when it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Miss,
    Hit,
    /// Stored, no longer fresh, and the upstream fails.
    Stale,
    /// Another lookup's fetch is in flight.
    Follower,
    /// In progress, and the lookup waits until it is final.
    Wait,
}

const SECOND: &str = "call_second";

/// The calls that end while they are waited for: in progress at the first request.
fn unfinished(id: &str) -> Vec<Act> {
    reply(
        "200 OK",
        &["Content-Type: application/json"],
        &call(id).replace("\"completed\"", "\"in_progress\""),
    )
}

/// Calls are completed; those with `wait` in their name from the second request on. Those with `stale` can be had
/// once, and a second later are no longer fresh.
fn upstream() -> Upstream {
    let asked = std::sync::Mutex::new(std::collections::HashMap::<String, usize>::new());
    Upstream::scripted(move |seen| {
        let before = {
            let mut asked = asked.lock().unwrap();
            let count = asked.entry(seen.id().to_owned()).or_default();
            *count += 1;
            *count - 1
        };
        let id = seen.id();
        if id.contains("wait") && before == 0 {
            unfinished(id)
        } else if id.contains("stale") && before == 0 {
            call_reply(id, &["Cache-Control: max-age=0, stale-if-error=3600"])
        } else if id.contains("stale") {
            reply("503 X", &[], "")
        } else {
            call_reply(id, &[])
        }
    })
}

fn gateway(upstream: &Upstream) -> Gateway {
    Config::default()
        .with("wait", "poll_min = \"50ms\"\npoll_max = \"50ms\"\nmax_calls = 4096")
        .with("limits", "header_read_timeout = \"1s\"")
        .with("upstream.retry", "max_attempts = 1")
        .with("upstream.breaker", "min_requests = 1000000")
        .start(upstream)
}

/// The call that a variant asks for in a state, made ready.
fn prepare(gateway: &Gateway, state: State, number: usize) -> String {
    match state {
        State::Miss => format!("call_miss{number}"),
        State::Hit => "call_hit".to_owned(),
        State::Stale => "call_stale".to_owned(),
        State::Follower => {
            let id = format!("call_follow{number}");
            // Its response is not read: its fetch may still be in flight.
            gateway.connect().get(&format!("/v1/calls/{id}"), TOKENS[0], &[]);
            id
        }
        State::Wait => format!("call_wait{number}"),
    }
}

/// Every response on a connection until it ends.
fn responses(client: &mut Client) -> Vec<Response> {
    let all: Vec<_> = std::iter::from_fn(|| client.try_read()).collect();
    assert!(client.is_closed(), "bytes that are no response");
    all
}

/// Sends a variant and the second request, holds the responses against the verdict, and returns what differs.
fn try_variant(gateway: &Gateway, variant: &Variant, state: State, number: usize) -> Option<String> {
    let id = prepare(gateway, state, number);
    let lines = if state == State::Wait { "Prefer: wait=15\r\n" } else { "" };
    let mut bytes = variant.bytes(&Plain { target: &format!("/v1/calls/{id}"), token: TOKENS[0], lines });
    bytes.extend_from_slice(
        format!(
            "GET /v1/calls/{SECOND} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
            TOKENS[1]
        )
        .as_bytes(),
    );
    let mut client = gateway.connect();
    client.try_send(bytes);
    let responses = responses(&mut client);
    let statuses: Vec<_> = responses.iter().map(|response| response.status).collect();
    let refused = |status: &u16| (400..600).contains(status);
    let as_expected = match variant.verdict {
        Verdict::Refused => statuses.len() <= 1 && statuses.iter().all(refused),
        Verdict::Rejected => statuses.len() == 2 && refused(&statuses[0]) && statuses[1] == 200,
        Verdict::Valid => statuses == [200, 200],
        Verdict::Last => statuses == [200],
    };
    let asked = [id.as_str(), SECOND];
    let about_the_right_calls = responses
        .iter()
        .zip(asked)
        .all(|(response, id)| response.status != 200 || response.json()["data"]["id"] == id);
    if as_expected && about_the_right_calls {
        None
    } else {
        Some(format!("{}: {:?}, but got {statuses:?}", variant.name, variant.verdict))
    }
}

/// What the upstream may see: `GET` of the calls that valid requests asked for, with their tenant's key and the fields
/// of the contract.
fn hold_the_upstream_to_the_contract(upstream: &Upstream) {
    let known: BTreeSet<_> = [
        "host",
        "authorization",
        "accept",
        "accept-encoding",
        "user-agent",
        "via",
        "x-request-id",
        "traceparent",
    ]
    .into_iter()
    .chain(["if-none-match", "if-modified-since"])
    .collect();
    for seen in upstream.seen() {
        assert_eq!(seen.method, "GET");
        let tenant = usize::from(seen.id() == SECOND);
        assert_eq!(
            seen.header("authorization"),
            Some(format!("Bearer {}", KEYS[tenant]).as_str()),
            "{seen:?}"
        );
        for (name, _) in &seen.headers {
            assert!(known.contains(name.as_str()), "{name}: {seen:?}");
        }
        assert!(seen.id().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{seen:?}");
    }
}

fn smuggle(state: State) {
    let upstream = upstream();
    let gateway = gateway(&upstream);
    for id in ["call_hit", "call_stale"] {
        assert_eq!(gateway.get(id).status, 200);
    }
    let variants = variants::all();
    assert!(variants.len() >= 400, "{}", variants.len());
    let next = AtomicUsize::new(0);
    let one_after_another = || {
        let numbers = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)));
        let taken = numbers.map_while(|number| Some((number, variants.get(number)?)));
        taken
            .filter_map(|(number, variant)| try_variant(&gateway, variant, state, number))
            .collect::<Vec<_>>()
    };
    let wrong: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(one_after_another)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(wrong.is_empty(), "{} of {} variants:\n{}", wrong.len(), variants.len(), wrong.join("\n"));
    hold_the_upstream_to_the_contract(&upstream);
}

#[test]
fn nothing_is_smuggled_past_a_miss() {
    smuggle(State::Miss);
}

#[test]
fn nothing_is_smuggled_past_a_hit() {
    smuggle(State::Hit);
}

#[test]
fn nothing_is_smuggled_past_a_stale_answer() {
    smuggle(State::Stale);
}

#[test]
fn nothing_is_smuggled_past_a_follower() {
    smuggle(State::Follower);
}

#[test]
fn nothing_is_smuggled_past_a_wait() {
    smuggle(State::Wait);
}
