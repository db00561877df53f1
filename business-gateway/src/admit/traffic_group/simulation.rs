//! What overload looks like, call by call, in simulated time: a service of 32 workers that take 20 ms a call, groups that want
//! more than it has, and the state machines that requests go through. Nothing here is measured by a clock, so the figures are
//! the same on every machine.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatehouse_shared::clock;

use super::adaptive::Bounds;
use super::capacity::{Capacity, Settings, Shown, Size};
use super::pool::{Entry, Shape, Woken};

const WORKERS: u32 = 32;
/// Calls a second that the service can take.
const CAPACITY: f64 = 1_600.0;
const PATIENCE: Duration = Duration::from_secs(2);
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Callers of one kind.
#[derive(Clone)]
struct Load {
    group: &'static str,
    /// Of the capacity.
    rate: f64,
    kind: Kind,
    /// Calls of this API at a time.
    cap: Option<u32>,
    /// When it begins and ends, in seconds.
    from: u64,
    until: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// What the service takes, give or take a tenth. With exactly the same time for all, slots would come free for ever in the rhythm in which
    /// they were first taken.
    Steady,
    /// The same on average, exponentially distributed.
    Varying,
    /// The same on average, most of it in few calls: log-normal, with a deviation of nearly three times the mean.
    HeavyTailed,
    /// Takes no worker and never answers; given up after ten seconds.
    Hanging,
}

fn load(group: &'static str, rate: f64) -> Load {
    Load { group, rate, kind: Kind::Steady, cap: None, from: 0, until: u64::MAX }
}

/// What became of the calls of one load.
#[derive(Debug, Default)]
struct Result {
    offered: u32,
    answered: u32,
    refused: u32,
    waited_out: u32,
    too_late: u32,
    /// Of the calls answered in time: when, and after how long.
    times: Vec<(Instant, Duration)>,
}

impl Result {
    fn success(&self) -> f64 {
        f64::from(self.answered) / f64::from(self.offered)
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives(usize),
    GivesUp(usize),
    IsAnswered(usize),
    IsCutOff(usize),
    Becomes(Service),
}

/// What a service is at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Service {
    workers: u32,
    takes: Duration,
}

const SERVICE: Service = Service { workers: WORKERS, takes: Duration::from_millis(20) };

#[derive(Clone, Copy)]
struct Call {
    load: usize,
    node: usize,
    began: Instant,
    place: Place,
    has_slot_since: Instant,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    AtTheGate(u64),
    AtThePool(u64),
    Running,
    Over,
}

struct Simulation {
    now: Instant,
    end: Instant,
    random: fastrand::Rng,
    events: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    sequence: u64,
    loads: Vec<Load>,
    groups: Vec<Arc<str>>,
    calls: Vec<Call>,
    /// One on each node.
    pools: Vec<Capacity<usize>>,
    gates: Vec<Option<Capacity<usize>>>,
    service: Service,
    busy: u32,
    /// At the service.
    backlog: VecDeque<usize>,
    results: Vec<Result>,
    start: Instant,
    /// The sizes of the pools now and then.
    sizes: Vec<(Instant, Vec<usize>)>,
}

fn settings(size: Size, epoch: Instant) -> Settings {
    let groups = [("core", 60), ("real-time", 30), ("rest", 10)];
    let groups = groups.map(|(name, ratio)| (Arc::from(name), ratio)).to_vec();
    Settings::new(size, Shape { groups, reserve_percent: 10, queue_max: 1_000 }, WAIT_MAX, epoch)
}

impl Simulation {
    fn run(loads: &[Load], size: Size, seconds: u64) -> Self {
        Self::run_on(1, &[(0, SERVICE)], loads, size, seconds)
    }

    /// The same on several nodes, with a service that becomes another one at times, in seconds.
    fn run_on(nodes: u32, services: &[(u64, Service)], loads: &[Load], size: Size, seconds: u64) -> Self {
        let now = clock::now();
        let gate = |load: &Load| load.cap.map(|cap| Capacity::new(&settings(Size::Fixed(cap), now), 1, now));
        let mut simulation = Self {
            now,
            end: now + Duration::from_secs(seconds),
            random: fastrand::Rng::with_seed(7),
            events: BinaryHeap::new(),
            sequence: 0,
            groups: loads.iter().map(|load| Arc::from(load.group)).collect(),
            calls: Vec::new(),
            pools: (0..nodes).map(|_| Capacity::new(&settings(size, now), nodes, now)).collect(),
            gates: loads.iter().map(gate).collect(),
            service: SERVICE,
            busy: 0,
            backlog: VecDeque::new(),
            results: loads.iter().map(|_| Result::default()).collect(),
            loads: loads.to_vec(),
            start: now,
            sizes: Vec::new(),
        };
        for (from, service) in services {
            simulation.at(now + Duration::from_secs(*from), Event::Becomes(*service));
        }
        for (index, load) in loads.iter().enumerate() {
            simulation.at(now + Duration::from_secs(load.from), Event::Arrives(index));
        }
        while let Some(Reverse((at, _, event))) = simulation.events.pop() {
            simulation.now = at;
            match event {
                Event::Arrives(load) => simulation.arrive(load),
                Event::GivesUp(call) => simulation.give_up(call),
                Event::IsAnswered(call) => simulation.finish(call, Shown::Answered),
                Event::IsCutOff(call) => simulation.finish(call, Shown::NotYet),
                Event::Becomes(service) => {
                    simulation.service = service;
                    simulation.serve();
                }
            }
            if simulation.sequence.is_multiple_of(100) {
                simulation.sizes.push((at, simulation.pools.iter().map(|pool| pool.status().size).collect()));
            }
        }
        simulation
    }

    fn at(&mut self, at: Instant, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((at, self.sequence, event)));
    }

    fn exponential(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(-(1.0 - self.random.f64()).ln())
    }

    fn schedule_arrival(&mut self, load: usize) {
        let between = Duration::from_secs_f64(1.0 / (CAPACITY * self.loads[load].rate));
        let at = self.now + self.exponential(between);
        if at < self.end && at < self.start + Duration::from_secs(self.loads[load].until.min(1_000)) {
            self.at(at, Event::Arrives(load));
        }
    }

    fn arrive(&mut self, load: usize) {
        self.schedule_arrival(load);
        self.results[load].offered += 1;
        let call = self.calls.len();
        let node = self.random.usize(..self.pools.len());
        self.calls.push(Call { load, node, began: self.now, place: Place::Over, has_slot_since: self.now });
        let start_by = self.start_by(call);
        let entry = self.gates[load].as_mut().map(|gate| gate.enter(&self.groups[load], self.now, start_by, || call));
        match entry {
            None | Some(Entry::Go) => self.enter_pool(call),
            Some(Entry::Wait(ticket)) => self.wait(call, Place::AtTheGate(ticket)),
            Some(Entry::Refuse(_)) => self.results[load].refused += 1,
        }
    }

    fn start_by(&self, call: usize) -> Instant {
        let patience = (self.calls[call].began + PATIENCE - SERVICE.takes).saturating_duration_since(self.now);
        self.now + patience.min(WAIT_MAX)
    }

    fn wait(&mut self, call: usize, place: Place) {
        self.calls[call].place = place;
        let start_by = self.start_by(call);
        self.at(start_by, Event::GivesUp(call));
    }

    fn enter_pool(&mut self, call: usize) {
        let (Call { load, node, .. }, start_by) = (self.calls[call], self.start_by(call));
        match self.pools[node].enter(&self.groups[load], self.now, start_by, || call) {
            Entry::Go => self.start(call),
            Entry::Wait(ticket) => self.wait(call, Place::AtThePool(ticket)),
            Entry::Refuse(_) => {
                self.results[load].refused += 1;
                self.leave_gate(call);
            }
        }
    }

    fn start(&mut self, call: usize) {
        (self.calls[call].place, self.calls[call].has_slot_since) = (Place::Running, self.now);
        if self.loads[self.calls[call].load].kind == Kind::Hanging {
            self.at(self.now + Duration::from_secs(10), Event::IsCutOff(call));
        } else {
            self.backlog.push_back(call);
            self.serve();
        }
    }

    fn serve(&mut self) {
        while self.busy < self.service.workers
            && let Some(call) = self.backlog.pop_front()
        {
            self.busy += 1;
            let mean = self.service.takes;
            let takes = match self.loads[self.calls[call].load].kind {
                Kind::Varying => self.exponential(mean),
                Kind::HeavyTailed => {
                    let (radius, angle) =
                        (-2.0 * (1.0 - self.random.f64()).ln(), std::f64::consts::TAU * self.random.f64());
                    mean.mul_f64((1.5 * radius.sqrt() * angle.cos() - 1.125).exp())
                }
                Kind::Steady | Kind::Hanging => mean.mul_f64(0.9 + 0.2 * self.random.f64()),
            };
            self.at(self.now + takes, Event::IsAnswered(call));
        }
    }

    fn finish(&mut self, call: usize, shown: fn(Duration) -> Shown) {
        let Call { load, node, began, has_slot_since, .. } = self.calls[call];
        self.calls[call].place = Place::Over;
        let held = self.now - has_slot_since;
        let shown = shown(held);
        self.pools[node].learn(shown);
        if shown == Shown::Answered(held) {
            self.busy -= 1;
            self.serve();
            let took = self.now - began;
            if took > PATIENCE {
                self.results[load].too_late += 1;
            } else {
                self.results[load].answered += 1;
                self.results[load].times.push((self.now, took));
            }
        }
        self.pools[node].leave(&self.groups[load], held, self.now);
        while let Some(woken) = self.pools[node].next(self.now) {
            match woken {
                Woken::Granted(_, call) => self.start(call),
                Woken::Expired(call) => self.wait_out(call),
            }
        }
        self.leave_gate(call);
    }

    fn give_up(&mut self, call: usize) {
        let load = self.calls[call].load;
        match self.calls[call].place {
            Place::AtTheGate(ticket) => {
                if let Some(gate) = &mut self.gates[load] {
                    gate.give_up(&self.groups[load], ticket);
                }
                self.calls[call].place = Place::Over;
                self.results[load].waited_out += 1;
            }
            Place::AtThePool(ticket) => {
                self.pools[self.calls[call].node].give_up(&self.groups[load], ticket);
                self.wait_out(call);
            }
            Place::Running | Place::Over => {}
        }
    }

    fn wait_out(&mut self, call: usize) {
        self.calls[call].place = Place::Over;
        self.results[self.calls[call].load].waited_out += 1;
        self.leave_gate(call);
    }

    fn leave_gate(&mut self, call: usize) {
        let Call { load, began, .. } = self.calls[call];
        let held = self.now - began;
        let Some(gate) = &mut self.gates[load] else { return };
        gate.leave(&self.groups[load], held, self.now);
        let mut through = Vec::new();
        while let Some(woken) = gate.next(self.now) {
            match woken {
                Woken::Granted(_, call) => through.push(call),
                Woken::Expired(call) => {
                    self.calls[call].place = Place::Over;
                    self.results[load].waited_out += 1;
                }
            }
        }
        through.into_iter().for_each(|call| self.enter_pool(call));
    }

    /// The times of the calls of a load that were answered within some seconds, sorted.
    fn times_in(&self, load: usize, seconds: Range<u64>) -> Vec<Duration> {
        let span = self.span(seconds);
        let times = self.results[load].times.iter().filter(|(at, _)| span.contains(at));
        let mut times: Vec<Duration> = times.map(|(_, took)| *took).collect();
        times.sort();
        times
    }

    /// The time that 99 of 100 calls of a load take, of those answered from one second to the end.
    fn p99(&self, load: usize, from: u64) -> Duration {
        let times = self.times_in(load, from..u64::MAX);
        times[times.len() * 99 / 100]
    }

    /// Calls answered in time from one second to the end, as part of what the service can take.
    fn goodput(&self, from: u64) -> f64 {
        self.goodput_in(from..u64::MAX)
    }

    fn goodput_in(&self, seconds: Range<u64>) -> f64 {
        let span = self.span(seconds);
        let times = self.results.iter().flat_map(|result| &result.times);
        let answered = times.filter(|(at, _)| span.contains(at)).count();
        answered as f64 / (CAPACITY * (span.end - span.start).as_secs_f64())
    }

    /// The sizes of the pool within some seconds.
    fn sizes_in(&self, seconds: Range<u64>) -> impl Iterator<Item = usize> {
        let span = self.span(seconds);
        self.sizes.iter().filter(move |(at, _)| span.contains(at)).map(|(_, sizes)| sizes.iter().sum())
    }

    fn span(&self, seconds: Range<u64>) -> Range<Instant> {
        let at = |second: u64| self.end.min(self.start + Duration::from_secs(second.min(1_000)));
        at(seconds.start)..at(seconds.end)
    }
}

mod found;

const SECONDS: u64 = 15;
const FIXED: Size = Size::Fixed(WORKERS);

/// An eighth core, three eighths real-time, half the rest: at 4 times the capacity core alone asks for half of it.
fn mixed(times: f64, kind: Kind) -> [Load; 3] {
    let load = |group, part| Load { kind, ..load(group, part * times) };
    [load("core", 0.125), load("real-time", 0.375), load("rest", 0.5)]
}

#[test]
fn core_does_not_notice_overload() {
    for kind in [Kind::Steady, Kind::Varying] {
        let unloaded = Simulation::run(&[Load { kind, ..load("core", 0.125) }], FIXED, SECONDS).p99(0, 0);
        for times in [1.0, 2.0, 3.0, 4.0] {
            let simulation = Simulation::run(&mixed(times, kind), FIXED, SECONDS);
            let (success, p99, goodput) =
                (simulation.results[0].success(), simulation.p99(0, 0), simulation.goodput(0));
            eprintln!("{times}x: core {success:.5} p99 {p99:?} (unloaded {unloaded:?}), goodput {goodput:.3}");
            assert!(success >= 0.999, "{times}: {success}");
            assert!(p99 <= unloaded.mul_f64(1.5), "{times}: {p99:?} against {unloaded:?}");
            assert!(goodput >= 0.95, "{times}: {goodput}");
            let too_late: u32 = simulation.results.iter().map(|result| result.too_late).sum();
            assert_eq!(too_late, 0, "no slot is spent on a call that is answered too late");
        }
    }
}

#[test]
fn each_group_gets_its_share_of_an_overload() {
    let loads = [load("core", 2.0), load("real-time", 2.0), load("rest", 2.0)];
    let simulation = Simulation::run(&loads, FIXED, SECONDS);
    let answered = |load: usize| simulation.results[load].answered;
    let all = f64::from(answered(0) + answered(1) + answered(2));
    // Shares of 32 slots.
    for (load, share) in [(0, 19.0), (1, 10.0), (2, 3.0)] {
        let part = f64::from(answered(load)) / all * 32.0;
        assert!((part - share).abs() < 0.5, "{load}: {part} of 32 instead of {share}");
    }
}

#[test]
fn below_the_capacity_the_lowest_group_loses_nothing() {
    for kind in [Kind::Steady, Kind::Varying] {
        for times in [0.5, 0.8, 0.9] {
            let simulation = Simulation::run(&mixed(times, kind), FIXED, SECONDS);
            for result in &simulation.results {
                assert_eq!(result.answered, result.offered, "{times}: {} refused", result.refused);
            }
        }
    }
}

#[test]
fn a_hanging_api_fills_its_cap_and_not_its_group() {
    let fine = load("core", 0.3);
    let unloaded = Simulation::run(std::slice::from_ref(&fine), FIXED, SECONDS).p99(0, 0);
    let hanging = Load { kind: Kind::Hanging, cap: Some(4), ..load("core", 0.2) };
    let loads = [fine.clone(), hanging.clone(), load("real-time", 0.5), load("rest", 1.0)];
    let simulation = Simulation::run(&loads, FIXED, SECONDS);
    let (success, p99) = (simulation.results[0].success(), simulation.p99(0, 0));
    eprintln!("beside a hanging API: {success:.5} p99 {p99:?} (unloaded {unloaded:?})");
    assert!(success >= 0.999 && p99 <= unloaded.mul_f64(1.5), "{success} {p99:?}");
    let uncapped = Simulation::run(&[fine, Load { cap: None, ..hanging }], FIXED, SECONDS);
    assert!(uncapped.results[0].success() < 0.5, "what the cap is for: {}", uncapped.results[0].success());
}
