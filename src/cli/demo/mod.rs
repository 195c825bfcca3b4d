//! `demo`: gateway and stand-in upstream on loopback, with nothing to configure.

mod engine;
mod fleet;
mod load;
mod setting;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::runtime::Builder;

use self::setting::{DemoGateway, DemoLog, KEYS, USUAL_PORTS, start_gateway, start_mock};
use super::args::DemoArgs;
use super::colour::ColourChoice;
use super::outcome::{Exit, print, write_unless_blocked};
use super::token;
use crate::app::Signals;
use crate::clock::WallClock;
use crate::config::Address;
use crate::domain::TokenHash;
use crate::mock::{Mock, Options};

pub(crate) fn run(args: &DemoArgs, colour: ColourChoice) -> Result<(), Exit> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    match args.fleet {
        true => runtime.block_on(fleet::run(args, colour))?,
        false => runtime.block_on(demo(args, colour))?,
    }
    runtime.shutdown_background();
    write_unless_blocked(std::io::stdout(), "\nThe demo has ended.\n".into());
    Ok(())
}

async fn demo(args: &DemoArgs, colour: ColourChoice) -> Result<(), Exit> {
    let mut signals = Signals::new()?;
    let kind = if args.load { DemoTraffic::Load } else { DemoTraffic::Quiet };
    let options = Options { api_keys: KEYS.map(String::from).into(), ..kind.upstream() };
    let mock = start_mock(options).await?;
    let kept = kept(args.keep.as_deref())?;
    let tokens = [token::fresh()?, token::fresh()?];
    let mut log = DemoLog::new(args, colour);
    let configuration = |ports| configuration(&mock, &tokens, kind, kept.as_deref(), ports);
    let DemoGateway { app, data, admin } = start_gateway(USUAL_PORTS, configuration, &mut log).await?;
    print(&guide(&mock, &data, &admin, &tokens, kept.as_deref()))?;
    match (kind, data) {
        (DemoTraffic::Load, Address::Tcp(address)) => {
            let load = load::run(address, &admin, &tokens);
            tokio::select! {
                () = app.run(&mut signals) => {}
                never = load => match never {},
            }
        }
        (DemoTraffic::Load | DemoTraffic::Quiet, _) => app.run(&mut signals).await,
    }
    Ok(())
}

/// The directory for stored calls: the named one, or else a new temporary one, if it can be created.
fn kept(named: Option<&Path>) -> Result<Option<PathBuf>, Exit> {
    match named {
        Some(directory) => {
            std::fs::create_dir_all(directory)?;
            Ok(Some(std::path::absolute(directory)?))
        }
        None => {
            let name = format!("credira-gateway-demo-{:08x}", fastrand::u32(..));
            let directory = std::env::temp_dir().join(name);
            let is_there = DirBuilder::new().mode(0o700).create(&directory).is_ok();
            Ok(is_there.then_some(directory))
        }
    }
}

/// The source of lookups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DemoTraffic {
    /// The user who tries the commands.
    Quiet,
    /// The demo itself.
    Load,
}

impl DemoTraffic {
    /// An upstream with latency and occasional failures gives every panel something to show.
    fn upstream(self) -> Options {
        match self {
            Self::Quiet => Options::default(),
            Self::Load => {
                Options { latency: Duration::from_millis(40), error_rate: 0.02, ..Options::default() }
            }
        }
    }

    /// Configuration sections besides addresses and tenants.
    const fn sections(self) -> &'static str {
        match self {
            Self::Quiet => "",
            // Settling calls are revalidated while the user watches; access lines of refusals would fill the
            // terminal.
            Self::Load => "access = \"off\"\n[cache]\nsettle_ttl = \"3s\"\n",
        }
    }

    /// The second tenant's rate limit.
    const fn support_limit(self) -> &'static str {
        match self {
            Self::Quiet => "per_second = 100, burst = 200",
            Self::Load => "per_second = 1, burst = 3",
        }
    }
}

fn configuration(
    mock: &Mock,
    tokens: &[String; 2],
    kind: DemoTraffic,
    kept: Option<&Path>,
    [data, admin]: [u16; 2],
) -> String {
    let tenant = |(name, key): (&str, &str), token: &String, limit: &str| {
        let hash = TokenHash::of(token.as_bytes()).to_hex();
        format!(
            "[[tenants]]\nname = \"{name}\"\ntoken_sha256 = [\"{hash}\"]\nupstream_key = {{ value = \"{key}\" }}\n\
             routes = [\"call\", \"calls\", \"recording\", \"transcription\"]\nrate_limit = {{ {limit} }}\nupstream_limit = {{ per_second = 10, burst = 20 }}\n"
        )
    };
    // The gateway creates the level's directory itself. A path that is no text can't be configured.
    let level = kept.and_then(|directory| directory.join("level").to_str().map(str::to_owned));
    let disk = level.map(|path| format!("[disk]\npath = {}\n", serde_json::Value::from(path)));
    let [billing_token, support_token] = tokens;
    let [billing_key, support_key] = KEYS;
    format!(
        "[listen]\naddress = \"127.0.0.1:{data}\"\n[admin]\naddress = \"127.0.0.1:{admin}\"\n\
         [upstream]\nbase_url = \"http://{}\"\n[media]\nhosts = [\"{}\"]\n[log]\nformat = \"text\"\nlevel = \"warn\"\n{}{}{}{}",
        mock.address(),
        mock.media_address(),
        kind.sections(),
        disk.unwrap_or_default(),
        tenant(("billing", billing_key), billing_token, DemoTraffic::Quiet.support_limit()),
        tenant(("support", support_key), support_token, kind.support_limit()),
    )
}

/// Commands to try, each on its own line.
fn guide(mock: &Mock, data: &Address, admin: &Address, tokens: &[String; 2], kept: Option<&Path>) -> String {
    let again = kept.map(|directory| {
        format!(
            "On disk: end the demo and start it with this; the first lookup is then a hit from disk.\n\
             credira-gateway demo --keep {}\n\n",
            directory.display()
        )
    });
    let [billing, support] = tokens;
    let ends = WallClock::system().now().as_second() + 8;
    let lookup = |token: &str, id: &str| {
        format!("curl -si http://{data}/v1/calls/{id} -H 'Authorization: Bearer {token}'")
    };
    let media = |token: &str, path: &str, file: &str| {
        format!("curl -sS --fail http://{data}/v1/calls/{path} -H 'Authorization: Bearer {token}' -o {file}")
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
         A refusal: no tenant's token. Nothing is looked up without a valid one.\n\
         {refused}\n\n\
         A call that may still change is passed on and never kept.\n\
         {progress}\n\n\
         Waiting: answered when the call is completed, a few seconds after this demo began.\n\
         {wait}\n\n\
         A recording, by the call's own link and with the key that the link asks for: play it.\n\
         {recording}\n\n\
         One that the API redirects to a media host, which never sees the key.\n\
         {redirected}\n\n\
         The transcription.\n\
         {transcription}\n\n\
         The metrics of all this; the dashboard is at http://{admin}/.\n\
         curl -s http://{admin}/metrics | grep '^credira_gateway_cache_requests_total'\n\n\
         {again}Ctrl-C ends the demo.\n",
        again = again.unwrap_or_default(),
        mock = mock.address(),
        recording = media(billing, "call_123456789/recording", "call.mp3"),
        redirected = media(billing, "call_redirected1/recording", "redirected.mp3"),
        transcription = media(billing, "call_123456789/transcription", "-"),
        miss = lookup(billing, "call_123456789"),
        hit = lookup(billing, "call_123456789"),
        other = lookup(support, "call_123456789"),
        refused = lookup("not-a-token", "call_123456789"),
        progress = lookup(billing, "call_progress1"),
        wait = lookup(billing, &format!("call_until{ends}")) + " -H 'Prefer: wait=30'",
    )
}
