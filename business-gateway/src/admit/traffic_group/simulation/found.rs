//! Sizes that are found.

use super::*;

const FOUND: Size = Size::Adaptive(Bounds { min: 4, max: 400, window: Duration::from_millis(200) });

/// Asserts of calls from one second on that core does not notice the overload, and that nothing is wasted.
fn is_well(name: &str, simulation: &Simulation, from: u64, kind: Kind) {
    let core = simulation.p99(0, from).as_secs_f64() / unloaded(kind).as_secs_f64();
    let (goodput, sizes) = (simulation.goodput(from), sizes(simulation, from));
    eprintln!("{name}: core p99 {core:.2} times the unloaded, goodput {goodput:.3}, {sizes:?} slots");
    assert!(core <= 1.5, "{name}: {core}");
    assert!(goodput >= 0.95, "{name}: {goodput}");
}

fn unloaded(kind: Kind) -> Duration {
    Simulation::run(&[Load { kind, ..load("core", 0.125) }], Size::Fixed(WORKERS), SECONDS).p99(0, 0)
}

/// The smallest and the largest size from one second on.
fn sizes(simulation: &Simulation, from: u64) -> (usize, usize) {
    let sizes = || simulation.sizes_in(from..u64::MAX);
    (sizes().min().unwrap(), sizes().max().unwrap())
}

/// One load until a time, then another.
fn first_and_then(first: f64, until: u64, then: f64, kind: Kind) -> Vec<Load> {
    let first = mixed(first, kind).map(|load| Load { until, ..load });
    let then = mixed(then, kind).map(|load| Load { from: until, ..load });
    [then, first].concat()
}

/// A service that takes so many times as long, with so many workers.
fn service(takes: f64, workers: u32) -> Service {
    Service { takes: SERVICE.takes.mul_f64(takes), workers }
}

#[test]
fn a_node_that_starts_in_the_middle_of_an_overload_finds_the_size() {
    for (kind, loads) in [(Kind::Steady, [1.0, 2.0, 4.0].as_slice()), (Kind::Varying, &[1.0, 4.0])] {
        for times in loads.iter().copied() {
            let simulation = Simulation::run(&mixed(times, kind), FOUND, 20);
            is_well(&format!("{kind:?}, {times} times"), &simulation, 4, kind);
            assert!(simulation.results[0].success() >= 0.999, "{}", simulation.results[0].success());
        }
    }
}

#[test]
fn an_overload_after_quiet_times_is_noticed_within_seconds() {
    for kind in [Kind::Steady, Kind::Varying] {
        let simulation = Simulation::run(&first_and_then(0.5, 5, 4.0, kind), FOUND, 20);
        is_well(&format!("{kind:?}, first half and then 4 times"), &simulation, 9, kind);
        assert!(simulation.results[0].success() >= 0.999, "{}", simulation.results[0].success());
    }
}

#[test]
fn few_calls_that_take_most_of_the_time_do_not_confuse_it() {
    let simulation = Simulation::run(&mixed(2.0, Kind::HeavyTailed), FOUND, 30);
    is_well("few calls take most of the time", &simulation, 5, Kind::HeavyTailed);
}

#[test]
fn below_the_capacity_nobody_is_refused_before_the_size_is_known() {
    for kind in [Kind::Steady, Kind::Varying, Kind::HeavyTailed] {
        for times in [0.25, 0.5, 0.8] {
            let simulation = Simulation::run(&mixed(times, kind), FOUND, 20);
            for result in &simulation.results {
                assert_eq!(result.refused + result.waited_out, 0, "{kind:?}, {times}: of {}", result.offered);
            }
        }
    }
}

#[test]
fn a_service_that_becomes_another_one_is_measured_anew() {
    // (takes, workers) before and after, each in times of the usual.
    for (before, after) in [((1.0, 1), (3.0, 1)), ((3.0, 1), (1.0, 1)), ((1.0, 1), (1.0, 3)), ((1.0, 3), (1.0, 1))] {
        let services = [(0, service(before.0, before.1 * WORKERS)), (5, service(after.0, after.1 * WORKERS))];
        let capacity = f64::from(after.1) / after.0;
        let busy = Simulation::run_on(1, &services, &mixed(4.0, Kind::Steady), FOUND, 25);
        let (goodput, slots) = (busy.goodput(13) / capacity, sizes(&busy, 13));
        eprintln!("{before:?} to {after:?}: goodput {goodput:.3}, {slots:?} slots");
        assert!(goodput >= 0.95, "{before:?} to {after:?}: {goodput}");
        let workers = (after.1 * WORKERS) as usize;
        assert!(slots.0 * 2 >= workers && slots.1 <= workers * 4 / 3, "{before:?} to {after:?}: {slots:?}");
        // With little to do, which is a lot for the slow one, finding out costs next to nobody his answer.
        let calm = Simulation::run_on(1, &services, &mixed(0.25, Kind::Steady), FOUND, 25);
        for result in &calm.results {
            assert!(result.success() >= 0.998, "{before:?} to {after:?}: {} of {}", result.answered, result.offered);
        }
        let takes = calm.pools[0].status().baseline.unwrap().as_secs_f64() / SERVICE.takes.as_secs_f64();
        assert!((takes / after.0 - 1.0).abs() < 0.1, "{before:?} to {after:?}: {takes}");
    }
}

#[test]
fn a_service_without_a_limit_of_its_own_is_not_throttled() {
    let endless = [(0, Service { workers: u32::MAX, ..SERVICE })];
    for kind in [Kind::Steady, Kind::Varying] {
        let simulation = Simulation::run_on(1, &endless, &mixed(8.0, kind), FOUND, 4);
        assert_eq!(sizes(&simulation, 0), (400, 400), "it is not full");
    }
    // More than 400 calls at a time.
    let simulation = Simulation::run_on(1, &endless, &mixed(16.0, Kind::Varying), FOUND, 12);
    let goodput = simulation.goodput(1) / (400.0 / f64::from(WORKERS));
    eprintln!("{goodput:.3} of what the largest size lets through");
    assert!(goodput >= 0.98, "{goodput}");
}

#[test]
fn a_service_that_stood_still_for_a_second_is_used_again_at_once() {
    let services = [(0, SERVICE), (5, Service { workers: 0, ..SERVICE }), (6, SERVICE)];
    for times in [0.25, 0.9, 4.0] {
        let simulation = Simulation::run_on(1, &services, &mixed(times, Kind::Steady), FOUND, 20);
        let goodput = simulation.goodput(11) / times.min(1.0);
        eprintln!("stood still, {times} times: {goodput:.3}");
        assert!(goodput >= 0.95, "{times}: {goodput}");
        let p99 = simulation.p99(0, 11);
        assert!(p99 <= unloaded(Kind::Steady).mul_f64(1.6), "{times}: {p99:?}");
    }
}

#[test]
fn the_nodes_of_a_fleet_find_the_size_together() {
    for (nodes, most) in [(2, 2.0), (4, 2.5)] {
        let simulation = Simulation::run_on(nodes, &[(0, SERVICE)], &mixed(4.0, Kind::Steady), FOUND, 30);
        let core = simulation.p99(0, 10).as_secs_f64() / unloaded(Kind::Steady).as_secs_f64();
        let (success, goodput, slots) =
            (simulation.results[0].success(), simulation.goodput(10), sizes(&simulation, 10));
        eprintln!(
            "{nodes} nodes: core {success:.5}, p99 {core:.2} times the unloaded, goodput {goodput:.3}, {slots:?} slots"
        );
        assert!(success >= 0.999 && core <= most && goodput >= 0.95, "{nodes} nodes");
        // Each node has a queue of its own at the service.
        assert!(slots.1 <= 40 + 4 * nodes as usize, "{nodes} nodes: {slots:?}");
        let each = &simulation.sizes.last().unwrap().1;
        assert!(each.iter().max().unwrap() <= &(each.iter().min().unwrap() * 2), "{each:?}");
        for status in simulation.pools.iter().map(Capacity::status) {
            let baseline = status.baseline.unwrap().as_secs_f64() / SERVICE.takes.as_secs_f64();
            assert!((baseline - 1.0).abs() < 0.1, "{baseline}");
        }
    }
}
