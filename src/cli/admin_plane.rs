//! The commands' access to a running gateway's admin plane.

use std::future::Future;
use std::io::{self, Write};

use http::Method;
use secrecy::SecretString;
use serde_json::Value;

use super::args::AdminArgs;
use super::environment::variables;
use super::outcome::Exit;
use crate::admin::{AdminClient, AdminConnection, AdminReply, AskError, Endpoint};
use crate::config::{self, AdminAccess};
use crate::message::HttpVersion;

pub(crate) struct AdminPlane {
    /// One for each configured address; at least one.
    clients: Vec<AdminClient>,
}

/// Whether a command authenticates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Credentials {
    /// With the admin token, if there is one.
    Token,
    /// None: the request needs no authentication.
    None,
}

impl AdminPlane {
    /// For `/api/`, with the token. Reads only the admin plane's part of the configuration, leniently, and prints
    /// problems with the rest as warnings.
    pub(crate) fn of(args: &AdminArgs) -> Result<Self, Exit> {
        Self::reached_by(args, &Self::access(args)?, Credentials::Token)
    }

    fn access(args: &AdminArgs) -> Result<AdminAccess, Exit> {
        match AdminAccess::load(&args.config.config, &variables()) {
            Ok(access) => Ok(access),
            // With `--admin` a command needs no file.
            Err(_) if args.admin.is_some() => {
                Ok(AdminAccess::without_file(&args.config.config, &variables()))
            }
            Err(problems) => Err(problems.into()),
        }
    }

    /// As [`of`](Self::of), without warnings: the command's answer lists the file's problems anyway.
    pub(crate) fn of_unchecked(args: &AdminArgs) -> Result<Self, Exit> {
        let access = Self::access(args)?.without_warnings();
        Self::reached_by(args, &access, Credentials::Token)
    }

    /// For a probe, whose result must not depend on the file: even an unreadable one is only a warning.
    pub(crate) fn for_probe(args: &AdminArgs) -> Result<Self, Exit> {
        let access = AdminAccess::load(&args.config.config, &variables()).unwrap_or_else(|problems| {
            if args.admin.is_none() {
                warn(problems.lines());
            }
            AdminAccess::without_file(&args.config.config, &variables())
        });
        Self::reached_by(args, &access, Credentials::None).map_err(Exit::into_failure)
    }

    fn reached_by(args: &AdminArgs, access: &AdminAccess, credentials: Credentials) -> Result<Self, Exit> {
        warn(&access.warnings);
        let endpoints = match &args.admin {
            Some(endpoint) => vec![endpoint.clone()],
            None => access.addresses()?.into_iter().map(Endpoint::from).collect(),
        };
        if endpoints.is_empty() {
            return Err(Exit::failure(
                "the admin listener is turned off in the configuration (admin.address = \"\")",
            ));
        }
        let token = match credentials {
            Credentials::Token => token(args, access)?,
            Credentials::None => None,
        };
        let chain = access.chain().unwrap_or_else(|why| {
            warn([format!("admin.tls.cert: {why}")]);
            None
        });
        let client = |endpoint| AdminClient::new(endpoint, chain.as_deref(), token.clone());
        let clients: Result<_, _> = endpoints.into_iter().map(client).collect();
        Ok(Self { clients: clients.map_err(Exit::failure)? })
    }

    /// Sends a request; any status is an answer.
    pub(crate) fn ask(&self, method: &Method, path: &str) -> Result<AdminReply, Exit> {
        block_on(async { Ok(self.connect(HttpVersion::Http1, method, path).await?.1) })
    }

    /// Sends a request to the first address that can be reached. Returns the connection too, for further
    /// requests.
    pub(crate) async fn connect(
        &self,
        protocol: HttpVersion,
        method: &Method,
        path: &str,
    ) -> Result<(AdminConnection<'_>, AdminReply), Exit> {
        let mut failure = Exit::Silent;
        for client in &self.clients {
            let mut connection = client.connection(protocol);
            match connection.ask(method, path).await {
                Ok(asked) => return Ok((connection, asked)),
                Err(error) => {
                    failure = Exit::failure(format!("{}: {error}", client.endpoint()));
                    // The request may have been executed.
                    if !matches!(error, AskError::Unreachable(_)) {
                        break;
                    }
                }
            }
        }
        Err(failure)
    }

    /// Sends an API request; a refusal becomes a failure with its message.
    pub(crate) fn api(&self, method: &Method, path: &str) -> Result<Value, Exit> {
        let asked = self.ask(method, path)?;
        if asked.status.is_success() { Ok(parse(&asked)) } else { Err(self.refused(&asked)) }
    }

    /// The failure for a refusal.
    pub(crate) fn refused(&self, asked: &AdminReply) -> Exit {
        let endpoint = self.clients.first().map(|client| client.endpoint().to_string());
        Exit::failure(format!("{}: {}", endpoint.unwrap_or_default(), refusal(asked)))
    }
}

/// A refusal as one line: status, message, and what a purge has not reached.
pub(crate) fn refusal(asked: &AdminReply) -> String {
    let value = parse(asked);
    let message = value.pointer("/error/message").and_then(Value::as_str).unwrap_or("no usable answer");
    let mut line = format!("{}: {message}", asked.status);
    for (what, path) in
        [("not applied by", "/error/details/missing"), ("disk not erased for", "/error/details/unerased")]
    {
        let names = texts(value.pointer(path));
        if !names.is_empty() {
            line += &format!("; {what} {}", names.join(", "));
        }
    }
    line
}

/// The texts of a list; none if it is no list.
pub(crate) fn texts(list: Option<&Value>) -> Vec<&str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Runs a command's requests.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Exit>>) -> Result<T, Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(work);
    // A resolver that hangs must not delay the exit.
    runtime.shutdown_background();
    result
}

/// The token from the command line, else from the configuration. If that cannot be read, the request is sent
/// without one, because the gateway's refusal says more.
fn token(args: &AdminArgs, access: &AdminAccess) -> Result<Option<SecretString>, Exit> {
    if let Some(file) = &args.admin_token_file {
        let read = config::read_secret_file(file);
        return read.map(Some).map_err(|why| Exit::failure(format!("--admin-token-file: {why}")));
    }
    Ok(access.token().unwrap_or_else(|why| {
        warn([format!("admin.token: {why}")]);
        None
    }))
}

fn warn(warnings: impl IntoIterator<Item = impl AsRef<str>>) {
    for warning in warnings {
        // Ignore write errors: stderr is closed.
        let _ = writeln!(io::stderr(), "warning: {}", warning.as_ref());
    }
}

/// The answer's body as JSON; null if it is not JSON.
pub(crate) fn parse(asked: &AdminReply) -> Value {
    serde_json::from_slice(&asked.body).unwrap_or_default()
}

/// Indented JSON for programs.
pub(crate) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}
