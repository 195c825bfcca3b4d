//! How the commands reach a running gateway: `[admin]` alone, read leniently, because problems elsewhere in the file
//! must not keep an operator from a working gateway.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use secrecy::SecretString;
use toml::de::{DeTable, DeValue};

use super::address::Address;
use super::parse::{parse, read};
use super::problem::{ConfigProblem, Problems, ValueOrigin};
use super::secret::{RawSecret, SecretReader};
use super::tls::certificates;

/// The prefix of environment variables that override a key of `[admin]`.
const PREFIX: &str = "CREDIRA_GATEWAY__ADMIN__";
/// Where the admin plane is unless the file says otherwise.
const DEFAULT_ADDRESS: &str = "127.0.0.1:9090";

/// The `[admin]` section of a configuration file, as far as the commands need it.
#[derive(Debug)]
pub(crate) struct AdminAccess {
    file: PathBuf,
    variables: BTreeMap<String, String>,
    addresses: Vec<String>,
    token: Option<RawSecret>,
    certificate: Option<PathBuf>,
    /// The problems of the file.
    pub(crate) warnings: Vec<String>,
}

impl AdminAccess {
    /// Reads the file. Fails only where it cannot be read at all.
    pub(crate) fn load(file: &Path, variables: &BTreeMap<String, String>) -> Result<Self, Problems> {
        Ok(Self::of(file, &read(file)?, variables))
    }

    /// For a file that doesn't exist: the defaults and the environment.
    pub(crate) fn without_file(file: &Path, variables: &BTreeMap<String, String>) -> Self {
        Self::of(file, "", variables).without_warnings()
    }

    /// The same without the problems of the file.
    pub(crate) fn without_warnings(self) -> Self {
        Self { warnings: Vec::new(), ..self }
    }

    fn of(file: &Path, text: &str, variables: &BTreeMap<String, String>) -> Self {
        let warnings = match parse(file, text.to_owned(), variables) {
            Ok(parsed) => parsed.document.problems(parsed.problems).lines().collect(),
            Err(problems) => problems.lines().collect(),
        };
        // Recovers what precedes and follows syntax errors.
        let (table, _) = DeTable::parse_recoverable(text);
        let admin = table.get_ref().get("admin").and_then(|admin| admin.get_ref().as_table());
        let value = |name: &str| admin.and_then(|admin| admin.get(name)).map(|value| value.get_ref());
        let variable = |name: &str| variables.get(&format!("{PREFIX}{name}"));
        let addresses = match (variable("ADDRESS"), value("address")) {
            (Some(address), _) => vec![address.clone()],
            (None, Some(DeValue::Array(list))) => list.iter().map(|one| text_of(one.get_ref())).collect(),
            (None, Some(address)) => vec![text_of(address)],
            (None, None) => vec![DEFAULT_ADDRESS.to_owned()],
        };
        let in_file = |name: &str, key: &str| {
            let table = value(name).and_then(DeValue::as_table)?;
            Some(table.get(key)?.get_ref().as_str()?.to_owned())
        };
        let secret = |name: &str| {
            let of_environment = variable(&format!("TOKEN__{}", name.to_ascii_uppercase())).cloned();
            of_environment.or_else(|| in_file("token", name))
        };
        let token = secret("env").map(RawSecret::Env);
        let token = token.or_else(|| secret("file").map(|file| RawSecret::File(file.into())));
        let token = token.or_else(|| secret("value").map(RawSecret::Value));
        let certificate = variable("TLS__CERT").cloned().or_else(|| in_file("tls", "cert"));
        Self {
            file: file.to_owned(),
            variables: variables.clone(),
            addresses,
            token,
            certificate: certificate.map(PathBuf::from),
            warnings,
        }
    }

    /// Where the admin plane listens; empty where it is turned off.
    pub(crate) fn addresses(&self) -> Result<Vec<Address>, Problems> {
        let given = self.addresses.iter().filter(|address| !address.is_empty());
        let parsed: Result<_, ()> = given.map(|address| address.parse()).collect();
        parsed.map_err(|()| {
            let message = format!("expected {} or \"\"", Address::EXPECTED);
            let problem =
                ConfigProblem { origin: ValueOrigin::Nowhere, key: "admin.address".into(), message };
            Problems::new(&self.file, "", vec![problem])
        })
    }

    /// The token that `/api/` asks for, if there is one.
    pub(crate) fn token(&self) -> Result<Option<SecretString>, String> {
        let secrets = SecretReader { variables: &self.variables, folder: self.folder() };
        self.token.as_ref().map(|token| secrets.read(token)).transpose().map_err(String::from)
    }

    /// The certificate chain that the admin plane presents if it uses TLS.
    pub(crate) fn chain(&self) -> Result<Option<Vec<CertificateDer<'static>>>, String> {
        let file = self.certificate.as_ref();
        file.map(|file| certificates(&self.folder().join(file))).transpose().map_err(String::from)
    }

    fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }
}

/// A string, or the source text of anything else.
fn text_of(value: &DeValue<'_>) -> String {
    value.as_str().unwrap_or("?").to_owned()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn access(text: &str, variables: &[(&str, &str)]) -> AdminAccess {
        let variables = variables.iter().map(|&(name, value)| (name.into(), value.into())).collect();
        AdminAccess::of(Path::new("/etc/g.toml"), text, &variables)
    }

    fn addresses(text: &str, variables: &[(&str, &str)]) -> Option<Vec<String>> {
        let addresses = access(text, variables).addresses().ok()?;
        Some(addresses.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_address_is_found_whatever_is_wrong_elsewhere() {
        let other = Some(vec!["127.0.0.1:9999".to_owned()]);
        let admin = "[admin]\naddress = \"127.0.0.1:9999\"\n";
        for rest in ["", "[cache]\ntll = 1\n", "[cache\n", "x = \"\n", "= = =\n", "[[tenants]]\nname = \"A\""]
        {
            assert_eq!(addresses(&format!("{admin}{rest}"), &[]), other, "{rest:?}");
        }
        assert_eq!(addresses("", &[]), Some(vec![DEFAULT_ADDRESS.to_owned()]));
        assert_eq!(addresses("", &[("CREDIRA_GATEWAY__ADMIN__ADDRESS", "127.0.0.1:9999")]), other);
        let list = "[admin]\naddress = [\"127.0.0.1:1\", \"unix:/a\"]";
        assert_eq!(addresses(list, &[]), Some(vec!["127.0.0.1:1".to_owned(), "unix:/a".to_owned()]));
        assert_eq!(addresses("[admin]\naddress = \"\"", &[]), Some(Vec::new()), "turned off");
        assert_eq!(addresses("[admin]\naddress = 5", &[]), None);
        assert_eq!(addresses("[admin]\naddress = \"nowhere\"", &[]), None);
    }

    #[test]
    fn the_token_is_read_from_where_the_file_or_the_environment_says() {
        let token = |text, variables: &[(&str, &str)]| {
            access(text, variables).token().map(|token| token.map(|token| token.expose_secret().to_owned()))
        };
        let admin = "[admin]\ntoken = { env = \"TOKEN\" }";
        assert_eq!(token(admin, &[("TOKEN", "x")]), Ok(Some("x".into())));
        assert_eq!(token(admin, &[]), Err("the environment variable TOKEN is not set".into()));
        assert_eq!(token("[admin]\ntoken.value = \"y\"", &[]), Ok(Some("y".into())));
        assert_eq!(token("", &[("CREDIRA_GATEWAY__ADMIN__TOKEN__VALUE", "z")]), Ok(Some("z".into())));
        assert_eq!(token("", &[]), Ok(None));
    }

    #[test]
    fn problems_elsewhere_are_warnings() {
        assert!(access("", &[]).warnings.is_empty());
        let warnings = access("[cache]\ntll = \"1h\"\n", &[]).warnings;
        assert!(
            matches!(warnings.as_slice(), [one] if one.contains("g.toml:2:1: cache.tll")),
            "{warnings:?}"
        );
    }
}
