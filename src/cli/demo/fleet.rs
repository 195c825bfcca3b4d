//! `demo --fleet`: two gateways that share an engine, where one is installed.

use std::time::Duration;

use super::engine::DemoEngine;
use super::setting::{DemoGateway, DemoLog, KEYS, USUAL_PORTS, loopback, start_gateway};
use crate::app::{App, Signals};
use crate::cli::args::DemoArgs;
use crate::cli::colour::ColourChoice;
use crate::cli::outcome::{Exit, print};
use crate::cli::token;
use crate::clock;
use crate::domain::TokenHash;
use crate::mock::{Mock, Options};

/// The second gateway's usual ports: the stand-in upstream of the ordinary demo has the one between.
const OTHER_PORTS: [u16; 2] = [8082, 9091];
/// How long the gateways may take to hear of each other: several heartbeats.
const MEETING: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Runs until Ctrl-C. The engine ends last.
pub(super) async fn run(args: &DemoArgs, colour: ColourChoice) -> Result<(), Exit> {
    let [mut signals, mut other_signals] = [Signals::new()?, Signals::new()?];
    let options = Options { api_keys: KEYS.map(String::from).into(), ..Options::default() };
    let mock = Mock::start(loopback(0), options).await?;
    let engine = DemoEngine::start().await?;
    let fleet = match &engine {
        Some(engine) => Some((engine, token::fresh()?)),
        None => None,
    };
    let token = token::fresh()?;
    let mut log = DemoLog::new(args, colour);
    let configuration = |ports| configuration(&mock, ports, &token, fleet.as_ref());
    let one = start_gateway(USUAL_PORTS, configuration, &mut log).await?;
    let other = start_gateway(OTHER_PORTS, configuration, &mut log).await?;
    if engine.is_some() {
        wait_until_met([&one.app, &other.app]).await?;
    }
    print(&guide(&mock, engine.as_ref(), [&one, &other], &token))?;
    futures_util::future::join(one.app.run(&mut signals), other.app.run(&mut other_signals)).await;
    Ok(())
}

async fn wait_until_met(gateways: [&App; 2]) -> Result<(), Exit> {
    let deadline = clock::now() + MEETING;
    while gateways.iter().any(|app| app.fleet_size() < gateways.len()) {
        if clock::now() > deadline {
            return Err(Exit::failure("the gateways do not hear of each other"));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

fn configuration(
    mock: &Mock,
    [data, admin]: [u16; 2],
    token: &str,
    fleet: Option<&(&DemoEngine, String)>,
) -> String {
    // A busy machine's engine is given time.
    let shared = fleet.map(|(engine, key)| {
        let url = serde_json::Value::from(format!("unix:{}", engine.socket().display()));
        format!("[shared]\nurls = [{url}]\nkey = {{ value = \"{key}\" }}\ntimeout = \"1s\"\n")
    });
    let [upstream_key, _] = KEYS;
    format!(
        "[listen]\naddress = \"127.0.0.1:{data}\"\n[admin]\naddress = \"127.0.0.1:{admin}\"\n\
         [upstream]\nbase_url = \"http://{}\"\n[log]\nformat = \"text\"\nlevel = \"warn\"\n{}\
         [[tenants]]\nname = \"billing\"\ntoken_sha256 = [\"{}\"]\nupstream_key = {{ value = \"{upstream_key}\" }}\n",
        mock.address(),
        shared.unwrap_or_default(),
        TokenHash::of(token.as_bytes()).to_hex(),
    )
}

/// Commands to try, each on its own line.
fn guide(mock: &Mock, engine: Option<&DemoEngine>, gateways: [&DemoGateway; 2], token: &str) -> String {
    let [one, other] = gateways;
    let lookup = |gateway: &DemoGateway| {
        let data = &gateway.data;
        format!("curl -si http://{data}/v1/calls/call_123456789 -H 'Authorization: Bearer {token}'")
    };
    let head = format!(
        "credira-gateway demo --fleet\n\n\
         upstream (stand-in)  http://{}\n\
         first gateway        http://{}  admin http://{}\n\
         second gateway       http://{}  admin http://{}\n",
        mock.address(),
        one.data,
        one.admin,
        other.data,
        other.admin,
    );
    let fetches = format!(
        "curl -s http://{}/metrics http://{}/metrics | grep '^credira_gateway_upstream_requests_total{{code=\"200\"'",
        one.admin, other.admin
    );
    let purge = format!("curl -s -X DELETE http://{}/api/v1/cache/billing/call_123456789", one.admin);
    let (miss, again) = (lookup(one), lookup(other));
    let body = match engine {
        Some(engine) => format!(
            "engine               {}, on {}\n\n\
             A miss at the first gateway: fetched from upstream, and kept for both.\n\
             {miss}\n\n\
             The same call at the second one: a hit that the first has fetched (detail=shared).\n\
             {again}\n\n\
             So there was one fetch for two gateways.\n\
             {fetches}\n\n\
             A purge at the first gateway. It answers when both have applied it (done).\n\
             {purge}\n\n\
             The second one no longer has the call, and fetches it anew.\n\
             {again}\n\n\
             How many gateways the first one has heard of, itself included.\n\
             curl -s http://{}/metrics | grep '^credira_gateway_fleet_gateways '\n\n",
            engine.name(),
            engine.socket().display(),
            one.admin,
        ),
        None => format!(
            "engine               none\n\n\
             Neither valkey-server nor redis-server is on the PATH, so these two gateways share nothing. Install one, for\n\
             example with `apt install redis-server`, and start the demo again.\n\n\
             Without an engine, each gateway fetches the call.\n\
             {miss}\n\
             {again}\n\n\
             So there were two fetches for two gateways.\n\
             {fetches}\n\n\
             A purge reaches the gateway that was asked, and no other.\n\
             {purge}\n\
             {again}\n\n"
        ),
    };
    head + &body + "Ctrl-C ends the demo.\n"
}
