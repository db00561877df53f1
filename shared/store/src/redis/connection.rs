//! A connection to whichever kind of Redis is configured.

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo as _,
    Pipeline, RedisConnectionInfo, RedisError, RedisResult, ServerErrorKind, TlsCertificates, TlsMode, Value,
};
use tokio::sync::Mutex;

use super::batch::{Batch, Command};
use crate::config::{Mode, RedisSettings};

/// Makes connections.
pub(super) struct Connector {
    way: Way,
    config: AsyncConnectionConfig,
}

enum Way {
    Single(Box<Client>),
    /// Asks the Sentinels each time who the master is.
    Sentinel(Box<Mutex<SentinelClient>>),
    Cluster(Box<ClusterClient>),
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let way = match self.way {
            Way::Single(_) => "single",
            Way::Sentinel(_) => "sentinel",
            Way::Cluster(_) => "cluster",
        };
        f.debug_struct("Connector").field("way", &way).finish_non_exhaustive()
    }
}

/// A connection; copies of it share the socket.
#[derive(Clone)]
pub(super) enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Single(_) => "Single",
            Self::Cluster(_) => "Cluster",
        })
    }
}

impl Connector {
    pub(super) fn new(settings: &RedisSettings) -> Result<Self, String> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(settings.connect_timeout))
            .set_response_timeout(Some(settings.command_timeout));
        let way = match settings.mode {
            Mode::Single => single(settings).map(|client| Way::Single(Box::new(client))),
            Mode::Sentinel => sentinel(settings).map(|client| Way::Sentinel(Box::new(Mutex::new(client)))),
            Mode::Cluster => cluster(settings).map(|client| Way::Cluster(Box::new(client))),
        };
        Ok(Self { way: way.map_err(|error| error.to_string())?, config })
    }

    pub(super) async fn connect(&self) -> Result<Connection, String> {
        let connection = match &self.way {
            Way::Single(client) => {
                client.get_multiplexed_async_connection_with_config(&self.config).await.map(Connection::Single)
            }
            Way::Sentinel(client) => {
                let mut client = client.lock().await;
                client.get_async_connection_with_config(&self.config).await.map(Connection::Single)
            }
            Way::Cluster(client) => client.get_async_connection().await.map(Connection::Cluster),
        };
        connection.map_err(|error| error.to_string())
    }
}

impl Connection {
    /// Sends a batch and collects its answers in order.
    pub(super) async fn send(&mut self, batch: &Batch) -> RedisResult<Vec<Value>> {
        match self {
            Self::Single(connection) => query(connection, batch.commands.iter()).await,
            Self::Cluster(connection) => send_to_cluster(connection, batch).await,
        }
    }
}

/// One pipeline for each hash tag, all at once: a pipeline must not cross the places of a Cluster.
async fn send_to_cluster(connection: &ClusterConnection, batch: &Batch) -> RedisResult<Vec<Value>> {
    let mut tags: Vec<(&str, Vec<usize>)> = Vec::new();
    for (place, command) in batch.commands.iter().enumerate() {
        match tags.iter_mut().find(|(tag, _)| *tag == &*command.hash_tag) {
            Some((_, places)) => places.push(place),
            None => tags.push((&command.hash_tag, vec![place])),
        }
    }
    let mut under_way = tokio::task::JoinSet::new();
    for (_, places) in tags {
        let commands: Vec<Command> = places.iter().filter_map(|place| batch.commands.get(*place)).cloned().collect();
        let mut connection = connection.clone();
        under_way.spawn(async move { (places, query(&mut connection, commands.iter()).await) });
    }
    let mut replies = vec![Value::Nil; batch.commands.len()];
    while let Some(ended) = under_way.join_next().await {
        let Ok((places, values)) = ended else {
            return Err(RedisError::from((ErrorKind::Client, "a task ended before its answer came")));
        };
        for (place, value) in places.into_iter().zip(values?) {
            if let Some(reply) = replies.get_mut(place) {
                *reply = value;
            }
        }
    }
    Ok(replies)
}

async fn query<'c>(
    connection: &mut impl ConnectionLike,
    commands: impl Iterator<Item = &'c Command>,
) -> RedisResult<Vec<Value>> {
    let mut pipeline = Pipeline::new();
    for command in commands {
        pipeline.add_command(command.command.clone());
    }
    pipeline.query_async(connection).await
}

/// Whether Redis has answered and means the command, not the connection: another try on the same connection makes sense.
pub(super) fn is_refusal(error: &RedisError) -> bool {
    match error.kind() {
        // A replica that was the master, or a server that loads its data: the right one is found by connecting anew.
        ErrorKind::Server(
            ServerErrorKind::ReadOnly
            | ServerErrorKind::BusyLoading
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask,
        ) => false,
        ErrorKind::Server(_) | ErrorKind::Extension => true,
        _ => false,
    }
}

fn single(settings: &RedisSettings) -> RedisResult<Client> {
    let address = settings.addresses.first().ok_or_else(no_address)?;
    let information = connection_info(settings, address)?;
    match certificates(settings) {
        Some(certificates) if settings.is_tls() => Client::build_with_tls(information, certificates),
        _ => Client::open(information),
    }
}

fn sentinel(settings: &RedisSettings) -> RedisResult<SentinelClient> {
    let addresses = settings.addresses.clone();
    let mut builder = SentinelClientBuilder::new(addresses, &settings.sentinel_master, SentinelServerType::Master)?
        .set_client_to_redis_db(settings.database.into())
        .set_client_to_redis_tcp_settings(tcp());
    if let Some(username) = &settings.username {
        builder = builder.set_client_to_redis_username(username);
    }
    if let Some(password) = text(settings.password.as_ref())? {
        builder = builder.set_client_to_redis_password(password);
    }
    if let Some(password) = text(settings.sentinel_password.as_ref())? {
        builder = builder.set_client_to_sentinel_password(password);
    }
    if settings.is_tls() {
        builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
        if let Some(certificates) = certificates(settings) {
            builder = builder
                .set_client_to_redis_certificates(certificates.clone())
                .set_client_to_sentinel_certificates(certificates);
        }
    }
    builder.build()
}

fn cluster(settings: &RedisSettings) -> RedisResult<ClusterClient> {
    let nodes = settings.addresses.iter().map(|address| connection_info(settings, address));
    let nodes: Vec<ConnectionInfo> = nodes.collect::<RedisResult<_>>()?;
    let mut builder = ClusterClientBuilder::new(nodes)
        // Whoever calls decides whether a command may be sent again.
        .retries(0)
        .connection_timeout(settings.connect_timeout)
        .response_timeout(settings.command_timeout)
        .tcp_settings(tcp());
    if let Some(certificates) = certificates(settings).filter(|_| settings.is_tls()) {
        builder = builder.certs(certificates);
    }
    builder.build()
}

fn connection_info(settings: &RedisSettings, address: &ConnectionAddr) -> RedisResult<ConnectionInfo> {
    let mut login = RedisConnectionInfo::default().set_db(settings.database.into()).set_skip_set_lib_name();
    if let Some(username) = &settings.username {
        login = login.set_username(username);
    }
    if let Some(password) = text(settings.password.as_ref())? {
        login = login.set_password(password);
    }
    Ok(address.clone().into_connection_info()?.set_redis_settings(login).set_tcp_settings(tcp()))
}

fn tcp() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

fn certificates(settings: &RedisSettings) -> Option<TlsCertificates> {
    let client_tls = settings.identity.as_ref().map(|(certificate, key)| ClientTlsConfig {
        client_cert: certificate.clone(),
        client_key: key.expose().to_vec(),
    });
    let root_cert = settings.ca.clone();
    (client_tls.is_some() || root_cert.is_some()).then_some(TlsCertificates { client_tls, root_cert })
}

fn text(secret: Option<&gatehouse_shared::config::Secret>) -> RedisResult<Option<&str>> {
    let Some(secret) = secret else { return Ok(None) };
    let not_text = |_| RedisError::from((ErrorKind::InvalidClientConfig, "a password of Redis must be UTF-8 text"));
    std::str::from_utf8(secret.expose()).map(Some).map_err(not_text)
}

fn no_address() -> RedisError {
    RedisError::from((ErrorKind::InvalidClientConfig, "no address"))
}
