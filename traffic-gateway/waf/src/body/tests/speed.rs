//! How fast ordinary bodies are read: `cargo test --release -p gatehouse-waf body::tests::speed -- --ignored --nocapture`.

use super::super::{BodyProcessor, Limits};
use super::linear::read;
use crate::cpu_time::least_cost;

const WIDE: Limits = Limits {
    arguments: u32::MAX,
    depth: 64,
    parts: 1000,
    part_header_bytes: 8192,
    name_bytes: 1024,
    body_bytes: u64::MAX,
    separator: b'&',
};

fn report(name: &str, processor: BodyProcessor, content_type: &str, body: &[u8]) {
    let rounds = 200;
    for piece in [body.len(), 4096] {
        let best = least_cost(20, || {
            for _ in 0..rounds {
                std::hint::black_box(read(&WIDE, processor, content_type, body, piece));
            }
        });
        let nanoseconds = best.as_secs_f64() * 1e9 / f64::from(rounds);
        let kibibytes = body.len() as f64 / 1024.0;
        eprintln!(
            "{name}, {kibibytes:.1} KiB in pieces of {piece}: {:.0} ns/KiB, {:.0} MB/s",
            nanoseconds / kibibytes,
            body.len() as f64 / nanoseconds * 1000.0
        );
    }
}

#[test]
#[ignore = "a measurement; run it in a release build"]
fn says_how_fast_ordinary_bodies_are_read() {
    let record = r#"{"id":48213,"name":"Ana Lima","email":"ana.lima@example.org","active":true,"tags":["new","b2b"],
        "address":{"street":"Rua do Sol 14","city":"Porto","zip":"4050-123"},"note":"Called twice, prefers e-mail; next visit in \"May\".","balance":-12.50}"#;
    let json = format!("[{}]", vec![record; 40].join(",\n"));
    report("JSON records", BodyProcessor::Json, "application/json", json.as_bytes());
    let parsed = least_cost(20, || {
        for _ in 0..200 {
            std::hint::black_box(serde_json::from_slice::<serde_json::Value>(json.as_bytes()).unwrap());
        }
    });
    let into_nothing = least_cost(20, || {
        for _ in 0..200 {
            std::hint::black_box(serde_json::from_slice::<serde::de::IgnoredAny>(json.as_bytes()).unwrap());
        }
    });
    for (name, taken) in [("serde_json::Value", parsed), ("serde_json without values", into_nothing)] {
        eprintln!("{name}: {:.0} MB/s", json.len() as f64 * 200.0 / taken.as_secs_f64() / 1e6);
    }
    let text = "All work and no play makes for dull bodies. ".repeat(20);
    report(
        "JSON texts",
        BodyProcessor::Json,
        "",
        format!("{{\"a\":[{}\"\"]}}", format!("\"{text}\",").repeat(12)).as_bytes(),
    );
    report("JSON numbers", BodyProcessor::Json, "", format!("[{}0]", "12.5,".repeat(2000)).as_bytes());

    let form = "first_name=Ana&last_name=Lima&city=Porto&comment=Please+ring+twice%2C+then+wait.&agree=on&csrf=8f14e45fceea167a5a36&";
    report("form", BodyProcessor::UrlEncoded, "", form.repeat(80).as_bytes());
    let plain = "first_name=Ana&last_name=Lima&city=Porto&csrf=8f14e45fceea167a5a36dedd4bea2543&agree=on&";
    report("form without escapes", BodyProcessor::UrlEncoded, "", plain.repeat(100).as_bytes());

    let part = format!("--xyz\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\n{text}\r\n");
    let form = part.repeat(10) + "--xyz--\r\n";
    report("multipart fields", BodyProcessor::Multipart, "multipart/form-data; boundary=xyz", form.as_bytes());
    let file = "--xyz\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.bin\"\r\n\r\n";
    let binary: Vec<u8> =
        (0..256 * 1024_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0]).collect();
    let upload = [file.as_bytes(), binary.as_slice(), b"\r\n--xyz--\r\n".as_slice()].concat();
    report("multipart file", BodyProcessor::Multipart, "multipart/form-data; boundary=xyz", &upload);

    let element = r#"<item id="48213" lang="en"><name>Ana Lima</name><note>Called twice &amp; prefers e-mail</note><qty>3</qty></item>"#;
    let xml = format!("<?xml version=\"1.0\"?><order xmlns=\"urn:x\">{}</order>", element.repeat(80));
    report("XML", BodyProcessor::Xml, "text/xml", xml.as_bytes());
}
