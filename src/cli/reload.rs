//! `reload`.

use std::io::{self, Write};

use http::{Method, StatusCode};
use serde_json::Value;

use super::admin_plane::{AdminPlane, parse, pretty, refusal};
use super::args::{ReloadArgs, Verbosity};
use super::outcome::{Exit, print};

pub(crate) fn run(args: &ReloadArgs) -> Result<(), Exit> {
    let asked = AdminPlane::of_unchecked(&args.admin)?.ask(&Method::POST, "/api/v1/reload")?;
    let answer = parse(&asked);
    if args.admin.json {
        print(&pretty(&answer))?;
        return if asked.status == StatusCode::OK { Ok(()) } else { Err(Exit::Silent) };
    }
    match asked.status {
        StatusCode::OK if args.verbosity() == Verbosity::Quiet => Ok(()),
        StatusCode::OK => print("reloaded\n"),
        StatusCode::UNPROCESSABLE_ENTITY => {
            let problems = answer.pointer("/error/details").and_then(Value::as_array);
            for problem in problems.into_iter().flatten().filter_map(Value::as_str) {
                writeln!(io::stderr(), "{problem}")?;
            }
            Err(Exit::failure("reload rejected; the gateway is still running the previous configuration"))
        }
        _ => Err(Exit::failure(refusal(&asked))),
    }
}
