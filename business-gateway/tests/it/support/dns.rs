//! A small DNS server over UDP that says what a test wants.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It answers.
    Well,
    /// It says that it cannot answer.
    Fails,
    /// It says nothing.
    Silent,
}

struct Zone {
    mood: Mood,
    records: HashMap<(Name, RecordType), Vec<RData>>,
}

/// A running server.
pub(crate) struct DnsServer {
    pub(crate) address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    questions: Arc<AtomicUsize>,
    serving: AbortHandle,
}

impl DnsServer {
    pub(crate) async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let zone = Arc::new(Mutex::new(Zone { mood: Mood::Well, records: HashMap::new() }));
        let questions = Arc::new(AtomicUsize::new(0));
        let serving = tokio::spawn(serve(socket, Arc::clone(&zone), Arc::clone(&questions))).abort_handle();
        Self { address, zone, questions, serving }
    }

    /// What business.toml needs to say to use it for services on this machine.
    pub(crate) fn toml(&self) -> String {
        format!(
            "[upstream.discovery]\nnetworks = [\"127.0.0.0/8\"]\n[upstream.discovery.dns]\nservers = [\"{}\"]\n\
             timeout = \"200ms\"\nretries = 0\n",
            self.address
        )
    }

    pub(crate) fn behave(&self, mood: Mood) {
        self.zone.lock().unwrap().mood = mood;
    }

    /// Questions so far.
    pub(crate) fn questions(&self) -> usize {
        self.questions.load(Ordering::Relaxed)
    }

    /// The name has these addresses, and no others.
    pub(crate) fn addresses(&self, name: &str, addresses: &[IpAddr]) {
        let name = absolute(name);
        let four = addresses.iter().filter_map(|ip| match ip {
            IpAddr::V4(ip) => Some(RData::A(A(*ip))),
            IpAddr::V6(_) => None,
        });
        let six = addresses.iter().filter_map(|ip| match ip {
            IpAddr::V6(ip) => Some(RData::AAAA(AAAA(*ip))),
            IpAddr::V4(_) => None,
        });
        let mut zone = self.zone.lock().unwrap();
        zone.records.insert((name.clone(), RecordType::A), four.collect());
        zone.records.insert((name, RecordType::AAAA), six.collect());
    }

    /// The name has these services: priority, weight, port and target.
    pub(crate) fn services(&self, name: &str, services: &[(u16, u16, u16, &str)]) {
        let records = services
            .iter()
            .map(|(priority, weight, port, target)| RData::SRV(SRV::new(*priority, *weight, *port, absolute(target))));
        let name = absolute(name);
        self.zone.lock().unwrap().records.insert((name, RecordType::SRV), records.collect());
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn absolute(name: &str) -> Name {
    Name::from_ascii(format!("{name}.")).unwrap()
}

async fn serve(socket: UdpSocket, zone: Arc<Mutex<Zone>>, questions: Arc<AtomicUsize>) {
    let mut buffer = [0; 1_500];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let Ok(question) = Message::from_vec(&buffer[..length]) else { continue };
        questions.fetch_add(1, Ordering::Relaxed);
        if let Some(answer) = answer(&question, &zone.lock().unwrap()) {
            socket.try_send_to(&answer.to_vec().unwrap(), from).ok();
        }
    }
}

fn answer(question: &Message, zone: &Zone) -> Option<Message> {
    let query = question.queries.first()?;
    let mut answer = Message::response(question.metadata.id, OpCode::Query);
    answer.add_query(query.clone());
    match zone.mood {
        Mood::Silent => return None,
        Mood::Fails => answer.metadata.response_code = ResponseCode::ServFail,
        Mood::Well => {
            let name = query.name().to_lowercase();
            let known = zone.records.get(&(name.clone(), query.query_type()));
            if known.is_none() {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            for data in known.into_iter().flatten() {
                answer.add_answer(Record::from_rdata(name.clone(), 0, data.clone()));
            }
        }
    }
    Some(answer)
}
