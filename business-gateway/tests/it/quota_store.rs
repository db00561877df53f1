//! Accounts of quotas in a real Redis: its script does what the ledger in memory does.

use std::sync::Arc;

use gatehouse_shared::clock::{Clock, ManualClock, unix_ms};
use gatehouse_store::quota::{Account, Accounts, Answer, Ask};

use crate::support::redis::RedisServer;

const HOUR: u64 = 3_600_000;

fn ask(window: (u64, u64), number: u64) -> Ask {
    let account = Account { limit: "a".into(), subject: "app=ä b,api=x".into(), window: 20_261_122 };
    Ask { account, span: window, holder: 1, number, known: 0, target: 0, used: 0, need: 0, limit: 100, nodes: 1 }
}

#[tokio::test]
async fn the_script_and_the_ledger_answer_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let server = RedisServer::start(dir.path()).await;
    let now = unix_ms();
    let clock = Clock::Manual(ManualClock::starting_at(now));
    let redis = Accounts::in_redis(Arc::new(server.client()), "node-1");
    let memory = Accounts::in_memory("node-1", clock);
    let windows = [(now - HOUR, now + HOUR), (now - 2 * HOUR, now - HOUR), (now + HOUR, now + 2 * HOUR)];
    let mut random = fastrand::Rng::with_seed(11);
    let mut answers = [0; 3];
    for number in 1..2_000 {
        let known = random.u64(0..40);
        let asked = Ask {
            account: Account { window: random.u64(0..20), ..ask(windows[0], 1).account },
            span: windows[if random.u32(0..10) == 0 { random.usize(1..3) } else { 0 }],
            holder: random.u64(1..4),
            // Now and then one that is late.
            number: if random.u32(0..8) == 0 { random.u64(1..number + 1) } else { number },
            known,
            target: random.u64(0..60),
            used: random.u64(0..known + 1),
            need: random.u64(0..4),
            limit: random.u64(1..120),
            nodes: random.u32(1..4),
        };
        let of_redis = redis.round(std::slice::from_ref(&asked), &[]).await.unwrap().answers;
        let of_memory = memory.round(std::slice::from_ref(&asked), &[]).await.unwrap().answers;
        assert_eq!(of_redis, of_memory, "{asked:?}");
        answers[match of_redis[0] {
            Answer::Leased { .. } => 0,
            Answer::Stale => 1,
            Answer::Early => 2,
        }] += 1;
    }
    assert!(answers.iter().all(|count| *count > 20), "{answers:?}");
    for window in 0..20 {
        let account = Account { window, ..ask(windows[0], 1).account };
        let sorted = |statement: Option<gatehouse_store::quota::Statement>| {
            let statement = statement.unwrap_or_default();
            let mut holdings: Vec<(String, u64, u64)> = statement
                .holdings
                .iter()
                .map(|holding| (holding.holder.rsplit_once('.').unwrap().1.to_owned(), holding.leased, holding.used))
                .collect();
            holdings.sort();
            (statement.leased, holdings)
        };
        let of_redis = sorted(redis.statement(&account).await.unwrap());
        assert_eq!(of_redis, sorted(memory.statement(&account).await.unwrap()), "window {window}");
    }
}

#[tokio::test]
async fn an_account_of_the_largest_limit_is_exact_and_expires_a_day_after_its_window() {
    let dir = tempfile::tempdir().unwrap();
    let server = RedisServer::start(dir.path()).await;
    let now = unix_ms();
    let accounts = Accounts::in_redis(Arc::new(server.client()), "node-1");
    let limit = 1_000_000_000_000_000;
    let largest = Ask { target: limit, limit, ..ask((now - HOUR, now + HOUR), 1) };
    let total = limit / 2;
    let heard = accounts.round(std::slice::from_ref(&largest), &[]).await.unwrap();
    assert_eq!(heard.answers, [Answer::Leased { total, free: total, had_lost: false }]);
    assert!(heard.unix_ms.unwrap().abs_diff(now) < 60_000);
    let again = Ask { known: total, used: total, target: total + 1, number: 2, ..largest };
    let heard = accounts.round(std::slice::from_ref(&again), &[]).await.unwrap();
    assert_eq!(heard.answers, [Answer::Leased { total: total + 1, free: total - 1, had_lost: false }]);
    let key = gatehouse_store::Key::quota("a", "app=ä b,api=x", 20_261_122).unwrap();
    let expires: u64 = server.client().one(gatehouse_store::Command::on("PEXPIRETIME", &key)).await.unwrap();
    assert_eq!(expires, now + HOUR + 24 * HOUR);
}
