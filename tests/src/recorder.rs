//! A relay between the tiers that keeps every byte on its way in.

mod handed_on;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::site::plan::Plan;
use crate::site::{Handoff, Site};
pub use handed_on::HandedOn;

/// A relay; it lives as long as the test's runtime.
#[derive(Debug)]
pub struct Recorder {
    /// Where the edge finds it.
    pub address: SocketAddr,
    target: watch::Sender<Option<SocketAddr>>,
    recorded: Recorded,
}

/// What came on each connection, in the order in which they were opened.
// Guards the bytes; held for one copy or one look.
type Recorded = Arc<Mutex<Vec<Vec<u8>>>>;

impl Recorder {
    /// Listens; connections wait until [`Recorder::relay_to`] says where they go.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (target, targets) = watch::channel(None);
        let recorded = Recorded::default();
        let recording = Arc::clone(&recorded);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(relay(stream, targets.clone(), Arc::clone(&recording)));
            }
        });
        Ok(Self { address, target, recorded })
    }

    /// Starts what is planned, with a recorder between its first edge and its first business node.
    ///
    /// # Errors
    /// Something did not start.
    pub async fn between_tiers(plan: Plan, handoff: Handoff) -> anyhow::Result<(Site, Self)> {
        let recorder = Self::start().await?;
        let (address, protocol) = (recorder.address, handoff.name());
        let cluster = format!("[[cluster]]\nname = \"business\"\nnodes = [\"{address}\"]\nprotocol = \"{protocol}\"\n");
        let site = plan.edge(cluster).start().await?;
        recorder.relay_to(site.business.first().context("no business node")?.address()?);
        Ok((site, recorder))
    }

    /// Says where connections go.
    pub fn relay_to(&self, target: SocketAddr) {
        self.target.send_replace(Some(target));
    }

    /// Whether `text` was among the recorded bytes, whatever its case.
    #[must_use]
    pub fn has(&self, text: &str) -> bool {
        let wanted = text.as_bytes();
        let occurs = |bytes: &Vec<u8>| bytes.windows(wanted.len()).any(|window| window.eq_ignore_ascii_case(wanted));
        recorded(&self.recorded).iter().any(occurs)
    }

    /// How many bytes were recorded.
    #[must_use]
    pub fn bytes(&self) -> usize {
        recorded(&self.recorded).iter().map(Vec::len).sum()
    }

    /// The requests among what was recorded since the start; meaningless once something was forgotten.
    #[must_use]
    pub fn handed_on(&self) -> HandedOn {
        recorded(&self.recorded).iter().map(|bytes| HandedOn::of_connection(bytes)).sum()
    }

    /// Forgets what was recorded so far.
    pub fn clear(&self) {
        recorded(&self.recorded).iter_mut().for_each(Vec::clear);
    }
}

fn recorded(bytes: &Mutex<Vec<Vec<u8>>>) -> MutexGuard<'_, Vec<Vec<u8>>> {
    bytes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Relays one connection; either side's end ends it.
async fn relay(edge: TcpStream, mut targets: watch::Receiver<Option<SocketAddr>>, recording: Recorded) -> Option<()> {
    let target = (*targets.wait_for(Option::is_some).await.ok()?)?;
    let node = TcpStream::connect(target).await.ok()?;
    edge.set_nodelay(true).ok()?;
    node.set_nodelay(true).ok()?;
    let (mut from_edge, mut to_edge) = edge.into_split();
    let (mut from_node, mut to_node) = node.into_split();
    let number = {
        let mut connections = recorded(&recording);
        connections.push(Vec::new());
        connections.len() - 1
    };
    let inwards = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count) = from_edge.read(&mut buffer).await
            && let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty())
        {
            recorded(&recording).get_mut(number)?.extend_from_slice(bytes);
            to_node.write_all(bytes).await.ok()?;
        }
        to_node.shutdown().await.ok()
    };
    let outwards = async move {
        let copied = tokio::io::copy(&mut from_node, &mut to_edge).await;
        to_edge.shutdown().await.ok();
        copied.ok()
    };
    tokio::join!(inwards, outwards);
    Some(())
}
