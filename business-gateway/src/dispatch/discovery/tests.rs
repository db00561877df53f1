use super::*;

fn answer(addresses: &[&str]) -> Answer {
    let endpoints = addresses.iter().map(|text| text.parse::<std::net::SocketAddr>().unwrap().into()).collect();
    Answer::new(endpoints, None, 3)
}

fn addresses(answer: &Answer) -> Vec<String> {
    answer.endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect()
}

#[test]
fn the_same_endpoints_are_the_same_answer_up_to_a_bound() {
    let one = answer(&["10.0.0.2:1", "10.0.0.1:1", "10.0.0.2:1"]);
    assert_eq!(one, answer(&["10.0.0.1:1", "10.0.0.2:1"]));
    let many = answer(&["10.0.0.4:1", "10.0.0.3:1", "10.0.0.2:1", "10.0.0.1:1"]);
    assert_eq!((addresses(&many).len(), many.cut), (3, 1));
}

#[test]
fn endpoints_are_on_other_machines_unless_networks_are_named() {
    let found = [
        "127.0.0.1:1",
        "169.254.169.254:80",
        "0.0.0.0:1",
        "224.0.0.1:1",
        "[::1]:1",
        "[fe80::1]:1",
        "[::ffff:127.0.0.1]:1",
    ];
    for address in found {
        let within = answer(&[address, "10.0.0.1:1"]).within(&Config::default());
        assert_eq!((addresses(&within), within.refused), (vec!["10.0.0.1:1".to_owned()], 1), "{address}");
    }
    let config = Config { networks: Some(vec!["127.0.0.0/8".parse().unwrap()]), ..Config::default() };
    assert_eq!(addresses(&answer(&["127.0.0.1:1", "10.0.0.1:1"]).within(&config)), ["127.0.0.1:1"]);
}

#[test]
fn an_answer_counts_as_long_as_it_says_within_bounds() {
    let seconds = Duration::from_secs;
    let dns = source::Dns {
        name: hickory_resolver::proto::rr::Name::from_ascii("orders.internal").unwrap(),
        port: Some(1),
        family: source::Family::Both,
        interval: (seconds(10), seconds(100)),
        allow_empty: false,
    };
    let source = Source::Dns(dns);
    for (ttl, expected) in [(None, 10), (Some(0), 10), (Some(50), 50), (Some(86_400), 100)] {
        let answer = Answer { ttl: ttl.map(seconds), ..Answer::default() };
        let pause = pause(&source, Some(&answer));
        assert!(pause >= seconds(expected) * 9 / 10 && pause <= seconds(expected) * 11 / 10, "{pause:?}");
    }
    assert!(pause(&source, None) <= seconds(11), "a failure is not waited for long");
}
