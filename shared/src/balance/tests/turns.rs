//! Round robin, plain and by weight.

use proptest::prelude::{any, proptest};

use super::*;

#[test]
fn round_robin_is_even() {
    let (pool, now) = pool(Strategy::RoundRobin, 3);
    assert_eq!(counts(&pool, 300, now), [100, 100, 100]);
}

#[test]
fn round_robin_stays_even_when_one_is_out() {
    let (pool, now) = pool(Strategy::RoundRobin, 4);
    end(&pool, 1, Outcome::ConnectFailed, now);
    assert_eq!(counts(&pool, 300, now), [100, 0, 100, 100], "the neighbour does not get its share too");
}

#[test]
fn another_try_of_a_call_takes_nobodys_turn() {
    let (pool, now) = pool(Strategy::RoundRobin, 2);
    let mut first = [0, 0];
    for _ in 0..100 {
        let index = choose(&pool, &[], now).index();
        first[index] += 1;
        // The first one always fails, so its calls are tried at the other one.
        if index == 0 {
            assert_eq!(choose(&pool, &[0], now).index(), 1);
        }
    }
    assert_eq!(first, [50, 50], "not every call begins at the one that fails");
}

#[test]
fn choosing_from_many_threads_is_even() {
    let (pool, now) = pool(Strategy::RoundRobin, 4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..1_000).for_each(|_| drop(choose(&pool, &[], now))));
        }
    });
    assert!(pool.status(now).iter().all(|endpoint| endpoint.requests_total == 1_000 && endpoint.in_flight == 0));
}

#[test]
fn weighted_turns_are_spread_over_a_round() {
    let (pool, now) = pool_of(Strategy::WeightedRoundRobin, &weighted(&[5, 1, 1]));
    let turns: Vec<usize> = (0..14).map(|_| choose(&pool, &[], now).index()).collect();
    assert_eq!(turns, [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn weighted_turns_from_many_threads_are_exact() {
    let (pool, now) = pool_of(Strategy::WeightedRoundRobin, &weighted(&[3, 2, 1, 4]));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..1_000).for_each(|_| drop(choose(&pool, &[], now))));
        }
    });
    let requests: Vec<u64> = pool.status(now).iter().map(|endpoint| endpoint.requests_total).collect();
    assert_eq!(requests, [1_200, 800, 400, 1_600]);
}

#[test]
fn a_reload_changes_weights_without_a_burst() {
    let (before, now) = pool_of(Strategy::WeightedRoundRobin, &weighted(&[5, 1]));
    spread(&before, 3, now);
    let pool = Pool::compile(&config(Strategy::WeightedRoundRobin), &weighted(&[1, 1]), Some(&before), now);
    let turns: Vec<usize> = (0..40).map(|_| choose(&pool, &[], now).index()).collect();
    let longest = turns.chunk_by(|one, other| one == other).map(<[usize]>::len).max().unwrap();
    assert!(longest <= 4, "{turns:?}");
    let first = turns.iter().filter(|index| **index == 0).count();
    assert!((17..=23).contains(&first), "{turns:?}");
}

/// The definition, word for word: everybody's current weight grows by its weight, the greatest is chosen, and falls by the
/// sum of the weights.
struct Smooth {
    weights: Vec<i64>,
    current: Vec<i64>,
}

impl Smooth {
    fn next(&mut self, is_out: &[bool]) -> usize {
        let mut greatest = None;
        let mut total = 0;
        for index in (0..self.weights.len()).filter(|index| !is_out[*index]) {
            self.current[index] += self.weights[index];
            total += self.weights[index];
            if greatest.is_none_or(|other: usize| self.current[index] > self.current[other]) {
                greatest = Some(index);
            }
        }
        self.current[greatest.unwrap()] -= total;
        greatest.unwrap()
    }
}

proptest! {
    #[test]
    fn round_robin_is_fair_whatever_is_down(down in proptest::collection::vec(any::<bool>(), 1..12), rounds in 1usize..20) {
        let (pool, now) = pool(Strategy::RoundRobin, down.len());
        for (index, _) in down.iter().enumerate().filter(|(_, down)| **down) {
            take_down(&pool, index, now);
        }
        let up = down.iter().filter(|down| !**down).count();
        let expected = if up == 0 { down.len() } else { up };
        let counts = spread(&pool, rounds * expected, now);
        assert_eq!(counts.len(), expected);
        assert!(counts.values().all(|count| *count == rounds));
    }

    #[test]
    fn smooth_weighting_spreads_as_its_definition_says(
        weights in proptest::collection::vec(1u32..20, 1..8),
        outages in proptest::collection::vec((0usize..8, any::<bool>()), 0..6),
    ) {
        let (pool, now) = pool_of(Strategy::WeightedRoundRobin, &weighted(&weights));
        let wide: Vec<i64> = weights.iter().map(|weight| i64::from(*weight)).collect();
        let mut smooth = Smooth { current: vec![0; wide.len()], weights: wide };
        let mut is_out = vec![false; weights.len()];
        for (which, goes) in outages {
            let which = which % weights.len();
            is_out[which] = goes;
            if is_out.iter().all(|out| *out) {
                is_out[which] = false;
            }
            if is_out[which] { take_down(&pool, which, now) } else { bring_up(&pool, which, now) }
            for _ in 0..25 {
                assert_eq!(choose(&pool, &[], now).index(), smooth.next(&is_out));
            }
        }
    }

    #[test]
    fn every_round_is_exact_and_nobody_is_a_turn_ahead(weights in proptest::collection::vec(1u32..20, 1..8)) {
        let (pool, now) = pool_of(Strategy::WeightedRoundRobin, &weighted(&weights));
        let round: u32 = weights.iter().sum();
        let mut counts = vec![0_u32; weights.len()];
        for choice in 1..=3 * round {
            counts[choose(&pool, &[], now).index()] += 1;
            for (count, weight) in counts.iter().zip(&weights) {
                // count < choice · weight / round + 1
                assert!(count * round < choice * weight + round, "{counts:?} after {choice} with {weights:?}");
            }
            if choice % round == 0 {
                let exact: Vec<u32> = weights.iter().map(|weight| weight * choice / round).collect();
                assert_eq!(counts, exact);
            }
        }
    }
}
