use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::*;

const BEGINS: u64 = 1_700_000_000_000;
const ENDS: u64 = BEGINS + 60_000;

fn ask(number: u64, known: u64, target: u64, used: u64) -> Ask {
    let account = Account { limit: "daily".into(), subject: "app=shop".into(), window: 20_231_114 };
    Ask { account, span: (BEGINS, ENDS), holder: 1, number, known, target, used, need: 0, limit: 100, nodes: 1 }
}

fn leased(total: u64, free: u64) -> Answer {
    Answer::Leased { total, free, had_lost: false }
}

#[test]
fn at_most_half_of_what_is_left_is_leased_at_once_and_at_least_one() {
    let mut ledger = Ledger::default();
    assert_eq!(ledger.ask("a", &ask(1, 0, 80, 0), BEGINS), leased(50, 50));
    assert_eq!(ledger.ask("b", &Ask { nodes: 2, ..ask(1, 0, 80, 0) }, BEGINS), leased(12, 38));
    assert_eq!(ledger.ask("a", &ask(2, 50, 55, 50), BEGINS), leased(55, 33));
    assert_eq!(ledger.ask("c", &Ask { nodes: 50, ..ask(1, 0, 80, 0) }, BEGINS), leased(1, 32));
    assert_eq!(ledger.ask("c", &Ask { nodes: 50, need: 20, ..ask(2, 1, 80, 1) }, BEGINS), leased(21, 12));
}

#[test]
fn what_was_asked_before_changes_nothing_when_it_arrives_late() {
    let mut ledger = Ledger::default();
    assert_eq!(ledger.ask("a", &ask(2, 0, 40, 0), BEGINS), leased(40, 60));
    assert_eq!(ledger.ask("a", &ask(1, 0, 10, 0), BEGINS), Answer::Stale);
    assert_eq!(ledger.ask("a", &ask(3, 0, 40, 0), BEGINS), leased(40, 60), "an answer that was lost is given again");
}

#[test]
fn a_closed_window_takes_reports_and_gives_nothing() {
    let mut ledger = Ledger::default();
    assert_eq!(ledger.ask("a", &ask(1, 0, 10, 0), BEGINS - 1), Answer::Early);
    assert_eq!(ledger.ask("a", &ask(2, 0, 10, 0), ENDS - 1), leased(10, 90));
    assert_eq!(ledger.ask("a", &ask(3, 10, 20, 8), ENDS), leased(10, 90));
    assert_eq!(ledger.ask("a", &ask(4, 10, 8, 8), ENDS), leased(8, 92));
    assert!(!ledger.is_over(ENDS + ledger::KEPT_AFTER - 1) && ledger.is_over(ENDS + ledger::KEPT_AFTER));
}

#[test]
fn an_account_that_was_lost_believes_its_holders() {
    let mut ledger = Ledger::default();
    let answer = ledger.ask("a", &ask(7, 60, 70, 55), BEGINS);
    assert_eq!(answer, Answer::Leased { total: 70, free: 30, had_lost: true });
    let answer = ledger.ask("b", &ask(9, 50, 60, 20), BEGINS);
    assert_eq!(answer, Answer::Leased { total: 30, free: 0, had_lost: true }, "what nobody has used is taken back");
}

#[test]
fn a_lowered_limit_takes_back_what_is_not_used() {
    let mut ledger = Ledger::default();
    ledger.ask("a", &ask(1, 0, 50, 0), BEGINS);
    assert_eq!(ledger.ask("a", &Ask { limit: 20, ..ask(2, 50, 60, 30) }, BEGINS), leased(30, 0));
    assert_eq!(ledger.ask("a", &Ask { limit: 20, ..ask(3, 30, 40, 30) }, BEGINS), leased(30, 0));
}

#[tokio::test]
async fn accounts_in_memory_say_what_was_used() {
    let manual = gatehouse_shared::clock::ManualClock::starting_at(BEGINS);
    let accounts = Accounts::in_memory("node-1", Clock::Manual(manual));
    let other = accounts.of_another("node-2");
    let heard = accounts.round(&[ask(1, 0, 20, 0)], &[]).await.unwrap();
    assert_eq!(heard, Heard { answers: vec![leased(20, 80)], others: vec![], unix_ms: Some(BEGINS) });
    other.round(&[ask(1, 0, 10, 3)], &[]).await.unwrap();
    let statement = accounts.statement(&ask(1, 0, 0, 0).account).await.unwrap().unwrap();
    assert_eq!((statement.leased, statement.holdings.len()), (30, 2));
    let of_other = statement.holdings.iter().find(|holding| holding.holder.starts_with("node-2.")).unwrap();
    assert_eq!((of_other.leased, of_other.used, of_other.told_unix_ms), (10, 3, BEGINS));
    let unknown = Account { window: 1, ..ask(1, 0, 0, 0).account };
    assert_eq!(accounts.statement(&unknown).await, Ok(None));
}

proptest! {
    /// Whatever processes ask in whatever order, as long as they say what they know: no more is leased than the limit, and
    /// the total is the sum.
    #[test]
    fn never_more_is_leased_than_the_limit(
        limit in 1_u64..200,
        steps in proptest::collection::vec((0_usize..4, any::<u8>(), any::<u8>(), 1_u32..5, any::<bool>()), 1..200),
    ) {
        let mut ledger = Ledger::default();
        let mut holders = [(0_u64, 0_u64); 4];
        for (number, (holder, target, used, nodes, is_lost)) in (1..).zip(steps) {
            let (known, used_before) = holders[holder];
            let used = (used_before + u64::from(used) % 8).min(known);
            let target = u64::from(target).max(used);
            // What is given back is gone before it is told.
            let known = if target < known { target } else { known };
            let name = ["a", "b", "c", "d"][holder];
            let ask = Ask { known, target, used, limit, nodes, ..ask(number, 0, 0, 0) };
            let Answer::Leased { total, free, had_lost } = ledger.ask(name, &ask, BEGINS) else { panic!("stale") };
            prop_assert!(!had_lost);
            prop_assert!(total >= used);
            prop_assert_eq!(ledger.leased() + free, limit);
            prop_assert_eq!(ledger.statement().holdings.iter().map(|holding| holding.leased).sum::<u64>(), ledger.leased());
            holders[holder] = (if is_lost { known } else { total }, used);
        }
    }
}
