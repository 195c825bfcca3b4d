//! Connections to the engine: a single node, the node that sentinels know to be in charge, or a cluster.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind,
    FromRedisValue, IntoConnectionInfo, Pipeline, RedisConnectionInfo, RedisError, RedisFuture, Script,
    ScriptInvocation, TlsCertificates, TlsMode, Value,
};

use super::failure::EngineFailure;
use super::redis_failure::failure;
use crate::config::{EngineLogin, EngineMode, EngineSettings, EngineUrl};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(1);
/// Commands on their way at a time; further ones wait for their turn, within their own deadlines.
const IN_FLIGHT: usize = 512;

/// A connection, shared by everybody who uses it.
#[derive(Clone)]
pub(crate) enum EngineLink {
    Node(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl EngineLink {
    /// Connects; an answer may take as long as `deadline`.
    pub(crate) async fn connect(engine: &EngineSettings, deadline: Duration) -> Result<Self, EngineFailure> {
        let connecting = Self::connect_unbounded(engine, deadline);
        match crate::clock::within(2 * CONNECT, connecting).await {
            Ok(connected) => connected.map_err(|error| failure(&error)),
            Err(crate::clock::TimedOut) => Err(EngineFailure::Timeout),
        }
    }

    async fn connect_unbounded(engine: &EngineSettings, deadline: Duration) -> Result<Self, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(deadline))
            .set_pipeline_buffer_size(IN_FLIGHT)
            .set_concurrency_limit(IN_FLIGHT);
        match engine.mode {
            EngineMode::Single => {
                let url = engine
                    .urls
                    .first()
                    .ok_or_else(|| RedisError::from((ErrorKind::InvalidClientConfig, "no URL")))?;
                let info = info(url, &engine.login)?;
                let client = match is_tls(url) {
                    true => Client::build_with_tls(info, certificates(engine))?,
                    false => Client::open(info)?,
                };
                Ok(Self::Node(client.get_multiplexed_async_connection_with_config(&config).await?))
            }
            EngineMode::Sentinel => {
                let mut builder = SentinelClientBuilder::new(
                    engine.urls.iter().map(address),
                    &engine.sentinel_master,
                    SentinelServerType::Master,
                )?;
                if engine.urls.iter().any(is_tls) {
                    builder = builder
                        .set_client_to_redis_tls_mode(TlsMode::Secure)
                        .set_client_to_redis_certificates(certificates(engine))
                        .set_client_to_sentinel_tls_mode(TlsMode::Secure)
                        .set_client_to_sentinel_certificates(certificates(engine));
                }
                let EngineLogin { user, password } = &engine.login;
                if let Some(user) = user {
                    builder = builder.set_client_to_redis_username(user);
                }
                if let Some(password) = password {
                    builder = builder.set_client_to_redis_password(password.expose());
                }
                let EngineLogin { user, password } = &engine.sentinel_login;
                if let Some(user) = user {
                    builder = builder.set_client_to_sentinel_username(user);
                }
                if let Some(password) = password {
                    builder = builder.set_client_to_sentinel_password(password.expose());
                }
                let mut client = builder.build()?;
                Ok(Self::Node(client.get_async_connection_with_config(&config).await?))
            }
            EngineMode::Cluster => {
                let mut builder = ClusterClient::builder(engine.urls.iter().map(address))
                    .connection_timeout(CONNECT)
                    .response_timeout(deadline)
                    .retries(1);
                if engine.urls.iter().any(is_tls) {
                    builder = builder.tls(TlsMode::Secure).certs(certificates(engine));
                }
                let EngineLogin { user, password } = &engine.login;
                if let Some(user) = user {
                    builder = builder.username(user);
                }
                if let Some(password) = password {
                    builder = builder.password(password.expose());
                }
                Ok(Self::Cluster(builder.build()?.get_async_connection().await?))
            }
        }
    }

    /// Runs a script; one that the engine doesn't know yet is sent first.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, EngineFailure> {
        script.invoke_async(&mut self.clone()).await.map_err(|error| failure(&error))
    }

    /// Runs a command.
    pub(crate) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, EngineFailure> {
        command.query_async(&mut self.clone()).await.map_err(|error| failure(&error))
    }
}

impl ConnectionLike for EngineLink {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Node(node) => node.req_packed_command(cmd),
            Self::Cluster(cluster) => cluster.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Node(node) => node.req_packed_commands(cmd, offset, count),
            Self::Cluster(cluster) => cluster.req_packed_commands(cmd, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        0
    }
}

fn is_tls(url: &EngineUrl) -> bool {
    matches!(url, EngineUrl::Tls { .. })
}

fn address(url: &EngineUrl) -> ConnectionAddr {
    match url {
        EngineUrl::Tcp { host, port } => ConnectionAddr::Tcp(host.clone(), *port),
        EngineUrl::Tls { host, port } => {
            ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None }
        }
        EngineUrl::Unix(path) => ConnectionAddr::Unix(path.clone()),
    }
}

fn info(url: &EngineUrl, login: &EngineLogin) -> Result<ConnectionInfo, RedisError> {
    let mut redis = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(user) = &login.user {
        redis = redis.set_username(user);
    }
    if let Some(password) = &login.password {
        redis = redis.set_password(password.expose());
    }
    Ok(address(url).into_connection_info()?.set_redis_settings(redis))
}

fn certificates(engine: &EngineSettings) -> TlsCertificates {
    let client = engine.identity.client.as_ref();
    TlsCertificates {
        client_tls: client.map(|(chain, key)| ClientTlsConfig {
            client_cert: chain.clone(),
            client_key: key.expose().as_bytes().to_vec(),
        }),
        root_cert: engine.identity.roots.clone(),
    }
}

/// A script, by its text.
pub(crate) fn script(text: &str) -> Script {
    Script::new(text)
}
