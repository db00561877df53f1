use http::{HeaderValue, StatusCode};

use super::*;

fn keep(headers: &[&str]) -> Keep {
    let config = RouteConfig { headers: headers.iter().map(ToString::to_string).collect(), ..RouteConfig::default() };
    Keep::compile(&config, "route[0].cache", &gatehouse_shared::config::Positions::default()).unwrap()
}

fn head(fields: &[(&'static str, &str)]) -> ResponseHeader {
    let mut head = ResponseHeader::build(StatusCode::OK, None).unwrap();
    for (name, value) in fields {
        head.append_header(*name, HeaderValue::from_str(value).unwrap()).unwrap();
    }
    head
}

#[test]
fn an_answer_says_how_long_it_is_fresh_and_never_longer_than_the_route() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
    let keep = Keep { lifetime: Duration::from_secs(60), ..keep(&[]) };
    for (fields, expected) in [
        (&[][..], Some(60)),
        (&[("cache-control", "max-age=5")], Some(5)),
        (&[("cache-control", "max-age=5, s-maxage=7")], Some(7)),
        (&[("cache-control", "public, max-age=600")], Some(60)),
        (&[("cache-control", "public")], Some(60)),
        (&[("cache-control", "max-age=0")], None),
        (&[("cache-control", "no-store, max-age=5")], None),
        (&[("cache-control", "private")], None),
        (&[("cache-control", "private=\"x-a\", max-age=5")], None),
        (&[("cache-control", "no-cache")], None),
        (&[("cache-control", "no-cache=\"set-cookie\"")], None),
        (&[("expires", "Thu, 01 Jan 1970 00:00:00 GMT")], None),
        (&[("expires", "0")], None),
        (&[("cache-control", "max-age=5"), ("expires", "0")], Some(5)),
    ] {
        let found = lifetime(&head(fields), &keep, now);
        assert_eq!(found, expected.map(Duration::from_secs), "{fields:?}");
    }
}

#[test]
fn what_is_for_somebody_or_depends_on_more_is_not_kept() {
    let keep = keep(&["accept-encoding", "accept"]);
    for (fields, expected) in [
        (&[][..], true),
        (&[("vary", "Accept-Encoding")], true),
        (&[("vary", "accept, accept-encoding"), ("vary", "Accept")], true),
        (&[("vary", "accept"), ("vary", "accept-language")], false),
        (&[("vary", "*")], false),
        (&[("set-cookie", "a=b")], false),
        (&[("content-range", "bytes 0-1/2")], false),
        (&[("www-authenticate", "Basic")], false),
    ] {
        assert_eq!(may_be_kept(&head(fields).headers, &keep), expected, "{fields:?}");
    }
}
