//! What a stage may look at: one request, whole, and nothing of the configuration.

use std::{
    cell::RefCell,
    net::{IpAddr, SocketAddr},
};

use http::{HeaderMap, Method};

use super::{Denial, Mode, limit::Receipt};
use crate::{
    accept::{Connection, Message, TlsFacts},
    balance::Route,
};

/// Most denials of one request that are only observed and yet written down.
pub const OBSERVED_MAX: usize = 16;

/// A request before anything of it is sent on.
#[derive(Debug)]
pub struct RequestView<'a> {
    message: &'a Message,
    headers: &'a HeaderMap,
    connection: &'a Connection,
    client: SocketAddr,
    route: Option<&'a Route>,
    unix_ms: u64,
    observed: RefCell<Vec<Denial>>,
    receipt: RefCell<Receipt>,
}

impl<'a> RequestView<'a> {
    /// The view of a request that arrived at `unix_ms`; a clean one costs nothing.
    #[must_use]
    pub fn new(
        message: &'a Message,
        headers: &'a HeaderMap,
        connection: &'a Connection,
        client: SocketAddr,
        route: Option<&'a Route>,
        unix_ms: u64,
    ) -> Self {
        Self {
            message,
            headers,
            connection,
            client,
            route,
            unix_ms,
            observed: RefCell::default(),
            receipt: RefCell::default(),
        }
    }

    /// The head, judged and normalised.
    #[must_use]
    pub fn message(&self) -> &'a Message {
        self.message
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &'a Method {
        &self.message.method
    }

    /// The canonical path: the one that rules look at.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.message.canonical_path()
    }

    /// The query as it was sent, without its `?`.
    #[must_use]
    pub fn query(&self) -> Option<&'a str> {
        self.message.query()
    }

    /// The target as it was sent.
    #[must_use]
    pub fn raw_target(&self) -> &'a str {
        self.message.raw_target()
    }

    /// The host asked for: lower case, without port.
    #[must_use]
    pub fn host(&self) -> &'a str {
        self.message.host()
    }

    /// The authority as it was sent.
    #[must_use]
    pub fn authority(&self) -> &'a str {
        self.message.authority()
    }

    /// The header fields.
    #[must_use]
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// The first value of a header; `name` in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers.get(name).map(http::HeaderValue::as_bytes)
    }

    /// The client as derived from trusted proxies. IPv4-mapped IPv6 is IPv4.
    #[must_use]
    pub fn client(&self) -> IpAddr {
        self.client.ip()
    }

    /// The same with its port, which is 0 where a proxy did not tell it.
    #[must_use]
    pub fn client_address(&self) -> SocketAddr {
        self.client
    }

    /// The other end of the socket, or whom the PROXY protocol names.
    #[must_use]
    pub fn peer(&self) -> IpAddr {
        self.connection.source.ip()
    }

    /// The connection it came on.
    #[must_use]
    pub fn connection(&self) -> &'a Connection {
        self.connection
    }

    /// What the TLS handshake settled; `None` on a plain connection.
    #[must_use]
    pub fn tls(&self) -> Option<&'a TlsFacts> {
        self.connection.tls.as_deref()
    }

    /// Where it would go; `None` when no route matches.
    #[must_use]
    pub fn route(&self) -> Option<&'a Route> {
        self.route
    }

    /// When it arrived by the wall clock, Unix milliseconds: for what expires at a date.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        self.unix_ms
    }

    /// What becomes of a denial by a rule in `mode`: enforced, it is given back; observed, it is kept for the security log
    /// and the stage goes on with its next rule.
    pub fn judge(&self, mode: Mode, denial: Denial) -> Option<Denial> {
        match mode {
            Mode::Enforce => Some(denial),
            Mode::Observe => {
                self.observe(denial);
                None
            }
        }
    }

    /// Keeps a denial that has no effect; beyond [`OBSERVED_MAX`] they are forgotten.
    pub(super) fn observe(&self, denial: Denial) {
        let mut observed = self.observed.borrow_mut();
        if observed.len() < OBSERVED_MAX {
            observed.push(Denial { mode: Mode::Observe, ..denial });
        }
    }

    /// Keeps what the limits have said, for when the request ends.
    pub(super) fn keep_receipt(&self, receipt: Receipt) {
        *self.receipt.borrow_mut() = receipt;
    }

    /// What the limits have said; once.
    #[must_use]
    pub fn take_receipt(&self) -> Receipt {
        self.receipt.take()
    }

    /// How many were observed so far.
    pub(super) fn observed_count(&self) -> usize {
        self.observed.borrow().len()
    }

    /// Puts the name of a stage on what it observed, which is all from place `start` on, and shows each to `see`.
    pub(super) fn attribute(&self, start: usize, stage: &'static str, see: impl Fn(&Denial)) {
        for denial in self.observed.borrow_mut().iter_mut().skip(start) {
            denial.stage = Some(stage);
            see(denial);
        }
    }

    /// What was observed, in order.
    #[must_use]
    pub fn into_observed(self) -> Vec<Denial> {
        self.observed.into_inner()
    }
}

#[cfg(test)]
pub(crate) mod sample {
    //! Requests for the tests of stages.

    use std::{net::SocketAddr, sync::Arc};

    use http::HeaderMap;

    use super::RequestView;
    use crate::{
        accept::{self, Connection, Message},
        balance::Route,
    };

    /// A request as a stage sees it; made from the text of its head.
    pub(crate) struct Sample {
        pub(crate) message: Message,
        pub(crate) headers: HeaderMap,
        pub(crate) connection: Connection,
        pub(crate) client: SocketAddr,
        pub(crate) route: Option<Arc<Route>>,
        pub(crate) unix_ms: u64,
    }

    impl Sample {
        /// `GET target` at `www.example.com` from 192.0.2.1, with these further header lines.
        pub(crate) fn get(target: &str, fields: &[(&str, &str)]) -> Self {
            let mut head = format!("GET {target} HTTP/1.1\r\nHost: www.example.com\r\n");
            for (name, value) in fields {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            head.push_str("\r\n");
            Self::head(&head)
        }

        /// A whole head, line ends included.
        pub(crate) fn head(head: &str) -> Self {
            let (message, headers) = accept::sample::message(head);
            let client = SocketAddr::from(([192, 0, 2, 1], 40_000));
            let connection = accept::sample::connection(client);
            Self { message, headers, connection, client, route: None, unix_ms: 1_795_169_880_042 }
        }

        /// The same from another client.
        pub(crate) fn from(mut self, client: &str) -> Self {
            self.client = SocketAddr::new(client.parse().unwrap(), 40_000);
            self.connection = accept::sample::connection(self.client);
            self
        }

        /// The same with a route.
        pub(crate) fn routed(mut self) -> Self {
            let routes = &accept::sample::policy().routes;
            self.route = routes.find(self.message.host(), self.message.canonical_path()).cloned();
            self
        }

        pub(crate) fn view(&self) -> RequestView<'_> {
            RequestView::new(
                &self.message,
                &self.headers,
                &self.connection,
                self.client,
                self.route.as_deref(),
                self.unix_ms,
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_shared::problem;

    use super::{sample::Sample, *};

    #[test]
    fn shows_the_request() {
        let sample = Sample::get("/a//b?c=d", &[("User-Agent", "curl/8")]).from("2001:db8::7");
        let view = sample.view();
        assert_eq!((view.method(), view.path(), view.query()), (&Method::GET, "/a/b", Some("c=d")));
        assert_eq!((view.host(), view.raw_target()), ("www.example.com", "/a//b?c=d"));
        assert_eq!(view.header("user-agent"), Some(b"curl/8".as_slice()));
        assert_eq!(view.client(), "2001:db8::7".parse::<IpAddr>().unwrap());
        assert!(view.tls().is_none() && view.route().is_none());
    }

    #[test]
    fn an_observed_denial_is_kept_within_its_bound_and_an_enforced_one_given_back() {
        let sample = Sample::get("/", &[]);
        let view = sample.view();
        let denial = || Denial::from(&problem::ROUTE_NOT_FOUND);
        assert_eq!(view.judge(Mode::Enforce, denial()), Some(denial()));
        for _ in 0..100 {
            assert_eq!(view.judge(Mode::Observe, denial()), None);
        }
        view.attribute(0, "here", |_| {});
        let observed = view.into_observed();
        assert_eq!(observed.len(), OBSERVED_MAX);
        assert!(observed.iter().all(|denial| denial.mode == Mode::Observe && denial.stage == Some("here")));
    }
}
