//! From the file's words to checked settings: everything that a schema can't say. Goes on after a
//! problem, so that all of them are reported at once.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::document::Document;
use super::problem::{Origin, Problem};
use super::proxy::Proxy;
use super::raw::{self, OneOrMore};
use super::secret::{KeptIn, SecretReader, UpstreamKey};
use super::settings::{
    Address, Admin, BaseUrl, Breaker, Cache, Limits, Listen, Log, Rate, Retry, Settings, Shutdown, Tenant,
    Upstream,
};
use super::tls::{ExtraRoots, TlsIdentity};
use super::units::{Size, Span};
use crate::domain::{MAX_TOKEN_CHARS, MIN_TOKEN_CHARS, TenantName, TokenHash, is_token68};

const YEAR: Duration = Duration::from_secs(366 * 24 * 3600);
const MIN_HEADER_BYTES: u64 = 8 << 10;
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// What came of checking: the settings if there were no problems, and warnings in any case.
#[derive(Debug, Default)]
pub struct Findings {
    /// What makes the configuration unusable.
    pub problems: Vec<Problem>,
    /// What an operator should know.
    pub warnings: Vec<String>,
}

/// Checks a whole configuration.
pub fn check(
    raw: raw::Config,
    document: &Document,
    secrets: &SecretReader<'_>,
) -> (Option<Settings>, Findings) {
    let mut checker = Checker { document, secrets, findings: Findings::default() };
    let settings = checker.settings(raw);
    let findings = checker.findings;
    (settings.filter(|_| findings.problems.is_empty()), findings)
}

/// The address of the admin listener alone, for commands that need nothing else of the file.
pub fn check_admin(raw: &raw::Admin, document: &Document) -> Result<Option<Address>, Problem> {
    if raw.address.is_empty() {
        return Ok(None);
    }
    raw.address.parse().map(Some).map_err(|()| Problem {
        origin: document.origin("admin.address"),
        key: "admin.address".into(),
        message: format!("expected {} or \"\"", Address::EXPECTED),
    })
}

struct Checker<'a> {
    document: &'a Document,
    secrets: &'a SecretReader<'a>,
    findings: Findings,
}

impl Checker<'_> {
    fn problem(&mut self, key: &str, message: impl Into<String>) {
        let origin = self.document.origin(key);
        self.findings.problems.push(Problem { origin, key: key.into(), message: message.into() });
    }

    /// The value, or its problem noted under `key`.
    fn take<T, E: Into<String>>(&mut self, key: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|message| self.problem(key, message)).ok()
    }

    fn settings(&mut self, raw: raw::Config) -> Option<Settings> {
        let listen = self.listen(raw.listen);
        let admin = self.admin(raw.admin);
        let upstream = self.upstream(&raw.upstream);
        let cache = self.cache(&raw.cache);
        let limits = self.limits(&raw.limits);
        let tenants = self.tenants(raw.tenants, raw.cache.max_bytes_per_tenant);
        self.compare_addresses(listen.as_ref(), admin.as_ref());
        if listen.as_ref().is_some_and(|listen| limits.max_connections < listen.addresses.len()) {
            // Each listener that waits for a client keeps a place for it.
            self.problem("limits.max_connections", "expected at least one for each of listen.address");
        }
        let poll = raw.reload.poll.get();
        Some(Settings {
            listen: listen?,
            admin: admin?,
            upstream: upstream?,
            cache,
            limits,
            log: Log {
                format: raw.log.format,
                level: raw.log.level,
                access: raw.log.access,
                call_ids: raw.log.call_ids,
            },
            shutdown: Shutdown {
                grace: raw.shutdown.grace.get(),
                drain_timeout: raw.shutdown.drain_timeout.get(),
            },
            reload_poll: (!poll.is_zero()).then_some(poll),
            tenants: tenants?,
        })
    }

    fn listen(&mut self, raw: raw::Listen) -> Option<Listen> {
        let texts = match raw.address {
            OneOrMore::One(text) => vec![Some(text)],
            OneOrMore::More(texts) => texts,
        };
        if texts.is_empty() {
            self.problem("listen.address", "expected at least one address");
        }
        let parsed: Vec<Option<Address>> = texts
            .iter()
            .flatten()
            .map(|text| {
                let address = text.parse().map_err(|()| format!("expected {}", Address::EXPECTED));
                self.take("listen.address", address)
            })
            .collect();
        let addresses: Option<Vec<Address>> = parsed.into_iter().collect();
        let identity = raw.tls.map(|files| {
            let read = TlsIdentity::read(&files, self.secrets.folder);
            read.map_err(|(key, message)| self.problem(&format!("listen.tls.{key}"), message)).ok()
        });
        let tls = match identity {
            Some(identity) => Some(identity?),
            None => None,
        };
        Some(Listen { addresses: addresses?, tls })
    }

    /// Two listeners cannot have one address, but for a port that the kernel chooses.
    fn compare_addresses(&mut self, listen: Option<&Listen>, admin: Option<&Admin>) {
        let is_fixed = |address: &&Address| !matches!(address, Address::Tcp(tcp) if tcp.port() == 0);
        let data = || listen.into_iter().flat_map(|listen| &listen.addresses).filter(is_fixed);
        if data().enumerate().any(|(place, address)| data().take(place).any(|other| other == address)) {
            self.problem("listen.address", "expected each address once");
        }
        let admin = admin.and_then(|admin| admin.address.as_ref());
        if admin.is_some_and(|admin| data().any(|address| address == admin)) {
            self.problem("admin.address", "expected another address than those of listen.address");
        }
    }

    fn admin(&mut self, raw: raw::Admin) -> Option<Admin> {
        let address =
            check_admin(&raw, self.document).map_err(|problem| self.findings.problems.push(problem));
        for (place, host) in right(&raw.hosts) {
            if host.parse::<http::uri::Authority>().map_or(true, |name| name.host() != host) {
                self.problem(&format!("admin.hosts[{place}]"), "expected a host name without a port");
            }
        }
        let token = raw.token.as_ref().map(|source| {
            let hash = self.token("admin.token", source);
            (hash, KeptIn::from(source))
        });
        let hosts = raw.hosts.iter().flatten().map(|host| host.to_ascii_lowercase()).collect();
        Some(Admin {
            address: address.ok()?,
            hosts,
            token: token.and_then(|(hash, kept_in)| Some((hash?, kept_in))),
        })
    }

    fn upstream(&mut self, raw: &raw::Upstream) -> Option<Upstream> {
        let base_url = self.take("upstream.base_url", BaseUrl::parse(&raw.base_url));
        let open = base_url.as_ref().is_some_and(|url| url.is_plaintext() && !url.is_loopback());
        if open && !raw.allow_plaintext {
            let message = "http:// would send the upstream key in the clear: use https://, or set \
                           upstream.allow_plaintext = true";
            self.problem("upstream.base_url", message);
        }
        let extra_roots = raw.ca_file.as_ref().and_then(|file| {
            let read = ExtraRoots::read(file, self.secrets.folder);
            self.take("upstream.ca_file", read)
        });
        let proxy = match base_url.as_ref().map(|url| Proxy::for_upstream(url, self.secrets.variables)) {
            Some(Err(message)) => {
                let origin = Origin::Variable("HTTPS_PROXY".into());
                self.findings.problems.push(Problem { origin, key: String::new(), message });
                None
            }
            Some(Ok(proxy)) => proxy,
            None => None,
        };
        let mut positive = |key: &str, span: Span| {
            if span.get().is_zero() {
                self.problem(key, "expected a duration above 0");
            }
            span.get()
        };
        let connect_timeout = positive("upstream.connect_timeout", raw.connect_timeout);
        let first_byte_timeout = positive("upstream.first_byte_timeout", raw.first_byte_timeout);
        let total_timeout = positive("upstream.total_timeout", raw.total_timeout);
        let window = positive("upstream.breaker.window", raw.breaker.window);
        let open_for = positive("upstream.breaker.open_for", raw.breaker.open_for);
        Some(Upstream {
            base_url: base_url?,
            allow_plaintext: raw.allow_plaintext,
            connect_timeout,
            first_byte_timeout,
            total_timeout,
            max_response_bytes: self.bytes("upstream.max_response_bytes", raw.max_response_bytes),
            max_connections: raw.max_connections as usize,
            max_waiting: raw.max_waiting as usize,
            extra_roots,
            proxy,
            retry: Retry {
                max_attempts: raw.retry.max_attempts,
                budget_percent: u8::try_from(raw.retry.budget_percent).unwrap_or(100),
            },
            breaker: Breaker {
                failure_percent: raw.breaker.failure_percent,
                min_requests: raw.breaker.min_requests,
                window,
                open_for,
            },
        })
    }

    /// A size that one allocation can have: 1 byte to 1 GiB.
    fn bytes(&mut self, key: &str, size: Size) -> usize {
        if !(1..=1 << 30).contains(&size.bytes()) {
            self.problem(key, "expected a size from 1B to 1GiB");
        }
        usize::try_from(size.bytes()).unwrap_or(usize::MAX)
    }

    fn cache(&mut self, raw: &raw::Cache) -> Cache {
        if raw.max_bytes_per_tenant.bytes() == 0 {
            self.problem("cache.max_bytes_per_tenant", "expected a size above 0");
        }
        Cache {
            max_bytes_per_tenant: raw.max_bytes_per_tenant.bytes(),
            max_entry_bytes: self.bytes("cache.max_entry_bytes", raw.max_entry_bytes),
            cacheable_statuses: raw.cacheable_statuses.iter().flatten().cloned().collect(),
            ttl: raw.ttl.get(),
            settle_window: raw.settle_window.get(),
            settle_ttl: raw.settle_ttl.get(),
            stale_while_revalidate: raw.stale_while_revalidate.get(),
            stale_if_error: raw.stale_if_error.get(),
            not_found_ttl: raw.not_found_ttl.get(),
            upstream_cache_control: raw.upstream_cache_control,
            client_cache_control: raw.client_cache_control,
        }
    }

    fn limits(&mut self, raw: &raw::Limits) -> Limits {
        for (key, span) in [
            ("limits.header_read_timeout", raw.header_read_timeout),
            ("limits.idle_timeout", raw.idle_timeout),
        ] {
            if span.get().is_zero() {
                self.problem(key, "expected a duration above 0");
            }
        }
        let bytes = raw.max_header_bytes.bytes();
        if !(MIN_HEADER_BYTES..=MAX_HEADER_BYTES).contains(&bytes) {
            self.problem("limits.max_header_bytes", "expected a size from 8KiB to 1MiB");
        }
        Limits {
            max_in_flight: raw.max_in_flight as usize,
            max_connections: raw.max_connections as usize,
            header_read_timeout: raw.header_read_timeout.get(),
            idle_timeout: raw.idle_timeout.get(),
            max_header_bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
            rate_limit_headers: raw.rate_limit_headers,
        }
    }

    fn tenants(&mut self, raw: Vec<Option<raw::Tenant>>, default_bytes: Size) -> Option<Vec<Tenant>> {
        if raw.is_empty() {
            self.problem("tenants", "expected at least one [[tenants]] entry");
        }
        let mut names = HashMap::new();
        let mut owners = HashMap::new();
        let mut tenants = Vec::with_capacity(raw.len());
        for (place, raw) in raw.into_iter().enumerate() {
            // What is wrong with the shape of one is a problem already.
            let Some(raw) = raw else { continue };
            let key = format!("tenants[{place}]");
            if let Some(first) = raw.name.clone().and_then(|name| names.insert(name, place)) {
                self.problem(&format!("{key}.name"), format!("tenants[{first}] has this name already"));
            }
            let tenant = self.tenant(&key, &raw, default_bytes);
            let hashes = tenant.as_ref().map(|tenant| tenant.token_hashes.as_slice()).unwrap_or_default();
            for hash in hashes {
                if let Some(owner) = owners.insert(*hash, place).filter(|owner| *owner != place) {
                    let message =
                        format!("one of its tokens is tenants[{owner}]'s, too: a token names one tenant");
                    self.problem(&key, message);
                }
            }
            tenants.push(tenant);
        }
        tenants.into_iter().collect()
    }

    fn tenant(&mut self, key: &str, raw: &raw::Tenant, default_bytes: Size) -> Option<Tenant> {
        let name = raw.name.as_ref().and_then(|name| {
            let name = TenantName::parse(name).map_err(|_| "expected [a-z0-9-]{1,63}, and not \"-\" alone");
            self.take(&format!("{key}.name"), name)
        });
        let token_hashes = self.token_hashes(key, raw);
        let upstream_key =
            raw.upstream_key.as_ref().map(|source| self.upstream_key(&format!("{key}.upstream_key"), source));
        let next_path = format!("{key}.upstream_key_next");
        let upstream_key_next =
            raw.upstream_key_next.as_ref().map(|source| self.upstream_key(&next_path, source));
        let cache_max_bytes = raw.cache_max_bytes.unwrap_or(default_bytes).bytes();
        if cache_max_bytes == 0 {
            self.problem(&format!("{key}.cache_max_bytes"), "expected a size above 0");
        }
        let rate_limit = self.rate(&format!("{key}.rate_limit"), raw.rate_limit);
        let upstream_limit = self.rate(&format!("{key}.upstream_limit"), raw.upstream_limit);
        let (upstream_key, upstream_key_kept_in) = upstream_key.flatten()?;
        Some(Tenant {
            name: name?,
            token_hashes,
            upstream_key,
            upstream_key_kept_in,
            upstream_key_next: upstream_key_next.flatten(),
            tokens_kept_in: raw.tokens.iter().flatten().map(KeptIn::from).collect(),
            cache_max_bytes,
            rate_limit,
            upstream_limit,
        })
    }

    fn token_hashes(&mut self, key: &str, raw: &raw::Tenant) -> Vec<TokenHash> {
        let mut hashes = Vec::new();
        for (place, hex) in right(&raw.token_sha256) {
            let hash = TokenHash::from_hex(hex).map_err(|_| "expected 64 hexadecimal digits");
            hashes.extend(self.take(&format!("{key}.token_sha256[{place}]"), hash));
        }
        for (place, source) in right(&raw.tokens) {
            hashes.extend(self.token(&format!("{key}.tokens[{place}]"), source));
        }
        if raw.token_sha256.is_empty() && raw.tokens.is_empty() {
            self.problem(key, "expected at least one token: token_sha256 or tokens");
        }
        hashes
    }

    /// An upstream key, and where it is kept.
    fn upstream_key(&mut self, key: &str, source: &raw::Secret) -> Option<(UpstreamKey, KeptIn)> {
        self.warn_inline(key, source);
        let read = self.secrets.upstream_key(source);
        self.take(key, read).map(|upstream_key| (upstream_key, KeptIn::from(source)))
    }

    /// The digest of a token that is kept as a secret.
    fn token(&mut self, key: &str, source: &raw::Secret) -> Option<TokenHash> {
        self.warn_inline(key, source);
        let token = self.secrets.read(source);
        let token = self.take(key, token)?;
        let bytes = token.expose_secret().as_bytes();
        if !(MIN_TOKEN_CHARS..=MAX_TOKEN_CHARS).contains(&bytes.len()) || !is_token68(bytes) {
            let message = format!(
                "expected a token of {MIN_TOKEN_CHARS} to {MAX_TOKEN_CHARS} letters, digits and -._~+/ \
                 (`credira-gateway token new` makes one)"
            );
            self.problem(key, message);
        }
        Some(TokenHash::of(bytes))
    }

    fn warn_inline(&mut self, key: &str, source: &raw::Secret) {
        if let raw::Secret::Value(_) = source {
            let advice = "use { env = \"…\" } or { file = \"…\" } outside of tests";
            self.findings.warnings.push(format!("{key}: the secret stands in the file itself; {advice}"));
        }
    }

    fn rate(&mut self, key: &str, raw: Option<raw::Rate>) -> Option<Rate> {
        let raw = raw?;
        let per_second = match (raw.per_second, raw.per_minute) {
            (Some(rate), None) => rate,
            (None, Some(rate)) => rate / 60.0,
            (None, None) | (Some(_), Some(_)) => {
                self.problem(key, "expected either per_second or per_minute");
                return None;
            }
        };
        let sane = per_second.is_finite() && (1e-7..=1e9).contains(&per_second);
        if !sane {
            self.problem(key, "expected a rate above 0, from one in 16 weeks to 1000000000 a second");
            return None;
        }
        let interval = Duration::from_secs_f64(1.0 / per_second).max(Duration::from_nanos(1));
        // The conversion saturates, and the bounds above keep it in range.
        let default_burst = per_second.ceil().max(1.0) as u32;
        let burst = NonZeroU32::new(raw.burst.unwrap_or(default_burst))?;
        if interval.saturating_mul(burst.get()) > YEAR {
            self.problem(key, "this burst would take more than a year to refill");
        }
        Some(Rate { interval, burst })
    }
}

/// The entries of a list that are right so far, each with its place.
fn right<T>(list: &[Option<T>]) -> impl Iterator<Item = (usize, &T)> {
    list.iter().enumerate().filter_map(|(place, entry)| entry.as_ref().map(|entry| (place, entry)))
}
