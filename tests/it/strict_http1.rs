//! The table of HTTP/1.1 messages in `golden/http1`: each gets its stated answer, and what is refused stays outside.

use std::path::Path;

use gatehouse_tests::client::Raw;
use gatehouse_tests::client::raw::{End, RawAnswer};
use gatehouse_tests::golden::{Message, Step};
use gatehouse_tests::recorder::Recorder;
use gatehouse_tests::site::{Handoff, Site};
use gatehouse_tests::until::{SOON, until};

use crate::Passed;

fn messages(kind: &str) -> anyhow::Result<Vec<Message>> {
    Message::read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/http1").join(kind))
}

/// Sends a message as it says and reads the answer.
async fn exchange(raw: &mut Raw, message: &Message, site: &Site) -> anyhow::Result<RawAnswer> {
    let before = site.services[0].stats().await?.requests;
    for step in &message.steps {
        match step {
            // The edge may refuse it before its end.
            Step::Send(bytes) => drop(raw.write(bytes).await),
            Step::End => raw.finish().await?,
            Step::WaitUntilHandedOn => {
                until("the request to be handed on", SOON, async || {
                    site.services[0].stats().await.ok().filter(|stats| stats.requests > before)
                })
                .await?;
            }
        }
    }
    let is_head = matches!(message.steps.first(), Some(Step::Send(bytes)) if bytes.starts_with(b"HEAD "));
    if is_head { raw.head().await } else { raw.final_answer().await }
}

async fn refuses(message: &Message, site: &Site) -> anyhow::Result<()> {
    let mut raw = Raw::open(&site.target()).await?;
    let answer = exchange(&mut raw, message, site).await?;
    let id = &message.id;
    assert_eq!((answer.status, answer.code()), (message.status, message.code.clone()), "{id}: {}", answer.text());
    assert_eq!(answer.header("connection"), Some("close"), "{id}");
    assert_eq!(answer.header("x-request-id").map(str::len), Some(32), "{id}");
    let (rest, end) = raw.rest().await?;
    assert!(rest.is_empty(), "{id}: a second answer {}", String::from_utf8_lossy(&rest));
    assert_eq!(end, End::Closed, "{id}");
    Ok(())
}

async fn accepts(message: &Message, site: &Site) -> anyhow::Result<()> {
    let mut raw = Raw::open(&site.target()).await?;
    let answer = exchange(&mut raw, message, site).await?;
    let id = &message.id;
    assert_eq!(answer.status, message.status, "{id}: {}", answer.text());
    let echo: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if let Some(length) = message.body {
        assert_eq!(echo["body"]["length"], length, "{id}");
    }
    if let Some(target) = &message.sees {
        let seen = format!(
            "{}{}",
            echo["path"].as_str().unwrap_or(""),
            echo["query"].as_str().map(|query| format!("?{query}")).unwrap_or_default()
        );
        assert_eq!(&seen, target, "{id}");
    }
    if message.closes {
        assert_eq!(raw.rest().await?, (Vec::new(), End::Closed), "{id}");
    } else {
        // Nothing is left over, and nothing is missing.
        let next = raw.exchange("GET /products HTTP/1.1\r\nHost: shop.test\r\n\r\n").await?;
        assert_eq!(next.status, 200, "{id}: the next request: {}", next.text());
    }
    Ok(())
}

#[test]
fn the_table_is_complete() -> Passed {
    let (refused, accepted) = (messages("refused")?, messages("accepted")?);
    assert!(refused.len() >= 120 && accepted.len() >= 25, "{} refused, {} accepted", refused.len(), accepted.len());
    for message in refused.iter().chain(&accepted) {
        assert!(message.clause.starts_with("RFC "), "{}: {}", message.id, message.clause);
    }
    assert!(refused.iter().all(|message| !message.is_accepted()) && accepted.iter().all(Message::is_accepted));
    Ok(())
}

#[tokio::test]
async fn malformed_messages_get_their_stated_answer_and_stay_outside() -> Passed {
    let refused = messages("refused")?;
    for handoff in Handoff::BOTH {
        let (site, recorder) = Recorder::between_tiers(Site::plan(), handoff).await?;
        for message in &refused {
            refuses(message, &site).await?;
        }
        // What would still be on its way is there once a later request has been.
        assert_eq!(site.target().get("/products").await?.status, 200);
        let executions = site.executions().await?;
        for message in &refused {
            let id = &message.id;
            assert!(!recorder.has(&message.secret()), "{id}: a body that was refused reached tier two");
            assert!(!executions.contains_key(&format!("{id}-inner")), "{id}: a smuggled request was executed");
            if !message.reaches_with_head {
                assert!(
                    !recorder.has(&format!("x-ledger-id: {id}\r\n")),
                    "{id}: a head that was refused reached tier two"
                );
                assert!(!executions.contains_key(id), "{id}: executed");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn odd_but_valid_messages_pass() -> Passed {
    let accepted = messages("accepted")?;
    for handoff in Handoff::BOTH {
        let (site, _recorder) = Recorder::between_tiers(Site::plan(), handoff).await?;
        for message in &accepted {
            accepts(message, &site).await?;
        }
        let executions = site.executions().await?;
        for message in &accepted {
            assert_eq!(executions.get(&message.id), Some(&1), "{}", message.id);
        }
        assert!(!executions.contains_key("inner"), "a request within a body was executed");
    }
    Ok(())
}
