//! The harness itself, against the sample service alone: what is trusted by all the other tests.

use gatehouse_tests::client::{Raw, full};
use gatehouse_tests::load::Load;
use gatehouse_tests::sample::bodies;
use gatehouse_tests::site::service::Service;
use gatehouse_tests::tally::compare;
use gatehouse_tests::turn;
use http::Method;

use crate::Passed;

#[tokio::test]
async fn a_load_on_a_good_service_is_answered_and_executed_exactly_once() -> Passed {
    let (_turn, directory) = (turn::shared().await, tempfile::tempdir()?);
    let service = Service::start("good", directory.path()).await?;
    let report = Load::new(service.target(), 8, 2000, "/echo").post_every(4).total(1000).start().finish().await;
    let tally = compare(&report, &service.executions().await?);
    assert_eq!((tally.sent, tally.answered), (1000, 1000), "{}", report.failures());
    assert!(tally.lost.is_empty() && tally.duplicated.is_empty() && tally.repeated_gets == 0, "{tally:?}");
    assert_eq!(report.by_service().get("good"), Some(&1000));
    assert_eq!(service.stats().await?.requests, 1000);
    Ok(())
}

#[tokio::test]
async fn a_load_on_a_bad_service_is_reported_as_failed() -> Passed {
    let (_turn, directory) = (turn::shared().await, tempfile::tempdir()?);
    let service = Service::start("bad", directory.path()).await?;
    for (path, had_begun) in
        [("/faulty?mode=reset", Some(false)), ("/faulty?mode=partial", Some(true)), ("/status/500", None)]
    {
        let report = Load::new(service.target(), 2, 100, path).total(4).start().finish().await;
        assert_eq!(report.failed().count(), 4, "{path}: {}", report.failures());
        for sent in report.failed() {
            assert_eq!(sent.outcome.as_ref().err().map(|failure| failure.had_begun), had_begun, "{path}: {sent:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn raw_bytes_come_back_as_parsed_answers() -> Passed {
    let (_turn, directory) = (turn::shared().await, tempfile::tempdir()?);
    let service = Service::start("raw", directory.path()).await?;
    let mut raw = Raw::open(&service.target()).await?;
    let answer = raw.exchange("GET /stream/1000?chunked=1 HTTP/1.1\r\nHost: raw\r\n\r\n").await?;
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    assert_eq!(answer.body, bodies::pattern()[..1000]);
    let answer = raw.exchange("POST /echo HTTP/1.1\r\nHost: raw\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    let answer = tokio::time::timeout(std::time::Duration::from_millis(300), answer).await;
    assert!(answer.is_err(), "a body was owed: {answer:?}");
    Ok(())
}

#[tokio::test]
async fn trailers_come_back_over_http2() -> Passed {
    let (_turn, directory) = (turn::shared().await, tempfile::tempdir()?);
    let service = Service::start("h2", directory.path()).await?;
    let target = service.target().http2();
    let answer = target.exchange(target.request(Method::POST, "/trailers")?.body(full("hello"))?).await?;
    assert_eq!(answer.text(), "hello");
    assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
    Ok(())
}
