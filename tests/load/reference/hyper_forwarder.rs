//! A forwarder of hyper's server and hyper-util's pooling client, and nothing else.

use std::net::SocketAddr;

use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{Request, Response, StatusCode, Version};
use http_body_util::{Either, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};

use crate::{Ends, Protocol};

/// Idle connections the pool keeps: more than any round of the bench has at once.
const POOL_SIZE: usize = 4096;

/// Streams one HTTP/2 client connection may open: the same bound the gateways announce.
const STREAMS_PER_CONNECTION: u32 = 100;

/// How the forwarder is run.
#[derive(Debug, clap::Args)]
pub(crate) struct Config {
    #[command(flatten)]
    ends: Ends,
    /// Protocol it is called with.
    #[arg(long, value_enum, default_value = "http1")]
    accept: Protocol,
}

type Upstream = Client<HttpConnector, Incoming>;
type Answer = Response<Either<Incoming, Empty<Bytes>>>;

/// Runs the forwarder until it is killed.
///
/// # Errors
///
/// The address cannot be listened on.
pub(crate) fn run(config: &Config) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(listen(config))
}

async fn listen(config: &Config) -> anyhow::Result<()> {
    let listener = TcpListener::bind(config.ends.listen).await?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Upstream = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(POOL_SIZE).build(connector);
    let authority: Authority = config.ends.upstream.to_string().parse()?;
    loop {
        let (stream, _peer): (TcpStream, SocketAddr) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(serve(config.accept, stream, client.clone(), authority.clone()));
    }
}

/// Serves one connection; how it ends is the client's concern and shows in the client's error count.
async fn serve(accept: Protocol, stream: TcpStream, client: Upstream, authority: Authority) {
    let service = service_fn(move |request| forward(&client, &authority, request));
    let ended = match accept {
        Protocol::Http1 => http1::Builder::new().serve_connection(TokioIo::new(stream), service).await,
        Protocol::H2c => {
            http2::Builder::new(TokioExecutor::new())
                .max_concurrent_streams(STREAMS_PER_CONNECTION)
                .serve_connection(TokioIo::new(stream), service)
                .await
        }
    };
    drop(ended);
}

/// Readdresses the request at once and leaves a future that owns all it needs, as HTTP/2 streams are tasks of their own.
fn forward(
    client: &Upstream,
    authority: &Authority,
    mut request: Request<Incoming>,
) -> impl Future<Output = Result<Answer, http::Error>> + use<> {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority.clone());
    parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
    let answer = Uri::from_parts(parts).map(|uri| {
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_11;
        client.request(request)
    });
    async move {
        match answer?.await {
            Ok(answer) => Ok(answer.map(Either::Left)),
            Err(_) => Response::builder().status(StatusCode::BAD_GATEWAY).body(Either::Right(Empty::new())),
        }
    }
}
