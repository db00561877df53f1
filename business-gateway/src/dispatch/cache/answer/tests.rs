use super::*;

/// An answer with this body that is fresh until 1,000.
pub(crate) fn stored(body: &str) -> Stored {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Stored {
        status: StatusCode::OK,
        headers,
        body: Kept::Plain(Bytes::from(body.to_owned())),
        by: Vec::new(),
        tags: Vec::new(),
        times: Times { born: 0, fresh: 1_000, revalidate: 2_000, error: 3_000 },
        asked: 0,
        checked: AtomicU64::new(0),
        hold_off: AtomicU64::new(0),
    }
}

fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
    let pairs = list.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
    let mut headers = HeaderMap::new();
    pairs.for_each(|(name, value): (HeaderName, HeaderValue)| {
        headers.append(name, value);
    });
    headers
}

async fn given(stored: &Stored, request: &HeaderMap, is_head: bool) -> (u16, HeaderMap, Bytes) {
    let answer = stored.give(&Given { request, is_head, auth: Auth::App }, 7_900).unwrap();
    let (parts, body) = answer.into_parts();
    (parts.status.as_u16(), parts.headers, body.collect(1 << 20).await.unwrap())
}

#[tokio::test]
async fn an_answer_is_given_with_its_age_to_whoever_asks() {
    let (status, headers, body) = given(&stored("{}"), &HeaderMap::new(), false).await;
    assert_eq!((status, &*body), (200, &b"{}"[..]));
    assert_eq!((headers["age"].as_bytes(), headers["content-type"].as_bytes()), (&b"7"[..], &b"application/json"[..]));
    assert!(headers[RESULT].to_str().unwrap().contains("auth=app"));
}

#[tokio::test]
async fn a_head_gets_the_length_and_no_body() {
    let (status, headers, body) = given(&stored("{}"), &HeaderMap::new(), true).await;
    assert_eq!((status, body.len(), &headers["content-length"]), (200, 0, &HeaderValue::from(2)));
}

#[tokio::test]
async fn a_client_that_has_it_hears_only_that() {
    let mut with_tag = stored("{}");
    with_tag.headers.extend(headers(&[("etag", "\"a,1\""), ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")]));
    for (name, value, status) in [
        ("if-none-match", "\"a,1\"", 304),
        ("if-none-match", "\"b\", W/\"a,1\"", 304),
        ("if-none-match", "*", 304),
        ("if-none-match", "\"b\"", 200),
        ("if-none-match", "a,1", 200),
        ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT", 304),
        ("if-modified-since", "Mon, 07 Nov 1994 08:49:37 GMT", 304),
        ("if-modified-since", "Sat, 05 Nov 1994 08:49:37 GMT", 200),
        ("if-modified-since", "yesterday", 200),
    ] {
        let (found, answer, body) = given(&with_tag, &headers(&[(name, value)]), false).await;
        assert_eq!(found, status, "{name}: {value}");
        assert_eq!(body.is_empty(), status == 304);
        assert_eq!(answer.contains_key("content-type"), status == 200);
        assert_eq!(answer["etag"], "\"a,1\"");
    }
    let both = headers(&[("if-none-match", "\"b\""), ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")]);
    assert_eq!(given(&with_tag, &both, false).await.0, 200, "the tag counts before the date");
    with_tag.status = StatusCode::NOT_FOUND;
    assert_eq!(given(&with_tag, &headers(&[("if-none-match", "*")]), false).await.0, 404);
    assert_eq!(given(&stored("{}"), &headers(&[("if-none-match", "*")]), false).await.0, 200, "it has no tag");
}

#[test]
fn a_service_is_asked_by_the_tag_or_else_by_the_date() {
    let mut both = stored("");
    both.headers.extend(headers(&[("etag", "\"1\""), ("last-modified", "x")]));
    let mut asked = HeaderMap::new();
    both.ask_whether_it_changed(&mut asked);
    assert_eq!(asked, headers(&[("if-none-match", "\"1\"")]));
    both.headers.remove(header::ETAG);
    let mut asked = HeaderMap::new();
    both.ask_whether_it_changed(&mut asked);
    assert_eq!(asked, headers(&[("if-modified-since", "x")]));
}

#[test]
fn what_is_confirmed_has_the_new_headers_and_times_and_the_old_body() {
    let times = Times { born: 5_000, fresh: 6_000, revalidate: 6_000, error: 6_000 };
    let said =
        headers(&[("cache-control", "max-age=1"), ("content-length", "0"), ("content-type", "x/y"), ("age", "3")]);
    let confirmed = stored("{}").confirmed(&said, times, 5_000, 9);
    assert_eq!(confirmed.headers, headers(&[("content-type", "application/json"), ("cache-control", "max-age=1")]));
    assert_eq!((confirmed.times, confirmed.plain().unwrap()), (times, Bytes::from_static(b"{}")));
    assert_eq!(confirmed.checked.into_inner(), 9);
}

#[test]
fn what_an_answer_is_good_for_depends_on_the_time() {
    let answer = stored("");
    let state = |now| answer.state(now);
    assert_eq!((state(0), state(999), state(1_000)), (State::Fresh, State::Fresh, State::Stale));
    assert_eq!((state(1_999), state(2_000)), (State::Stale, State::Over));
    answer.hold_off_until(2_500);
    assert_eq!((state(1_500), state(2_499), state(2_500)), (State::HeldOff, State::HeldOff, State::Over));
    answer.hold_off_until(9_000);
    assert_eq!(state(3_000), State::Over, "never longer than declared");
}

#[test]
fn variants_are_told_apart_by_the_request_and_bounded() {
    let mut slot = Slot::default();
    let variant = |language: &str| {
        let mut variant = stored(language);
        variant.by = kept_values(vec![header::ACCEPT_LANGUAGE], &headers(&[("accept-language", language)]));
        Arc::new(variant)
    };
    for number in 0..20 {
        slot = slot.with(&variant(&format!("l{number}")));
    }
    slot = slot.with(&variant("l19"));
    assert_eq!(slot.variants.len(), MOST_VARIANTS);
    let find = |list: &[(&'static str, &str)]| slot.find(&headers(list)).map(|found| found.plain().unwrap());
    assert_eq!(find(&[("accept-language", "l19")]).as_deref(), Some(&b"l19"[..]));
    assert_eq!(find(&[("accept-language", "l0")]), None);
    assert_eq!(find(&[]), None);
    assert_eq!(find(&[("accept-language", "l19"), ("accept-language", "l18")]), None);
}

#[test]
fn what_is_kept_is_in_memory_of_its_own() {
    let buffer = Bytes::from(vec![b'x'; 4096]);
    let mut came = HeaderMap::new();
    came.insert("x-name", HeaderValue::from_maybe_shared(buffer.slice(0..4)).unwrap());
    came.insert("age", HeaderValue::from_static("1"));
    let kept = kept_headers(&came);
    assert_eq!(kept, headers(&[("x-name", "xxxx")]));
    drop(came);
    assert!(buffer.is_unique(), "nothing holds on to what was read");
}
