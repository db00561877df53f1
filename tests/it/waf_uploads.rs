//! Uploads: files of a form go on while they are looked at, and what is refused never becomes complete behind the edge.

use bytes::Bytes;
use gatehouse_tests::binaries;
use gatehouse_tests::client::{Answer, Body, Target, full, streamed};
use gatehouse_tests::process::peak_resident_bytes;
use gatehouse_tests::recorder::Recorder;
use gatehouse_tests::site::{Handoff, Plan, Site};
use http::{Method, Request};
use ring::digest;

use crate::Passed;

/// Looked for in fields; what looks at files comes from the default rules.
const RULES: &str = r#"
SecRule ARGS|ARGS_NAMES "@contains evil-payload" "id:1,phase:2,deny,status:403"
"#;

/// The files of default rules that look at uploads, and what they need.
const DEFAULT: [&str; 4] = ["00-settings.conf", "10-protocol.conf", "70-uploads.conf", "90-verdict.conf"];

const MEBIBYTE: usize = 1 << 20;

/// The rules, and memory for one body that waits and what comes with one reading: more is refused.
fn plan(more: &str) -> anyhow::Result<Plan> {
    let waf = format!(
        "[[process.listener]]\naddress = \"127.0.0.1:0\"\nh2c = true\n[waf]\nrules = [\"waf/*.conf\"]\n\
         [waf.body]\nmax = \"128KiB\"\nheld_max = \"256KiB\"\n{more}"
    );
    let mut plan = Site::plan().edge(waf).edge_file("waf/20-own.conf", RULES);
    for name in DEFAULT {
        let path = binaries::repository().join("deploy/config/edge/waf").join(name);
        plan = plan.edge_file(&format!("waf/{name}"), std::fs::read_to_string(path)?);
    }
    Ok(plan)
}

fn field(name: &str, value: &str) -> Vec<u8> {
    format!("\r\n--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}").into_bytes()
}

fn file(name: &str, content: &[u8]) -> Vec<u8> {
    let head = format!(
        "\r\n--edge\r\nContent-Disposition: form-data; name=\"picture\"; filename=\"{name}\"\r\nContent-Type: image/png\r\n\r\n"
    );
    [head.as_bytes(), content].concat()
}

fn form(parts: &[Vec<u8>]) -> Bytes {
    [parts.concat(), b"\r\n--edge--\r\n".to_vec()].concat().into()
}

/// What looks like the beginning of a boundary again and again, but is none.
fn content(length: usize) -> Vec<u8> {
    b"\x89PNG\r\n\x1a\n\r\n--edg\0\0\0\r\n-".iter().copied().cycle().take(length).collect()
}

fn upload(target: &Target, body: Body) -> anyhow::Result<Request<Body>> {
    let request = target.request(Method::POST, "/upload")?;
    Ok(request.header("content-type", "multipart/form-data; boundary=edge").body(body)?)
}

/// Sends a body whose length is stated.
async fn send(target: &Target, body: &Bytes) -> anyhow::Result<Answer> {
    target.exchange(upload(target, full(body.clone()))?).await
}

/// Sends a body piece by piece, without a length.
async fn send_in_pieces(target: &Target, body: &Bytes) -> anyhow::Result<Answer> {
    let (sender, streaming) = streamed();
    let exchange = target.exchange(upload(target, streaming)?);
    let feed = async {
        for piece in body.chunks(50_001) {
            // It may be answered before its end.
            if sender.send(Bytes::copy_from_slice(piece)).await.is_err() {
                break;
            }
        }
        drop(sender);
    };
    tokio::join!(exchange, feed).0
}

fn sha256(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn long_uploads_arrive_whole_in_little_memory() -> Passed {
    let large = content(5 * MEBIBYTE);
    let bodies = [
        form(&[file("a.png", &large), field("title", "the file comes first")]),
        form(&[field("title", "the file comes last"), file("a.png", &large)]),
        form(&[file("a.png", &large[..2 * MEBIBYTE]), field("title", "between"), file("b.png", &large[MEBIBYTE..])]),
    ];
    for handoff in Handoff::BOTH {
        let site = plan("")?.handoff(handoff).start().await?;
        let edge = &site.edges[0];
        for target in [site.target(), site.target().http2()] {
            for (number, body) in bodies.iter().enumerate() {
                for answer in [send(&target, body).await?, send_in_pieces(&target, body).await?] {
                    assert_eq!(answer.status, 200, "{handoff:?}, {number}: {}", answer.text());
                    let told = answer.json()?;
                    assert_eq!((&told["length"], &told["sha256"]), (&body.len().into(), &sha256(body).into()));
                }
            }
        }
        edge.admin()?.counted("gatehouse_edge_waf_streamed_total", &[], 12.0..=12.0).await?;
        edge.admin()?.counted("gatehouse_edge_waf_held_bytes", &[], 0.0..=0.0).await?;
        let before = peak_resident_bytes(edge.serving_pid())?;
        let longer = form(&[file("a.png", &content(24 * MEBIBYTE))]);
        assert_eq!(send(&site.target(), &longer).await?.status, 200, "{handoff:?}");
        let grown = peak_resident_bytes(edge.serving_pid())?.saturating_sub(before);
        assert!(grown < 8 << 20, "{handoff:?}: {grown} bytes more for a longer upload");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_refused_after_a_file_went_on_never_becomes_complete() -> Passed {
    let large = content(5 * MEBIBYTE);
    let attack = field("marker-of-part", "an evil-payload");
    let shell = "<?php system($_GET['marker-of-shell']); ?>";
    let mut straddling = content(MEBIBYTE);
    straddling.splice(16_384 * 20 - 11..16_384 * 20 - 11, shell.bytes());
    let bodies = [
        ("a field after a file", form(&[file("a.png", &large), attack.clone()]), 4 * MEBIBYTE),
        ("a field between files", form(&[file("a.png", &large), attack, file("b.png", &large)]), 4 * MEBIBYTE),
        ("the name of a second file", form(&[file("a.png", &large), file("marker-of-part.php", &large)]), 4 * MEBIBYTE),
        ("the name of a file", form(&[file("marker-of-part.php", &large)]), 0),
        ("a web shell at its beginning", form(&[file("a.png", &[shell.as_bytes(), &large].concat())]), 0),
        ("a web shell in the middle of a file", form(&[file("a.png", &straddling)]), 100_000),
    ];
    for handoff in Handoff::BOTH {
        let (site, recorder) = Recorder::between_tiers(plan("")?, handoff).await?;
        for target in [site.target(), site.target().http2()] {
            for (name, body, before) in &bodies {
                recorder.clear();
                for answer in [send(&target, body).await, send_in_pieces(&target, body).await] {
                    let answer = answer.map_err(|error| anyhow::anyhow!("{handoff:?}, {name}: {error:#}"))?;
                    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, "waf_denied"), "{name}");
                }
                assert!(!recorder.has("marker-of-part"), "{handoff:?}, {name}: a byte of the part got through");
                assert!(recorder.bytes() >= *before, "{handoff:?}, {name}: nothing of the file went on");
            }
        }
        let good = form(&[file("a.png", &large), field("title", "good")]);
        assert_eq!(send(&site.target(), &good).await?.status, 200);
        assert_eq!(site.services[0].stats().await?.uploads, 1, "{handoff:?}: the service executed what was refused");
        let line = site.edges[0].security_line("the field", |line| line["rule"] == "1").await?;
        assert_eq!(line["matched_in"], "ARGS:marker-of-part", "{line}");
    }
    Ok(())
}

#[tokio::test]
async fn only_files_may_be_longer_than_what_is_held_back() -> Passed {
    let site = plan("")?.start().await?;
    let (large, text) = (content(MEBIBYTE), "x ".repeat(70_000));
    for target in [site.target(), site.target().http2()] {
        for body in [
            form(&[field("text", &text)]),
            form(&[file("a.png", &large), field("text", &text)]),
            form(&[field("text", &text), file("a.png", &large)]),
            // What some services take for a field is none of the files.
            form(&[file("", &large)]),
        ] {
            assert_eq!(send(&target, &body).await?.code(), "waf_body_too_large");
        }
    }
    assert_eq!(site.services[0].stats().await?.uploads, 0);
    Ok(())
}

#[tokio::test]
async fn a_route_that_looks_at_beginnings_only_still_does() -> Passed {
    let site = plan("beyond = \"inspect_prefix\"\n")?.start().await?;
    let late = form(&[file("a.png", &content(MEBIBYTE)), field("late", "evil-payload")]);
    assert_eq!(send(&site.target(), &late).await?.status, 200);
    let early = form(&[field("early", "evil-payload"), file("a.png", &content(MEBIBYTE))]);
    assert_eq!(send(&site.target(), &early).await?.code(), "waf_denied");
    Ok(())
}

#[tokio::test]
async fn rules_that_only_detect_look_at_all_of_an_upload() -> Passed {
    let site = plan("")?.edge("[waf]\nmode = \"detect\"\n").start().await?;
    let late = form(&[file("a.png", &content(MEBIBYTE)), field("late", "evil-payload")]);
    assert_eq!(send(&site.target(), &late).await?.status, 200);
    let line = site.edges[0].security_line("the field", |line| line["rule"] == "1").await?;
    assert_eq!((&line["mode"], &line["matched_in"]), (&"observe".into(), &"ARGS:late".into()), "{line}");
    Ok(())
}
