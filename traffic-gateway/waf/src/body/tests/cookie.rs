//! Cookies.

use super::super::{Limits, Malformed, cookies};
use super::pairs;

fn split(header: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let outcome = cookies(header.as_bytes(), &Limits::default(), |name, value| {
        found.push((super::text(name), super::text(value)));
    });
    assert_eq!(outcome.malformed, None);
    found
}

#[test]
fn splits_names_and_values() {
    assert_eq!(split("a=1; b=2;c=3"), pairs(&[("a", "1"), ("b", "2"), ("c", "3")]));
}

#[test]
fn keeps_odd_cookies() {
    let expected = pairs(&[("a", "x=y"), ("lone", ""), ("", "value"), ("q", "in quotes"), ("a", "%41+again")]);
    assert_eq!(split(" a = x=y ;; lone; =value; q=\"in quotes\"; a=%41+again;"), expected);
}

#[test]
fn says_when_there_are_too_many() {
    let header = "a=1;".repeat(1001);
    let mut count = 0;
    let outcome = cookies(header.as_bytes(), &Limits::default(), |_, _| count += 1);
    assert_eq!((count, outcome.malformed), (1000, Some(Malformed::TooManyArguments)));
}
