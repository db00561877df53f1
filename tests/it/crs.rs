//! Messages of the regression suite of the Core Rule Set that a server has to refuse by itself: the edge does.

#[path = "../../traffic-gateway/waf/tests/crs/suite.rs"]
mod suite;
#[path = "../../traffic-gateway/waf/tests/crs/yaml.rs"]
mod yaml;

use std::collections::BTreeSet;

use gatehouse_tests::client::Raw;
use gatehouse_tests::site::Site;

use crate::Passed;

/// Their numbers, a line each.
const REFUSED: &str = include_str!("../../traffic-gateway/waf/tests/crs/refused_by_http.txt");

#[tokio::test]
async fn messages_of_the_suite_that_no_rule_should_see_are_refused() -> Passed {
    let Some(directory) = suite::directory() else { return Ok(()) };
    let site = Site::plan().start().await?;
    let mut listed: BTreeSet<&str> = REFUSED.lines().filter(|line| !line.starts_with('#')).collect();
    for case in suite::read(&directory)?.iter().filter(|case| listed.remove(case.name.as_str())) {
        for stage in &case.stages {
            assert!(stage.expected.status.is_some(), "{}", case.name);
            let mut raw = Raw::open(&site.target()).await?;
            raw.write(&stage.message).await?;
            assert_eq!(raw.final_answer().await?.status, 400, "{}", case.name);
        }
    }
    assert!(listed.is_empty(), "the suite has no {listed:?}");
    Ok(())
}
