//! Everything that is measured against each other in one run.

use std::net::SocketAddr;
use std::path::Path;

use crate::admitted::Admitted;
use crate::gatehouse::{self, AccessLog, Next};
use crate::guarded;
use crate::load::{Load, Outcome, Tool};
use crate::proxies::{self, Server};
use crate::service::Service;
use crate::settings::Settings;

/// A protocol between two servers, by its name in configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandOff {
    /// HTTP/1.1 over pooled keepalive connections.
    Http1,
    /// HTTP/2 without TLS over a few shared connections.
    H2c,
}

impl HandOff {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Http1, Self::H2c];

    /// The name used in configurations, arguments and figures.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::H2c => "h2c",
        }
    }
}

/// Who calls a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A client, over HTTP/1.1.
    Client,
    /// An edge by this hand-off: requests carry a signed hop. A bare forwarder gets it too, so that both sides of a ratio
    /// are given the same request.
    Edge(HandOff),
    /// The same of an application that signs its calls.
    Signed(HandOff),
}

impl Caller {
    /// What plays the caller.
    pub(crate) fn tool(self) -> Tool {
        match self {
            Self::Client | Self::Edge(HandOff::Http1) | Self::Signed(HandOff::Http1) => Tool::Wrk,
            Self::Edge(HandOff::H2c) | Self::Signed(HandOff::H2c) => Tool::H2load,
        }
    }
}

/// Whose CPU time is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Counted {
    /// The sample service itself.
    Service,
    /// The servers at these places of [`Field::servers`].
    Servers(Vec<usize>),
}

/// Something that answers requests.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// Its name in tables and figures.
    pub(crate) name: String,
    /// Where requests go.
    pub(crate) entry: SocketAddr,
    /// Who sends them.
    pub(crate) caller: Caller,
    counted: Counted,
}

/// All servers, running, and the subjects they make up.
#[derive(Debug)]
pub(crate) struct Field {
    /// The service behind all of them.
    pub(crate) service: Service,
    servers: Vec<Server>,
    subjects: Vec<Subject>,
    /// The node that does all of admission, where it was wanted.
    pub(crate) admitted: Option<Admitted>,
}

/// One measurement of one subject.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// CPU microseconds a request.
    pub(crate) cpu: f64,
    /// What the load tool observed.
    pub(crate) outcome: Outcome,
    /// Connections the service accepted meanwhile.
    pub(crate) service_connections: f64,
    /// CPU microseconds a request of the sample service.
    pub(crate) service_cpu: f64,
    /// Why these are no figures: an answer that was an error, a connection that failed, or work the service does not know of.
    pub(crate) complaint: Option<String>,
}

impl Field {
    /// Starts the service and every wanted subject.
    ///
    /// # Errors
    ///
    /// One of them does not start.
    pub(crate) fn start(settings: &Settings, directory: &Path) -> anyhow::Result<Self> {
        let service = Service::start(settings, directory)?;
        let address = service.address;
        let alone =
            Subject { name: "service".to_owned(), entry: address, caller: Caller::Client, counted: Counted::Service };
        let mut field = Self { service, servers: Vec::new(), subjects: vec![alone], admitted: None };
        field.add(settings, "nginx", Caller::Client, |_| proxies::nginx(settings, directory, address))?;
        field.add(settings, "haproxy", Caller::Client, |_| proxies::haproxy(settings, directory, address))?;
        for hand_off in HandOff::ALL {
            field.add(settings, &format!("bare_pingora_{}", hand_off.name()), Caller::Client, |name| {
                proxies::reference(name, settings, directory, address, &["pingora", "--hand-off", hand_off.name()])
            })?;
            field.add(settings, &format!("edge_{}", hand_off.name()), Caller::Client, |name| {
                gatehouse::edge(name, settings, directory, Next::Service(address), hand_off, AccessLog::File)
            })?;
        }
        field.add(settings, "edge_http1_log_off", Caller::Client, |name| {
            gatehouse::edge(name, settings, directory, Next::Service(address), HandOff::Http1, AccessLog::Off)
        })?;
        field
            .add(settings, "guarded_edge", Caller::Client, |name| guarded::edge(name, settings, directory, address))?;
        for accept in HandOff::ALL {
            field.add(settings, &format!("bare_hyper_{}", accept.name()), Caller::Edge(accept), |name| {
                proxies::reference(name, settings, directory, address, &["hyper", "--accept", accept.name()])
            })?;
        }
        field.add_business(settings, directory)?;
        field.add_admitted(settings, directory)?;
        Ok(field)
    }

    /// A business node that does all of admission.
    fn add_admitted(&mut self, settings: &Settings, directory: &Path) -> anyhow::Result<()> {
        let wanted = HandOff::ALL.map(|hand_off| (hand_off, format!("admitted_{}", hand_off.name())));
        let wanted: Vec<_> = wanted.into_iter().filter(|(_, name)| settings.wants(name)).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let (admitted, server) = Admitted::start(settings, directory, self.service.address)?;
        let (entry, place) = (server.address, self.servers.len());
        self.servers.push(server);
        for (hand_off, name) in wanted {
            let (caller, counted) = (Caller::Signed(hand_off), Counted::Servers(vec![place]));
            self.subjects.push(Subject { name, entry, caller, counted });
        }
        self.admitted = Some(admitted);
        Ok(())
    }

    /// The business tier, driven directly and through an edge over each hand-off.
    fn add_business(&mut self, settings: &Settings, directory: &Path) -> anyhow::Result<()> {
        if !["business_http1", "business_h2c", "two_tiers_http1", "two_tiers_h2c"]
            .into_iter()
            .any(|name| settings.wants(name))
        {
            return Ok(());
        }
        let business = gatehouse::business(settings, directory, self.service.address)?;
        let address = business.address;
        let place = self.servers.len();
        self.servers.push(business);
        for hand_off in HandOff::ALL {
            let name = format!("business_{}", hand_off.name());
            if settings.wants(&name) {
                let (caller, counted) = (Caller::Edge(hand_off), Counted::Servers(vec![place]));
                self.subjects.push(Subject { name, entry: address, caller, counted });
            }
        }
        for hand_off in HandOff::ALL {
            let name = format!("two_tiers_{}", hand_off.name());
            if settings.wants(&name) {
                let edge =
                    gatehouse::edge(&name, settings, directory, Next::Business(address), hand_off, AccessLog::File)?;
                self.enter(name, Caller::Client, edge, &[place]);
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        settings: &Settings,
        name: &str,
        caller: Caller,
        start: impl FnOnce(&str) -> anyhow::Result<Server>,
    ) -> anyhow::Result<()> {
        if settings.wants(name) {
            self.enter(name.to_owned(), caller, start(name)?, &[]);
        }
        Ok(())
    }

    /// Adds a server and the subject it is the entry of; the servers at `behind` are counted with it.
    fn enter(&mut self, name: String, caller: Caller, server: Server, behind: &[usize]) {
        let entry = server.address;
        let counted = Counted::Servers([&[self.servers.len()], behind].concat());
        self.servers.push(server);
        self.subjects.push(Subject { name, entry, caller, counted });
    }

    /// Whether anything was wanted of what is measured in rounds.
    pub(crate) fn is_wanted(&self, settings: &Settings) -> bool {
        self.subjects.len() > 1 || settings.wants("service")
    }

    /// The subjects, in the order of the tables.
    pub(crate) fn subjects(&self) -> &[Subject] {
        &self.subjects
    }

    /// The subject of that name, when it was wanted.
    pub(crate) fn subject(&self, name: &str) -> Option<&Subject> {
        self.subjects.iter().find(|subject| subject.name == name)
    }

    /// Puts load on a subject and counts what it cost.
    ///
    /// # Errors
    ///
    /// The load tool fails or a process is gone.
    pub(crate) fn measure(
        &self,
        settings: &Settings,
        directory: &Path,
        subject: &Subject,
        tool: Tool,
        concurrency: usize,
    ) -> anyhow::Result<Sample> {
        let fields = match (subject.caller, &self.admitted) {
            (Caller::Client, _) => Vec::new(),
            (Caller::Signed(_), Some(admitted)) => admitted.fields()?,
            (Caller::Edge(_) | Caller::Signed(_), _) => vec![gatehouse::signed_hop(subject.entry)?],
        };
        let load = Load { fields, ..Load::bench(tool, subject.entry, concurrency, settings.seconds) };
        let counts_before = self.service.settled_counts()?;
        let service_before = self.service.child.cpu_seconds()?;
        let before = self.cpu_seconds(&subject.counted)?;
        let outcome = load.run(settings, directory)?;
        let spent = self.cpu_seconds(&subject.counted)? - before;
        let service_spent = self.service.child.cpu_seconds()? - service_before;
        let counts = self.service.settled_counts()?;
        let executed = counts.requests - counts_before.requests;
        let complaint = match check_work(outcome.requests, executed, concurrency) {
            _ if outcome.errors > 0.0 => Some(outcome.complaint.clone()),
            checked => checked.err(),
        };
        Ok(Sample {
            cpu: spent / outcome.requests * 1e6,
            service_cpu: service_spent / outcome.requests * 1e6,
            service_connections: counts.connections_opened - counts_before.connections_opened,
            complaint: complaint.map(|complaint| format!("{} at {concurrency}: {complaint}", subject.name)),
            outcome,
        })
    }

    /// The processes whose work is a subject's.
    pub(crate) fn processes(&self, subject: &Subject) -> Vec<u32> {
        let Counted::Servers(places) = &subject.counted else { return vec![self.service.child.id()] };
        places.iter().filter_map(|place| self.servers.get(*place)).map(|server| server.child.id()).collect()
    }

    fn cpu_seconds(&self, counted: &Counted) -> anyhow::Result<f64> {
        match counted {
            Counted::Service => self.service.child.cpu_seconds(),
            Counted::Servers(places) => places
                .iter()
                .filter_map(|place| self.servers.get(*place))
                .map(|server| server.child.cpu_seconds())
                .sum(),
        }
    }
}

/// The service must have executed what was answered, and no more than could be under way when the load ended (or a probe).
fn check_work(answered: f64, executed: f64, concurrency: usize) -> Result<(), String> {
    const PROBES: usize = 100;
    let under_way = u32::try_from(concurrency + PROBES).map_or(f64::MAX, f64::from);
    if answered < 1.0 {
        return Err("nothing was answered".to_owned());
    }
    if executed < answered || executed > answered + under_way {
        return Err(format!("{answered} requests were answered and {executed} executed by the service"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_work;

    #[test]
    fn accepts_work_under_way_at_the_end_and_nothing_else() {
        assert!(check_work(1000.0, 1016.0, 16).is_ok());
        assert!(check_work(1000.0, 999.0, 16).is_err());
        assert!(check_work(1000.0, 2000.0, 16).is_err());
        assert!(check_work(0.0, 0.0, 16).is_err());
    }
}
