//! The blocklist in Redis: changes in one step, followed in order, brought together after forks.

use std::sync::Arc;

use gatehouse_store::block::{Entry, Expected, Followed, Head, Record, RedisBlocks, Written};

use super::*;

/// A record of `192.0.2.NUMBER`.
fn record(number: usize, stamp: u64, reason: Option<&str>) -> Record {
    let reason = reason.map(str::to_owned);
    Record {
        network: format!("192.0.2.{number}").parse().unwrap(),
        entry: reason.is_some().then_some(Entry { until: None, owner: None, ticket: None, reason }),
        by: "operate".to_owned(),
        node: "edge-1".to_owned(),
        stamp,
        revision: 0,
    }
}

async fn blocks() -> anyhow::Result<(tempfile::TempDir, RedisServer, RedisBlocks)> {
    let directory = tempfile::tempdir()?;
    let server = RedisServer::start(directory.path()).await?;
    let redis = Arc::new(connect(&server)?);
    Ok((directory, server, RedisBlocks::new(redis)))
}

/// Adds, follows, replaces, removes, lists and forgets.
pub(super) async fn the_whole_life(redis: Arc<Redis>) -> anyhow::Result<()> {
    let blocks = RedisBlocks::new(redis);
    assert_eq!(blocks.follow(&Head::default()).await?, Followed::Nothing);
    let added = blocks.write(&[(record(1, 5, Some("a")), Expected::Absent)], 0).await?;
    let first = Record { revision: 1, ..record(1, 5, Some("a")) };
    assert_eq!(added, [Written::Stored(first.clone())]);
    // A later change gets a later stamp, whatever the clock of its node says.
    let removed = blocks.write(&[(record(1, 2, None), Expected::Revision(1))], 0).await?;
    let second = Record { revision: 2, ..record(1, 6, None) };
    assert_eq!(removed, [Written::Stored(second.clone())]);
    let Followed::Changes(changes, head) = blocks.follow(&Head::default()).await? else { panic!("no changes") };
    assert_eq!((changes, head.revision), (vec![first, second.clone()], 2));
    assert_eq!(blocks.follow(&head).await?, Followed::Nothing);
    assert_eq!(blocks.all().await?, (vec![second.clone()], head));
    let history = blocks.history(10).await?;
    assert_eq!((history.len(), history[0].before.is_some(), &history[0].after), (2, true, &second));
    assert_eq!(blocks.forget(&[record(1, 6, None)]).await?, 0, "it has changed since");
    assert_eq!(blocks.forget(std::slice::from_ref(&second)).await?, 1);
    assert!(blocks.all().await?.0.is_empty());
    Ok(())
}

#[tokio::test]
async fn changes_are_made_followed_and_forgotten() -> Passed {
    let directory = tempfile::tempdir()?;
    let server = RedisServer::start(directory.path()).await?;
    Ok(the_whole_life(Arc::new(connect(&server)?)).await?)
}

#[tokio::test]
async fn where_one_change_meets_something_else_none_is_made() -> Passed {
    let (_directory, _server, blocks) = blocks().await?;
    drop(blocks.write(&[(record(1, 1, Some("a")), Expected::Absent)], 0).await?);
    let changes = [(record(2, 2, Some("b")), Expected::Absent), (record(1, 2, Some("b")), Expected::Absent)];
    let written = blocks.write(&changes, 0).await?;
    let known = Record { revision: 1, ..record(1, 1, Some("a")) };
    assert_eq!(written, [Written::NotTried, Written::Unexpected(Some(known.clone()))]);
    assert_eq!(blocks.all().await?.0, [known]);
    let stale = blocks.write(&[(record(1, 3, None), Expected::Revision(7))], 0).await?;
    assert!(matches!(stale[..], [Written::Unexpected(Some(_))]));
    // An entry that is over is as good as none.
    let over = Record {
        entry: Some(Entry { until: Some(50), ..record(3, 1, Some("c")).entry.unwrap() }),
        ..record(3, 1, None)
    };
    drop(blocks.write(&[(over, Expected::Absent)], 10).await?);
    let again = (record(3, 2, Some("d")), Expected::Absent);
    assert!(matches!(blocks.write(std::slice::from_ref(&again), 49).await?[..], [Written::Unexpected(_)]));
    assert!(matches!(blocks.write(&[again], 50).await?[..], [Written::Stored(_)]));
    Ok(())
}

#[tokio::test]
async fn of_two_sides_the_later_change_counts() -> Passed {
    let (_directory, _server, blocks) = blocks().await?;
    let give = async |record: Record| blocks.write(&[(record, Expected::Older)], 0).await;
    assert!(matches!(give(record(1, 5, Some("a"))).await?[..], [Written::Stored(_)]));
    let newer = Record { revision: 1, ..record(1, 5, Some("a")) };
    assert_eq!(give(record(1, 4, None)).await?, [Written::Newer(newer.clone())]);
    assert_eq!(give(record(1, 5, Some("a"))).await?, [Written::Newer(newer)], "the same again changes nothing");
    let later = Record { revision: 2, ..record(1, 6, None) };
    assert_eq!(give(record(1, 6, None)).await?, [Written::Stored(later)]);
    Ok(())
}

#[tokio::test]
async fn a_history_that_has_forked_is_noticed_although_its_numbers_fit() -> Passed {
    let (_directory, server, blocks) = blocks().await?;
    for number in 1..=3 {
        drop(blocks.write(&[(record(number, 1, Some("a")), Expected::Absent)], 0).await?);
    }
    let Followed::Changes(_, head) = blocks.follow(&Head::default()).await? else { panic!("no changes") };
    // A failover that has lost all of it, and others who have gone on since.
    server.command(&["FLUSHALL"]).await?;
    for number in 1..=5 {
        drop(blocks.write(&[(record(10 + number, 2, Some("b")), Expected::Absent)], 0).await?);
    }
    assert_eq!(blocks.follow(&head).await?, Followed::Unknown);
    let (all, head) = blocks.all().await?;
    assert_eq!((all.len(), head.revision), (5, 5));
    assert_eq!(blocks.follow(&head).await?, Followed::Nothing);
    Ok(())
}

#[tokio::test]
async fn a_log_that_is_too_short_is_noticed() -> Passed {
    let (_directory, server, blocks) = blocks().await?;
    let many: Vec<(Record, Expected)> = (0..250).map(|n| (record(n, 1, Some("a")), Expected::Anything)).collect();
    drop(blocks.write(&many[..1], 0).await?);
    let Followed::Changes(_, head) = blocks.follow(&Head::default()).await? else { panic!("no changes") };
    drop(blocks.write(&many, 0).await?);
    assert!(matches!(blocks.follow(&head).await?, Followed::Changes(changes, _) if changes.len() == 250));
    server.command(&["XTRIM", "gh:e:{block}:log", "MAXLEN", "100"]).await?;
    assert_eq!(blocks.follow(&head).await?, Followed::Unknown);
    Ok(())
}
