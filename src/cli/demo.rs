//! `demo`: everything at once on loopback, with nothing to configure.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use tokio::runtime::Builder;

use super::outcome::{Exit, print};
use super::token;
use crate::app::{App, Signals, Source};
use crate::config::{self, Address};
use crate::domain::TokenHash;
use crate::mock::{Mock, Options};
use crate::telemetry::start_log;

/// The ports of the defaults, which are taken if they are free.
const DATA_PORT: u16 = 8080;
const ADMIN_PORT: u16 = 9090;

const KEYS: [&str; 2] = ["demo-upstream-key-of-billing", "demo-upstream-key-of-support"];

pub fn run() -> Result<(), Exit> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(demo())?;
    runtime.shutdown_background();
    Ok(())
}

async fn demo() -> Result<(), Exit> {
    let mut signals = Signals::new()?;
    let options = Options { api_keys: KEYS.map(String::from).into(), ..Options::default() };
    let mock = Mock::start(loopback(0), options).await?;
    let tokens = [token::fresh()?, token::fresh()?];
    let text = configuration(&mock, &tokens).await;
    let file = Path::new("demo.toml");
    let settings = config::load_text(file, text, &BTreeMap::new())?.settings;
    let log = start_log(&settings.log, std::env::var("RUST_LOG").ok().as_deref());
    let source = Source { file: file.into(), variables: BTreeMap::new() };
    let app = App::start(settings, source, log.control()).await.map_err(Exit::failure)?;
    let (Some(data), Some(admin)) = (app.data_addresses().first(), app.admin_address()) else {
        return Err(Exit::failure("the demo has no listeners"));
    };
    print(&guide(&mock, data, admin, &tokens))?;
    app.run(&mut signals).await;
    print("\nThe demo has ended.\n")
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// The port if it is free, else 0, which takes any.
async fn if_free(port: u16) -> u16 {
    match tokio::net::TcpListener::bind(loopback(port)).await {
        Ok(_) => port,
        Err(_) => 0,
    }
}

async fn configuration(mock: &Mock, tokens: &[String; 2]) -> String {
    let tenant = |(name, key): (&str, &str), token: &String| {
        let hash = TokenHash::of(token.as_bytes()).to_hex();
        format!(
            "[[tenants]]\nname = \"{name}\"\ntoken_sha256 = [\"{hash}\"]\nupstream_key = {{ value = \"{key}\" }}\n\
             rate_limit = {{ per_second = 100, burst = 200 }}\nupstream_limit = {{ per_second = 10, burst = 20 }}\n"
        )
    };
    let [billing_token, support_token] = tokens;
    let [billing_key, support_key] = KEYS;
    format!(
        "[listen]\naddress = \"127.0.0.1:{}\"\n[admin]\naddress = \"127.0.0.1:{}\"\n\
         [upstream]\nbase_url = \"http://{}\"\n[log]\nformat = \"text\"\nlevel = \"warn\"\n{}{}",
        if_free(DATA_PORT).await,
        if_free(ADMIN_PORT).await,
        mock.address(),
        tenant(("billing", billing_key), billing_token),
        tenant(("support", support_key), support_token),
    )
}

/// What to try, each command on a line of its own.
fn guide(mock: &Mock, data: &Address, admin: &Address, tokens: &[String; 2]) -> String {
    let [billing, support] = tokens;
    let lookup = |token: &str, id: &str| {
        format!("curl -si http://{data}/v1/calls/{id} -H 'Authorization: Bearer {token}'")
    };
    format!(
        "credira-gateway demo\n\n\
         upstream (stand-in)  http://{mock}\n\
         gateway              http://{data}\n\
         admin                http://{admin}\n\n\
         A miss: fetched from upstream with billing's own key, and kept (see Cache-Status).\n\
         {miss}\n\n\
         A hit: the same once more, from the cache.\n\
         {hit}\n\n\
         Isolation: support asks for the same call. It is a miss: tenants share nothing.\n\
         {other}\n\n\
         A refusal: nobody's token. Nothing is looked up for strangers.\n\
         {refused}\n\n\
         A call that may still change is passed on and never kept.\n\
         {progress}\n\n\
         The metrics of all this.\n\
         curl -s http://{admin}/metrics | grep '^credira_gateway_cache_requests_total'\n\n\
         Ctrl-C ends the demo.\n",
        mock = mock.address(),
        miss = lookup(billing, "call_123456789"),
        hit = lookup(billing, "call_123456789"),
        other = lookup(support, "call_123456789"),
        refused = lookup("not-a-token", "call_123456789"),
        progress = lookup(billing, "call_progress1"),
    )
}
