//! Answers that are kept, of an API whose calls a split divides.

use super::node;
use crate::cache::{Origin, send};
use crate::support::client::{Edge, Protocol};

/// An API whose calls are divided by the header `x-uid`.
fn catalog(old: &Origin, new: &Origin, cache: &str) -> String {
    format!(
        "[[service]]\nname = \"old\"\nendpoints = [\"{}\"]\n[[service]]\nname = \"new\"\nendpoints = [\"{}\"]\n\
         [[api]]\nname = \"orders\"\naccess = \"open\"\nservice = \"old\"\npath = \"/{{*rest}}\"\nsplit = \"canary\"\n\
         cache = {{ lifetime = \"1h\", scope = \"shared\", {cache} }}\n\
         [[split]]\nname = \"canary\"\nkey = \"header:x-uid\"\nanswer_header = \"x-branch\"\n\
         branches = [{{ name = \"canary\", service = \"new\" }}]\nlevels = [{{ uids = [\"boss\", \"chief\"], branch = \"canary\" }}]\n",
        old.address, new.address
    )
}

async fn pair() -> (Origin, Origin) {
    let (old, new) = (Origin::start(&[]).await, Origin::start(&[]).await);
    old.say(|script| script.body = Some("old".into()));
    new.say(|script| script.body = Some("new".into()));
    (old, new)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_branch_has_its_own_answers_where_the_key_holds_what_the_split_goes_by() {
    let (old, new) = pair().await;
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), &catalog(&old, &new, "key = { headers = [\"x-uid\"] }"), "\"*\"").await;
    let mut edge = Edge::connect(node.address, Protocol::Http1).await;
    for _ in 0..3 {
        for (uid, expected) in [("boss", ("new", "canary")), ("ann", ("old", "default")), ("chief", ("new", "canary"))]
        {
            let answer = send(&mut edge, "GET", "/orders", &[("x-uid", uid)]).await;
            assert_eq!((answer.text().as_str(), answer.header("x-branch")), expected, "{uid}");
        }
        assert_eq!(send(&mut edge, "GET", "/orders", &[]).await.text(), "old");
    }
    assert_eq!((old.count(), new.count()), (2, 2), "once for each key");
    let asked = |branch: &str| {
        node.metric(&format!("gatehouse_business_split_requests_total{{branch=\"{branch}\",split=\"canary\"}}"))
    };
    assert_eq!((asked("canary"), asked("default")), (Some(2), Some(2)), "what is kept counts for no branch");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_split_does_not_see_what_the_key_does_not_hold() {
    let (old, new) = pair().await;
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), &catalog(&old, &new, ""), "\"*\"").await;
    let mut edge = Edge::connect(node.address, Protocol::Http1).await;
    for uid in ["boss", "ann", "chief"] {
        let answer = send(&mut edge, "GET", "/orders", &[("x-uid", uid)]).await;
        assert_eq!((answer.text().as_str(), answer.header("x-branch")), ("old", "default"), "{uid}");
    }
    assert_eq!((old.count(), new.count()), (1, 0), "nobody can put the answer of a branch before those of the other");
}
