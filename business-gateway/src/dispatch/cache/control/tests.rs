use super::*;

const NOW: u64 = 784_111_777_000;
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

fn answer(status: u16, list: &[(&'static str, &str)]) -> Response<()> {
    let mut answer = Response::new(());
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in list {
        answer.headers_mut().append(*name, value.parse().unwrap());
    }
    answer
}

fn lives(control: CacheControl) -> Lives {
    let negative = vec![(StatusCode::NOT_FOUND, 5_000), (StatusCode::BAD_GATEWAY, 2_000)];
    Lives { fresh: 60_000, revalidate: 30_000, error: 600_000, negative, control, is_of_a_user: false }
}

/// Seconds for which it is fresh, and after that given while it is asked for and when the service fails.
fn lasts(control: CacheControl, status: u16, list: &[(&'static str, &str)]) -> Result<(u64, u64, u64), Refused> {
    let times = times(&answer(status, list), &lives(control), NOW, NOW)?;
    let seconds = |from: u64, to: u64| to.saturating_sub(from) / 1_000;
    Ok((seconds(NOW, times.fresh), seconds(times.fresh, times.revalidate), seconds(times.fresh, times.error)))
}

#[test]
fn the_service_decides_unless_it_is_overridden() {
    let honour = |list: &[(&'static str, &str)]| lasts(CacheControl::Honour, 200, list).unwrap();
    let cap = |list: &[(&'static str, &str)]| lasts(CacheControl::Cap, 200, list).unwrap();
    let r#override = |list: &[(&'static str, &str)]| lasts(CacheControl::Override, 200, list).unwrap();
    for (said, honoured, capped) in [
        ("", (60, 30, 600), (60, 30, 600)),
        ("max-age=10", (10, 30, 600), (10, 30, 600)),
        ("max-age=100", (100, 30, 600), (60, 30, 600)),
        ("public, max-age=\"7\"", (7, 30, 600), (7, 30, 600)),
        ("max-age=10, s-maxage=20", (20, 0, 0), (20, 0, 0)),
        ("s-maxage=20, stale-if-error=9", (20, 0, 9), (20, 0, 9)),
        ("max-age=10, stale-while-revalidate=99, stale-if-error=1", (10, 99, 1), (10, 30, 1)),
        ("max-age=10, must-revalidate", (10, 0, 0), (10, 0, 0)),
        ("max-age=10, must-revalidate, stale-if-error=9", (10, 0, 0), (10, 0, 0)),
        ("no-cache, max-age=10", (0, 0, 0), (0, 0, 0)),
        ("no-cache=\"set-cookie, max-age=5\", max-age=10", (0, 0, 0), (0, 0, 0)),
        ("max-age=10, max-age=5", (5, 30, 600), (5, 30, 600)),
        ("max-age=soon", (0, 30, 600), (0, 30, 600)),
        ("max-age=99999999999999999999999", (31 * 86_400, 30, 600), (60, 30, 600)),
        ("max-agent=1, MAX-AGE=3", (3, 30, 600), (3, 30, 600)),
    ] {
        assert_eq!(honour(&[("cache-control", said)]), honoured, "{said}");
        assert_eq!(cap(&[("cache-control", said)]), capped, "{said}");
        assert_eq!(r#override(&[("cache-control", said)]), (60, 30, 600), "{said}");
    }
}

#[test]
fn expires_counts_from_the_date_and_age_shortens() {
    let honour = |list: &[(&'static str, &str)]| lasts(CacheControl::Honour, 200, list).unwrap().0;
    assert_eq!(honour(&[("date", DATE), ("expires", "Sun, 06 Nov 1994 08:50:37 GMT")]), 60);
    assert_eq!(honour(&[("date", DATE), ("expires", "0")]), 0);
    assert_eq!(honour(&[("date", DATE), ("expires", DATE), ("cache-control", "max-age=9")]), 9);
    assert_eq!(honour(&[("cache-control", "max-age=10"), ("age", "4")]), 6);
    assert_eq!(honour(&[("cache-control", "max-age=10"), ("age", "40")]), 0);
    assert_eq!(honour(&[("cache-control", "max-age=10"), ("date", "Sun, 06 Nov 1994 08:49:30 GMT")]), 3);
    assert_eq!(
        honour(&[("date", "Sun, 06 Nov 1994 08:40:00 GMT")]),
        60,
        "a wrong clock does not count against our own time"
    );
    assert_eq!(honour(&[("cache-control", "max-age=10"), ("date", "Sun, 06 Nov 1904 08:49:30 GMT")]), 10);
}

#[test]
fn how_long_it_was_asked_for_counts_as_age() {
    let answer = answer(200, &[("cache-control", "max-age=10")]);
    let times = times(&answer, &lives(CacheControl::Honour), NOW - 4_000, NOW).unwrap();
    assert_eq!((times.fresh - NOW, times.age(NOW)), (6_000, 4));
}

#[test]
fn what_may_not_be_shared_is_not_kept_whatever_is_declared() {
    for control in [CacheControl::Honour, CacheControl::Cap, CacheControl::Override] {
        for (list, refused) in [
            (&[("set-cookie", "a=b")][..], Refused::SetCookie),
            (&[("cache-control", "private")], Refused::Private),
            (&[("cache-control", "max-age=9, Private=\"x\"")], Refused::Private),
            (&[("cache-control", "max-age=9"), ("cache-control", "no-store")], Refused::NoStore),
            (&[("content-encoding", "gzip")], Refused::Encoded),
        ] {
            assert_eq!(lasts(control, 200, list), Err(refused), "{list:?}");
        }
        for status in [100, 206, 302, 304, 401, 500] {
            assert_eq!(lasts(control, status, &[("cache-control", "max-age=9")]), Err(Refused::Status), "{status}");
        }
    }
    let of_a_user = Lives { is_of_a_user: true, ..lives(CacheControl::Honour) };
    let private = answer(200, &[("cache-control", "private, max-age=9, s-maxage=99")]);
    assert_eq!(times(&private, &of_a_user, NOW, NOW).unwrap().fresh - NOW, 9_000);
}

#[test]
fn a_quoted_comma_separates_nothing() {
    let tricky = "x=\"a, no-store, \\\", private\", max-age=8";
    assert_eq!(lasts(CacheControl::Honour, 200, &[("cache-control", tricky)]), Ok((8, 30, 600)));
}

#[test]
fn failures_are_kept_where_that_is_declared_and_never_stale() {
    let honour = |status, list: &[(&'static str, &str)]| lasts(CacheControl::Honour, status, list);
    assert_eq!(honour(404, &[]), Ok((5, 0, 0)));
    assert_eq!(honour(404, &[("cache-control", "max-age=1")]), Ok((1, 0, 0)));
    assert_eq!(honour(404, &[("cache-control", "max-age=99")]), Ok((5, 0, 0)));
    assert_eq!(honour(502, &[]), Ok((2, 0, 0)));
    assert_eq!(honour(410, &[]), Err(Refused::Status));
}

#[test]
fn what_was_confirmed_and_may_not_be_kept_any_more_is_over_at_once() {
    let again = |said: &str| {
        let headers = answer(304, &[("cache-control", said)]).into_parts().0.headers;
        let times = times_again(&headers, StatusCode::OK, &lives(CacheControl::Override), NOW, NOW);
        (times.fresh - NOW, times.end() - NOW)
    };
    assert_eq!(again("max-age=10"), (60_000, 660_000));
    assert_eq!((again("no-store"), again("private, max-age=9")), ((0, 0), (0, 0)));
}
