//! A business node dies under load.

use gatehouse_tests::load::Load;
use gatehouse_tests::site::{Handoff, Site};
use gatehouse_tests::tally::compare;
use gatehouse_tests::until::{SOON, until};

use crate::Passed;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_one_of_two_business_nodes_fails_no_get_and_executes_no_post_twice() -> Passed {
    for handoff in Handoff::BOTH {
        // A node that failed is left out for a second, then for two, then for four: long enough to see, short for a test.
        let cluster = format!(
            "[[cluster]]\nname = \"business\"\nnodes = {{nodes}}\nprotocol = \"{}\"\nejection = {{ time = \"1s\" }}\n",
            handoff.name()
        );
        let plan = Site::plan().business(2).services(2).handoff(handoff).edge(cluster);
        let mut site = plan.alone().start().await?;
        let load = Load::new(site.target(), 24, 600, "/slow?ms=5").post_every(5).start();
        load.answers(300).await?;
        for _ in 0..3 {
            site.business[1].kill()?;
            load.answers(500).await?;
            site.business[1].restart().await?;
            // The node takes part again, or the next kill shows nothing.
            let before = site.business[1].access_log()?.len();
            until("the node to take part again", SOON, async || {
                (site.business[1].access_log().ok()?.len() > before + 20).then_some(())
            })
            .await?;
        }
        let report = load.stop().await;
        let tally = compare(&report, &site.executions().await?);
        assert_eq!(tally.failed_gets, 0, "{handoff:?}: {}", report.failures());
        assert_eq!(report.repeated(), 0, "{handoff:?}: the edge cut clients off instead of trying the other node");
        assert_eq!(tally.duplicated, Vec::<String>::new(), "{handoff:?}");
        assert_eq!(tally.lost, Vec::<String>::new(), "{handoff:?}");
        assert!(tally.answered > 1500, "{tally:?}");
        // Only POSTs that were under way on the node may have failed.
        assert!(tally.failed_others <= 3 * 24, "{handoff:?}: {}", report.failures());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_business_node_drains_under_load_without_a_failed_request() -> Passed {
    use gatehouse_tests::process::Signal;
    for handoff in Handoff::BOTH {
        let mut site = Site::plan().business(2).services(2).handoff(handoff).alone().start().await?;
        let load = Load::new(site.target(), 24, 600, "/slow?ms=20").post_every(5).start();
        load.answers(300).await?;
        for _ in 0..2 {
            site.business[1].process.signal(Signal::TERM)?;
            let status = site.business[1].process.wait_for_exit(SOON).await?;
            assert!(status.success(), "{handoff:?}: the drained node ended with {status}");
            load.answers(200).await?;
            site.business[1].restart().await?;
            load.answers(600).await?;
        }
        let report = load.stop().await;
        let tally = compare(&report, &site.executions().await?);
        assert_eq!(report.failed().count(), 0, "{handoff:?}: {}", report.failures());
        assert_eq!(report.repeated(), 0, "{handoff:?}: the edge cut clients off");
        assert_eq!((tally.lost.len(), tally.duplicated.len()), (0, 0), "{handoff:?}: {tally:?}");
    }
    Ok(())
}

#[tokio::test]
async fn without_any_business_node_the_edge_says_so() -> Passed {
    let mut site = Site::plan().start().await?;
    assert_eq!(site.target().get("/products").await?.status, 200);
    site.business[0].kill()?;
    let answer = site.target().get("/products").await?;
    assert!(matches!(answer.status.as_u16(), 502 | 503), "{}", answer.text());
    assert!(["upstream_connect_failed", "no_healthy_upstream"].contains(&answer.code().as_str()), "{}", answer.text());
    let admin = site.edge()?.admin()?;
    assert!(admin.is_ready().await, "readiness never depends on tier two");
    site.business[0].restart().await?;
    until("the edge to find the node again", SOON, async || {
        site.target().get("/products").await.ok().filter(|answer| answer.status == 200)
    })
    .await?;
    Ok(())
}
