//! What is counted when a request ends.

use http::Method;

use super::*;

/// How a request ends.
#[derive(Default)]
struct End {
    status: u16,
    auth: Option<Auth>,
    cost: Option<u32>,
    refused: Option<&'static str>,
    reason: Option<&'static problem::Reason>,
}

impl Gate {
    fn end(&self, sample: &Sample, asked: &Asked, end: &End) {
        let ended = Ended {
            message: &sample.message,
            connection: &sample.connection,
            client: sample.client,
            route: None,
            status: end.status,
            reason: end.reason,
            refused: end.refused,
            auth: end.auth,
            cost: end.cost,
            receipt: &asked.receipt,
        };
        self.limits.finish(&ended, self.now());
    }

    /// A request from beginning to end; whether it passed.
    fn exchange(&self, sample: impl Fn() -> Sample, end: &End) -> bool {
        let asked = self.ask(sample());
        let passed = asked.passed();
        let end = if passed { end } else { &End { status: 429, refused: Some("limit"), ..End::default() } };
        self.end(&sample(), &asked, end);
        passed
    }
}

fn plain() -> Sample {
    Sample::get("/", &[])
}

fn with_token() -> Sample {
    Sample::get("/", &[("Authorization", "Bearer x")])
}

#[test]
fn errors_of_a_client_are_counted_when_they_are_answered() {
    let mut gate = Gate::new(
        "[[limit]]\nname = \"errors\"\nkey = [\"client\"]\nrate = \"3/60s\"\ncount = \"client_errors\"\n\
         algorithm = \"sliding_window\"\n",
    );
    let answered = |status| End { status, ..End::default() };
    assert!((0..100).all(|_| gate.exchange(plain, &answered(200)) && gate.exchange(plain, &answered(503))));
    let left = End { status: 499, reason: Some(&problem::CLIENT_CLOSED), ..End::default() };
    assert!((0..10).all(|_| gate.exchange(plain, &left)), "who leaves makes no error");
    // One that this gate answers itself counts like any other, and so does one that was dropped.
    let none = End { status: 404, refused: Some("route"), reason: Some(&problem::ROUTE_NOT_FOUND), ..End::default() };
    assert!(gate.exchange(plain, &answered(404)) && gate.exchange(plain, &none));
    assert!(gate.exchange(plain, &End { status: 0, ..none }));
    assert!(!gate.exchange(plain, &answered(200)) && gate.get(B).passed());
    assert!(!gate.at(59_000).exchange(plain, &answered(200)));
    assert!(gate.at(62_000).exchange(plain, &answered(200)), "what limits refuse does not count");
}

#[test]
fn some_statuses_count_alone_and_a_ban_follows() {
    let gate = Gate::new(
        "[[limit]]\nname = \"logins\"\nkey = [\"client\"]\nrate = \"2/60s\"\ncount = \"client_errors\"\nstatuses = [401]\n\
         action = \"ban\"\nban = \"10m\"\n",
    );
    let answered = |status| End { status, ..End::default() };
    assert!((0..9).all(|_| gate.exchange(plain, &answered(404))));
    assert!(gate.exchange(plain, &answered(401)) && gate.exchange(plain, &answered(401)));
    assert_eq!(gate.get("192.0.2.1").refused(), ("rate_limit_exceeded", "logins"));
    assert_eq!(gate.get("192.0.2.1").refused(), ("client_banned", "logins"));
}

#[test]
fn unauthenticated_calls_are_limited_apart() {
    let gate = Gate::new(
        "[[limit]]\nname = \"anonymous\"\nkey = [\"client\"]\nrate = \"3/60s\"\nmatch = { only = \"unauthenticated\" }\n\
         [[limit]]\nname = \"known\"\nkey = [\"client\"]\nrate = \"10/60s\"\nmatch = { only = \"authenticated\" }\n",
    );
    let good = End { status: 200, auth: Some(Auth::App), ..End::default() };
    assert!((0..3).all(|_| gate.exchange(plain, &good)));
    assert_eq!(gate.get("192.0.2.1").refused().1, "anonymous");
    assert!((0..10).all(|_| gate.exchange(with_token, &good)), "they have a limit of their own");
    assert_eq!(gate.ask(with_token()).refused().1, "known");
}

#[test]
fn calls_whose_credentials_are_wrong_count_as_unauthenticated() {
    let gate = Gate::new(
        "[[limit]]\nname = \"anonymous\"\nkey = [\"client\"]\nrate = \"3/60s\"\nmatch = { only = \"unauthenticated\" }\n",
    );
    let good = End { status: 200, auth: Some(Auth::App), ..End::default() };
    let wrong = End { status: 401, auth: Some(Auth::Failed), ..End::default() };
    assert!(gate.exchange(with_token, &wrong) && gate.exchange(with_token, &wrong));
    assert!(gate.exchange(plain, &good), "two of three were used up");
    assert!(!gate.exchange(plain, &good), "and the third");
    assert!((0..100).all(|_| gate.exchange(with_token, &good)), "good credentials still pass");
    assert!(gate.exchange(with_token, &wrong));
    assert!(!gate.exchange(with_token, &good), "until three were wrong");
}

#[test]
fn what_a_call_costs_is_charged_afterwards() {
    let mut gate = Gate::new(
        "[[limit]]\nname = \"items\"\nkey = [\"client\"]\nrate = \"10/10s\"\ncount = \"cost\"\n\
         match = { methods = [\"POST\"] }\n",
    );
    let post = || Sample { ..Sample::head("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n") };
    assert_eq!(*post().view().method(), Method::POST);
    let batch = |cost| End { status: 200, cost, ..End::default() };
    assert!(gate.exchange(post, &batch(Some(1))) && gate.exchange(post, &batch(Some(0))));
    assert!(gate.exchange(post, &batch(None)), "a request costs at least one");
    let asked = gate.ask(post());
    assert_eq!(gate.fields(&asked).unwrap().0, "\"items\";r=6;t=4");
    gate.end(&post(), &asked, &batch(Some(26)));
    // 29 of 10: 19 are owed, and come back one a second.
    assert_eq!(gate.ask(post()).denial().retry_after, Some(Duration::from_secs(20)));
    assert!(!gate.at(19_999).exchange(post, &batch(None)));
    assert!(gate.at(20_000).exchange(post, &batch(None)));
}

#[test]
fn a_request_that_was_not_asked_does_no_harm() {
    let gate = Gate::new("[[limit]]\nname = \"a\"\nkey = [\"client\"]\nrate = \"1/60s\"\ncount = \"client_errors\"\n");
    let asked = Asked { verdict: Verdict::Pass, receipt: Receipt::default(), observed: Vec::new() };
    (0..9).for_each(|_| gate.end(&plain(), &asked, &End { status: 404, ..End::default() }));
    assert!(gate.get("192.0.2.1").passed());
}
