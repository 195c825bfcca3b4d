//! A running gateway's admin plane, for the commands that ask it.

use http::{Method, StatusCode};
use secrecy::SecretString;
use serde_json::Value;

use super::args::AdminArgs;
use super::environment::variables;
use super::outcome::Exit;
use crate::admin::{Asked, ask};
use crate::config::{self, Address};

/// The admin plane at an address.
pub struct AdminPlane {
    address: Address,
    token: Option<SecretString>,
}

impl AdminPlane {
    /// At the address that was given, else the configuration's; no secret of the configuration is read.
    pub fn of(args: &AdminArgs) -> Result<Self, Exit> {
        let address = match &args.admin {
            Some(address) => address.clone(),
            None => config::load_admin_address(&args.config.config, &variables())?.ok_or_else(|| {
                Exit::failure("the admin listener is turned off in the configuration (admin.address = \"\")")
            })?,
        };
        let token = args.admin_token_file.as_ref().map(|file| {
            config::read_secret_file(file).map_err(|why| Exit::failure(format!("--admin-token-file: {why}")))
        });
        Ok(Self { address, token: token.transpose()? })
    }

    /// Asks; any answer will do.
    pub fn ask(&self, method: Method, path: &str) -> Result<Asked, Exit> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let asked = runtime.block_on(ask(&self.address, method, path, self.token.as_ref()));
        asked.map_err(|error| Exit::failure(format!("{}: {error}", self.address)))
    }

    /// Asks the API; a refusal becomes a failure in the refusal's own words.
    pub fn api(&self, method: Method, path: &str) -> Result<Value, Exit> {
        let Asked { status, body } = self.ask(method, path)?;
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status == StatusCode::OK {
            return Ok(value);
        }
        let message = value.pointer("/error/message").and_then(Value::as_str).unwrap_or("no usable answer");
        Err(Exit::failure(format!("{}: {status}: {message}", self.address)))
    }
}

/// A value as JSON for programs.
pub fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}
