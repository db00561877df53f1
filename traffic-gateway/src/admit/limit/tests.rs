mod flood;
mod after;
mod fleet;
mod cost;

use gatehouse_shared::{clock, config as files, config::SourceFile};

use super::*;
use crate::admit::{Action, limit::receipt::TOLD_MAX, view::sample::Sample};

/// When tests begin, Unix milliseconds; a whole number of minutes.
const START: u64 = 1_795_169_880_000;

/// Limits, their bans, and a clock.
struct Gate {
    limits: Limits,
    bans: Arc<Bans>,
    start: Instant,
    ms: u64,
}

/// What came of one request.
struct Asked {
    verdict: Verdict,
    receipt: Receipt,
    observed: Vec<Denial>,
}

fn parse(text: &str) -> (crate::config::Config, Positions) {
    let text = format!(
        "{text}\n[process]\n[[process.listener]]\naddress = \"127.0.0.1:0\"\n[hop]\n\
         keys = [{{ id = \"a\", secret = {{ file = \"hop.key\" }} }}]\n[[route]]\ncluster = \"a\"\n"
    );
    let file = SourceFile { path: "edge.toml".into(), text };
    let document = files::parse(&file).unwrap_or_else(|errors| panic!("{errors}"));
    (document.value, document.positions)
}

fn compile_at(text: &str, before: Option<&Limits>, bans: &Arc<Bans>, now: Instant) -> Result<Option<Limits>, String> {
    let (config, positions) = parse(text);
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("hop.key"), "k".repeat(32)).unwrap();
    let mut sources = Sources::new(directory.path());
    Limits::compile(&config, before, bans, &mut sources, &positions, now).map_err(|errors| errors.to_string())
}

impl Gate {
    fn new(text: &str) -> Self {
        let (bans, start) = (Arc::default(), clock::now());
        let limits = compile_at(text, None, &bans, start).unwrap_or_else(|errors| panic!("{errors}")).unwrap();
        Self { limits, bans, start, ms: 0 }
    }

    /// The same after a reload.
    fn reload(&mut self, text: &str) {
        let limits = compile_at(text, Some(&self.limits), &self.bans, self.now());
        self.limits = limits.unwrap_or_else(|errors| panic!("{errors}")).unwrap();
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.ms)
    }

    fn at(&mut self, ms: u64) -> &mut Self {
        self.ms = ms;
        self
    }

    fn ask(&self, mut sample: Sample) -> Asked {
        sample.unix_ms = START + self.ms;
        let view = sample.view();
        let verdict = self.limits.check(&view, self.now());
        Asked { verdict, receipt: view.take_receipt(), observed: view.into_observed() }
    }

    /// Asks for `/` as a client.
    fn get(&self, client: &str) -> Asked {
        self.ask(Sample::get("/", &[]).from(client))
    }

    fn fields(&self, asked: &Asked) -> Option<(String, String)> {
        let (standing, policy) = self.limits.fields(&asked.receipt)?;
        Some((standing.to_str().unwrap().to_owned(), policy.to_str().unwrap().to_owned()))
    }
}

impl Asked {
    fn passed(&self) -> bool {
        matches!(self.verdict, Verdict::Pass)
    }

    fn denial(&self) -> &Denial {
        let Verdict::Deny(denial) = &self.verdict else { panic!("{:?}", self.verdict) };
        denial
    }

    /// The code of the denial and the name of the limit.
    fn refused(&self) -> (&'static str, &str) {
        let denial = self.denial();
        (denial.reason.code, &denial.evidence.as_ref().unwrap().name)
    }
}

const A: &str = "192.0.2.1";
const B: &str = "192.0.2.2";

#[test]
fn a_client_above_its_limit_is_refused_and_told_when_to_come_back() {
    let gate = Gate::new("[[limit]]\nname = \"clients\"\nkey = [\"client\"]\nrate = \"2/60s\"\n");
    let first = gate.get(A);
    assert_eq!(gate.fields(&first).unwrap(), ("\"clients\";r=1;t=30".to_owned(), "\"clients\";q=2;w=60".to_owned()));
    assert!(first.passed() && gate.get(A).passed());
    let refused = gate.get(A);
    assert_eq!(refused.refused(), ("rate_limit_exceeded", "clients"));
    assert_eq!(refused.denial().retry_after, Some(Duration::from_secs(30)));
    let matched = refused.denial().evidence.as_ref().unwrap().matched.as_ref().unwrap();
    assert_eq!((&*matched.what, &*matched.value), ("client", A.as_bytes()));
    assert_eq!(gate.fields(&refused).unwrap().0, "\"clients\";r=0;t=60");
    assert!(gate.get(B).passed(), "another client");
    assert!(gate.ask(Sample::get("/", &[]).from("2001:db8::1")).passed());
    assert!(gate.ask(Sample::get("/", &[]).from("2001:db8::2")).passed());
    assert!(!gate.ask(Sample::get("/", &[]).from("2001:db8::3")).passed(), "an IPv6 client is its /64 network");
}

#[test]
fn one_counter_for_all_has_no_value_to_show() {
    let gate = Gate::new("[[limit]]\nname = \"all\"\nrate = \"1/60s\"\n");
    assert!(gate.get(A).passed());
    assert!(gate.get(B).denial().evidence.as_ref().unwrap().matched.is_none());
}

#[test]
fn secrets_are_shown_as_digests() {
    let gate = Gate::new("[[limit]]\nname = \"tokens\"\nkey = [\"client\", \"query:token\"]\nrate = \"1/60s\"\n");
    let get = || gate.ask(Sample::get("/?token=abc", &[]));
    assert!(get().passed());
    let refused = get();
    let matched = refused.denial().evidence.as_ref().unwrap().matched.clone().unwrap();
    assert_eq!((&*matched.what, &*matched.value), ("client, query token", &b"192.0.2.1, sha256:ba7816bf8f01cfea"[..]));
    assert!(gate.ask(Sample::get("/?token=x", &[])).passed() && gate.ask(Sample::get("/", &[])).passed());
}

#[test]
fn what_a_later_limit_refuses_is_given_back_by_the_earlier_ones() {
    for algorithm in ["token_bucket", "sliding_window"] {
        let gate = Gate::new(&format!(
            "[[limit]]\nname = \"all\"\nrate = \"3/60s\"\nalgorithm = \"{algorithm}\"\n\
             [[limit]]\nname = \"watched\"\nrate = \"3/60s\"\nmode = \"observe\"\n\
             [[limit]]\nname = \"clients\"\nkey = [\"client\"]\nrate = \"1/60s\"\nalgorithm = \"{algorithm}\"\n"
        ));
        assert!(gate.get(A).passed());
        for _ in 0..100 {
            assert_eq!(gate.get(A).refused(), ("rate_limit_exceeded", "clients"));
        }
        assert!(gate.get(B).passed() && gate.get("192.0.2.3").passed(), "the flood of one has used up nothing");
        assert_eq!(gate.get("192.0.2.4").refused().1, "all");
        assert!(gate.get("192.0.2.4").observed.is_empty(), "nor of a limit that only observes");
        assert!(gate.fields(&gate.get(A)).unwrap().0.starts_with("\"all\";r=0;t=6"));
    }
}

#[test]
fn what_was_not_counted_is_not_given_back() {
    let gate = Gate::new(
        "[[limit]]\nname = \"quiet\"\nrate = \"2/60s\"\nheaders = false\n\
         [[limit]]\nname = \"watched\"\nrate = \"1/60s\"\nmode = \"observe\"\n\
         [[limit]]\nname = \"clients\"\nkey = [\"client\"]\nrate = \"1/60s\"\n",
    );
    assert!(gate.get(A).observed.is_empty());
    for _ in 0..100 {
        let refused = gate.get(A);
        assert_eq!(refused.refused(), ("rate_limit_exceeded", "clients"));
        assert_eq!(refused.observed.len(), 1, "what is above a limit that only observes stays above it");
    }
    assert!(gate.get(B).passed(), "nobody is told of the first limit, and the flood of one has used up nothing");
    assert_eq!(gate.get("192.0.2.3").refused().1, "quiet");
}

#[test]
fn limits_that_ban_count_what_others_refuse_and_come_first() {
    let mut gate = Gate::new(
        "[[limit]]\nname = \"clients\"\nkey = [\"client\"]\nrate = \"2/60s\"\n\
         [[limit]]\nname = \"floods\"\nkey = [\"client\"]\nrate = \"10/60s\"\naction = \"ban\"\nban = \"10m\"\n",
    );
    let refusals: Vec<_> = (0..13).map(|_| gate.get(A)).filter(|asked| !asked.passed()).collect();
    let names: Vec<_> = refusals.iter().map(Asked::refused).collect();
    let mut expected = vec![("rate_limit_exceeded", "clients"); 8];
    expected.extend([("rate_limit_exceeded", "floods"), ("client_banned", "floods"), ("client_banned", "floods")]);
    assert_eq!(names, expected);
    assert_eq!(refusals[8].denial().retry_after, Some(Duration::from_secs(600)));
    assert!(gate.get(B).passed());
    let ban = Ban { client: A.parse().unwrap(), until_unix_ms: START + 600_000, limit: "floods".into() };
    assert_eq!(gate.bans.drain(10, START), [ban]);
    assert_eq!(gate.at(599_999).get(A).denial().retry_after, Some(Duration::from_millis(1)));
    assert!(gate.at(600_000).get(A).passed());
}

#[test]
fn a_limit_that_observes_refuses_bans_and_delays_nobody() {
    let rest = "key = [\"client\"]\nrate = \"1/60s\"\nmode = \"observe\"\n";
    let gate = Gate::new(&format!(
        "[[limit]]\nname = \"a\"\n{rest}[[limit]]\nname = \"b\"\naction = \"ban\"\nban = \"1h\"\n{rest}\
         [[limit]]\nname = \"c\"\naction = \"delay\"\ndelay = \"5s\"\n{rest}"
    ));
    assert!(gate.get(A).observed.is_empty());
    let second = gate.get(A);
    assert!(second.passed() && gate.fields(&second).is_none(), "clients are not told either");
    let names: Vec<_> = second.observed.iter().map(|denial| &*denial.evidence.as_ref().unwrap().name).collect();
    assert_eq!(names, ["b", "a", "c"]);
    assert_eq!(gate.bans.totals().banned, 0);
    let observed: Vec<u64> =
        gate.limits.standings().map(|one| one.totals.observed.load(std::sync::atomic::Ordering::Relaxed)).collect();
    assert_eq!(observed, [1, 1, 1]);
}

#[test]
fn a_delay_spaces_requests_and_is_bounded() {
    let mut gate = Gate::new(
        "[[limit]]\nname = \"slow\"\nkey = [\"client\"]\nrate = \"10/1s\"\nburst = 2\naction = \"delay\"\ndelay = \"300ms\"\n",
    );
    let delays: Vec<_> = (0..6).map(|_| gate.get(A).verdict).collect();
    let wait = |ms| Verdict::Delay(Duration::from_millis(ms));
    assert_eq!(delays[..5], [Verdict::Pass, Verdict::Pass, wait(100), wait(200), wait(300)]);
    assert!(matches!(&delays[5], Verdict::Deny(denial) if denial.retry_after == Some(Duration::from_millis(400))));
    assert_eq!(gate.at(100).get(A).verdict, wait(300), "the queue has moved on by one");
    assert_eq!(gate.at(1_000).get(A).verdict, Verdict::Pass);
}

#[test]
fn a_breach_can_refuse_for_a_time() {
    let mut gate = Gate::new("[[limit]]\nname = \"a\"\nkey = [\"client\"]\nrate = \"2/1s\"\ndeny_for = \"60s\"\n");
    assert!(gate.get(A).passed() && gate.get(A).passed() && !gate.get(A).passed());
    assert!(!gate.at(59_900).get(A).passed() && gate.get(B).passed());
    assert!(gate.at(60_100).get(A).passed());
}

#[test]
fn cc_is_by_client_and_path_for_its_window() {
    let mut gate = Gate::new("[cc]\nrate = \"3/60\"\nclient_rate = \"5/60\"\n");
    let get = |gate: &Gate, path: &str| gate.ask(Sample::get(path, &[]));
    assert!((0..3).all(|_| get(&gate, "/a").passed()));
    assert_eq!(get(&gate, "/a").refused(), ("rate_limit_exceeded", "cc"));
    assert!((60..62).contains(&get(&gate, "/a").denial().retry_after.unwrap().as_secs()));
    assert!(get(&gate, "/b").passed() && get(&gate, "/c").passed(), "what was refused does not count for the client");
    assert_eq!(get(&gate, "/d").refused().1, "cc-client");
    assert!(gate.ask(Sample::get("/a", &[]).from(B)).passed());
    assert!(!get(gate.at(59_000), "/a").passed());
    assert!(get(gate.at(62_000), "/a").passed());
}

#[test]
fn cc_can_ban_and_observe() {
    let gate = Gate::new("[cc]\nrate = \"1/60\"\nban = \"10m\"\n");
    assert!(gate.ask(Sample::get("/a", &[])).passed());
    assert!(!gate.ask(Sample::get("/a", &[])).passed());
    assert_eq!(gate.ask(Sample::get("/b", &[])).refused(), ("client_banned", "cc"));
    let gate = Gate::new("[cc]\nrate = \"1/60\"\nmode = \"observe\"\nmatch = { paths = [\"/a*\"] }\n");
    assert!(gate.ask(Sample::get("/a", &[])).passed());
    assert_eq!(gate.ask(Sample::get("/a", &[])).observed.len(), 1);
    assert_eq!(gate.ask(Sample::get("/b", &[])).observed.len() + gate.ask(Sample::get("/b", &[])).observed.len(), 0);
}

#[test]
fn counts_and_totals_survive_a_reload() {
    let limit = "[[limit]]\nname = \"a\"\nkey = [\"client\"]\nrate = \"3/60s\"\n";
    let mut gate = Gate::new(limit);
    assert!(gate.get(A).passed() && gate.get(A).passed());
    gate.reload(&format!("[[limit]]\nname = \"first\"\nrate = \"100/1s\"\n{limit}"));
    assert!(gate.get(A).passed());
    assert_eq!(gate.get(A).refused().1, "a");
    let admitted: Vec<u64> = gate.limits.standings().map(|one| one.admitted).collect();
    assert_eq!(admitted, [2, 3]);
    gate.reload("[[limit]]\nname = \"a\"\nkey = [\"client\", \"path\"]\nrate = \"3/60s\"\n");
    assert!(gate.get(A).passed(), "another key is another limit");
}

#[test]
fn what_passed_quietly_is_counted_over_every_reload() {
    let rest = "headers = false\nrate = \"9/60s\"\n";
    let limit = |more: &str| format!("[[limit]]\nname = \"a\"\n{rest}{more}");
    let mut gate = Gate::new(&limit("key = [\"client\"]\n"));
    let admitted = |gate: &Gate| gate.limits.standings().next().unwrap().admitted;
    assert!((0..5).all(|_| gate.get(A).passed()));
    assert_eq!(admitted(&gate), 5);
    for (changed, sum) in [("key = [\"path\"]\n", 8), ("scope = \"fleet\"\n", 11), ("key = [\"host\"]\n", 14)] {
        gate.reload(&limit(changed));
        assert!((0..3).all(|_| gate.get(A).passed()), "{changed}");
        assert_eq!(admitted(&gate), sum, "{changed}");
    }
}

#[test]
fn clients_are_told_about_some_limits() {
    let mut text = String::from("[limits]\nheaders = false\n");
    for n in 0..TOLD_MAX + 2 {
        text.push_str(&format!("[[limit]]\nname = \"l{n}\"\nrate = \"5/60s\"\nheaders = true\n"));
    }
    text.push_str("[[limit]]\nname = \"quiet\"\nrate = \"5/60s\"\n");
    let gate = Gate::new(&text);
    let (standing, policy) = gate.fields(&gate.get(A)).unwrap();
    assert_eq!((standing.split(", ").count(), policy.split(", ").count()), (TOLD_MAX, TOLD_MAX));
    assert!(standing.starts_with("\"l0\";r=4;t=12, \"l1\";r=4;t=12") && policy.starts_with("\"l0\";q=5;w=60, "));
    let quiet = Gate::new("[limits]\nheaders = false\n[[limit]]\nname = \"a\"\nrate = \"5/60s\"\n");
    assert!(quiet.fields(&quiet.get(A)).is_none());
}

#[test]
fn every_mistake_is_reported_at_once() {
    let errors = compile_at(
        r#"
        [limits]
        credentials = ["password"]
        exchange_every = "5s"
        [[limit]]
        name = "a b"
        key = ["clients", "header:"]
        rate = "0/60s"
        [[limit]]
        name = "same"
        rate = "1/1s"
        action = "ban"
        deny_for = "1m"
        match = { hosts = ["*.*"], paths = ["login"], methods = ["get"], routes = ["nowhere"] }
        [[limit]]
        name = "same"
        rate = "1/1s"
        action = "delay"
        delay = "1m"
        algorithm = "sliding_window"
        statuses = [500]
        [[limit]]
        name = "fleet"
        rate = "1/1s"
        burst = 5
        scope = "fleet"
        "#,
        None,
        &Arc::default(),
        clock::now(),
    )
    .unwrap_err();
    insta::assert_snapshot!(errors);
}

#[test]
fn a_mistake_in_the_short_form_is_named_where_it_stands() {
    let errors = compile_at("[cc]\nrate = \"1/60\"\nclient_rate = \"0/60\"\n", None, &Arc::default(), clock::now());
    assert_eq!(errors.unwrap_err(), "edge.toml:3:15: client_rate must be 1 to 4294967295 in at most 366d");
}

#[test]
fn without_limits_there_is_no_stage() {
    assert!(compile_at("[limits]\nheaders = true\n", None, &Arc::default(), clock::now()).unwrap().is_none());
}

#[test]
fn a_denial_takes_the_usual_way() {
    let gate = Gate::new("[[limit]]\nname = \"a\"\nrate = \"1/60s\"\n");
    gate.get(A);
    assert_eq!(gate.get(A).denial().action, None::<Action>);
}
