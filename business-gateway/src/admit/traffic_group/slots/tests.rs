use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::capacity::Size;
use super::super::pool::Shape;
use super::*;

const NO_TIME: Duration = Duration::ZERO;

fn settings(size: u32) -> Settings {
    let groups = vec![("core".into(), 3), ("rest".into(), 1)];
    let shape = Shape { groups, reserve_percent: 0, queue_max: 1_000 };
    Settings::new(Size::Fixed(size), shape, Duration::from_secs(60), clock::now())
}

fn core() -> Arc<str> {
    "core".into()
}

fn soon() -> Instant {
    clock::now() + Duration::from_secs(60)
}

/// Polls a future once.
async fn start<F: Future>(future: &mut std::pin::Pin<Box<F>>) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match future.as_mut().poll(cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[tokio::test]
async fn a_slot_that_is_dropped_goes_to_who_waits_longest() {
    let limit = Limit::new(settings(1), None);
    let (first, waited) = limit.enter(&core(), soon(), NO_TIME, 1, clock::now()).await.unwrap();
    assert_eq!(waited, None);
    let group = core();
    let mut second = Box::pin(limit.enter(&group, soon(), NO_TIME, 1, clock::now()));
    let mut third = Box::pin(limit.enter(&group, soon(), NO_TIME, 1, clock::now()));
    assert!(start(&mut second).await.is_none());
    assert!(start(&mut third).await.is_none());
    assert_eq!(limit.status(1).groups[0].waiting, 2);
    drop(first);
    assert!(start(&mut third).await.is_none());
    let (second, waited) = start(&mut second).await.unwrap().unwrap();
    assert!(waited.is_some());
    drop(second);
    assert!(start(&mut third).await.unwrap().is_ok());
}

#[tokio::test]
async fn who_gives_up_while_waiting_or_in_the_moment_of_his_turn_loses_nobody_a_slot() {
    let limit = Limit::new(settings(1), None);
    let group = core();
    let (first, _) = limit.enter(&group, soon(), NO_TIME, 1, clock::now()).await.unwrap();
    let mut second = Box::pin(limit.enter(&group, soon(), NO_TIME, 1, clock::now()));
    let mut third = Box::pin(limit.enter(&group, soon(), NO_TIME, 1, clock::now()));
    let mut fourth = Box::pin(limit.enter(&group, soon(), NO_TIME, 1, clock::now()));
    assert!(start(&mut second).await.is_none());
    assert!(start(&mut third).await.is_none());
    assert!(start(&mut fourth).await.is_none());
    drop(second);
    assert_eq!(limit.status(1).groups[0].waiting, 2);
    drop(first);
    // The slot is on its way to the third, who is no longer interested.
    drop(third);
    assert!(start(&mut fourth).await.unwrap().is_ok());
    drop(fourth);
    assert_eq!(limit.status(1).in_flight, 0);
}

#[tokio::test]
async fn a_wait_ends_when_it_no_longer_makes_sense() {
    let limit = Limit::new(settings(1), None);
    let group = core();
    let slot = limit.enter(&group, soon(), NO_TIME, 1, clock::now()).await.unwrap();
    let deadline = clock::now() + Duration::from_millis(20);
    let refused = limit.enter(&group, deadline, NO_TIME, 1, clock::now()).await.unwrap_err();
    assert_eq!(refused, NoSlot::WaitedOut);
    assert_eq!(limit.status(1).groups[0].waiting, 0);
    let past = limit.enter(&group, clock::now(), NO_TIME, 1, clock::now()).await.unwrap_err();
    assert_eq!(past.as_str(), "hopeless");
    drop(slot);
}

#[tokio::test]
async fn slots_taken_before_a_reload_count_after_it() {
    let before = Limit::new(settings(2), None);
    let first = before.enter(&core(), soon(), NO_TIME, 1, clock::now()).await.unwrap();
    let _second = before.enter(&core(), soon(), NO_TIME, 1, clock::now()).await.unwrap();
    let after = Limit::new(settings(1), Some(&before));
    assert_eq!(before.status(1).size, 2, "not before somebody enters by it");
    assert_eq!((after.status(1).size, after.status(1).in_flight), (1, 2));
    let group = core();
    let mut third = Box::pin(after.enter(&group, soon(), NO_TIME, 1, clock::now()));
    assert!(start(&mut third).await.is_none());
    drop(first);
    assert!(start(&mut third).await.is_none(), "there is still one too many");
    let larger = Limit::new(settings(4), Some(&after));
    assert_eq!(larger.status(1).in_flight, 2);
    assert!(start(&mut third).await.unwrap().is_ok(), "woken by the larger size");
    assert_eq!(larger.status(4).size, 1, "shared with three other nodes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_threads_that_come_and_go_the_size_holds_and_no_wake_up_is_lost() {
    const SIZE: usize = 5;
    let limit = Arc::new(Limit::new(settings(5), None));
    let (inside, most, through) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let task = |number: u64| {
        let (limit, inside, most, through) =
            (Arc::clone(&limit), Arc::clone(&inside), Arc::clone(&most), Arc::clone(&through));
        tokio::spawn(async move {
            let mut random = fastrand::Rng::with_seed(number);
            let group: Arc<str> = if random.bool() { "core".into() } else { "rest".into() };
            for _ in 0..200 {
                let entering = limit.enter(&group, soon(), NO_TIME, 1, clock::now());
                let slot = if random.u8(..4) == 0 {
                    // Gives up after a few turns of the others.
                    let mut entering = Box::pin(entering);
                    let mut slot = None;
                    for _ in 0..random.usize(..20) {
                        slot = start(&mut entering).await;
                        if slot.is_some() {
                            break;
                        }
                        tokio::task::yield_now().await;
                    }
                    slot
                } else {
                    Some(entering.await)
                };
                let Some(slot) = slot else { continue };
                let slot = slot.unwrap();
                let now_inside = inside.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(now_inside, Ordering::SeqCst);
                for _ in 0..random.usize(..3) {
                    tokio::task::yield_now().await;
                }
                through.fetch_add(1, Ordering::SeqCst);
                inside.fetch_sub(1, Ordering::SeqCst);
                drop(slot);
            }
        })
    };
    let tasks: Vec<_> = (0..50).map(task).collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(most.load(Ordering::SeqCst) <= SIZE);
    assert!(through.load(Ordering::SeqCst) >= 50 * 100);
    let status = limit.status(1);
    assert_eq!(status.in_flight, 0);
    assert!(status.groups.iter().all(|group| group.waiting == 0 && group.in_flight == 0));
}
