//! The result never depends on how a body was cut into pieces, and no bytes make a reader panic.

use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};

use super::super::{BodyProcessor, BodyReader, Fault, Limits, Outcome};
use super::{Seen, read_within};

const PROCESSORS: [(BodyProcessor, &str, &[&str]); 6] = [
    (BodyProcessor::UrlEncoded, "", &["&", "=", "%", "%41", "%4", "+", "a", "name"]),
    (BodyProcessor::Json, "application/json", JSON),
    (BodyProcessor::Json, "application/x-ndjson", JSON),
    (BodyProcessor::Json, "application/graphql", &["{", "}", "query"]),
    (
        BodyProcessor::Xml,
        "text/xml",
        &[
            "<a>",
            "</a>",
            "<b c='d'/>",
            "&lt;",
            "&#65;",
            "&x;",
            "<!--",
            "-->",
            "<![CDATA[",
            "]]>",
            "<?p ?>",
            "<",
            ">",
            "text",
            " ",
        ],
    ),
    (BodyProcessor::Multipart, "multipart/form-data; boundary=b-c", MULTIPART),
];

const JSON: &[&str] = &[
    "{", "}", "[", "]", ":", ",", "\"", "\"key\":", "\"a\"", "\\u0041", "\\ud83d", "\\ude00", "\\", "\\n", "1",
    "-2.5e-3", "true", "nul", " ", "\n", "\u{1e}", "\u{feff}", "\u{1}", "\u{e9}",
];

const MULTIPART: &[&str] = &[
    "--b-c",
    "--b-c--",
    "--b-c\r\n",
    "\r\n--b-c\r\n",
    "\r\n--b-c--\r\n",
    "\r\n",
    "\n",
    "\r",
    "-",
    "--",
    "b-c",
    "--other\r\n",
    "text",
    "Content-",
    "Content-Disposition: form-data; name=\"a\"\r\n",
    "Content-Disposition: form-data; name=f; filename=x\r\n",
    "Content-Disposition: form-data; name=\"a\"\r\n\r\nvalue\r\n--b-c\r\n",
    " folded\r\n",
    "Content-Type: text/plain\r\n",
    " ",
];

/// Small enough for generated bodies to reach them.
const LIMITS: Limits = Limits {
    arguments: 12,
    depth: 5,
    parts: 4,
    part_header_bytes: 120,
    name_bytes: 40,
    body_bytes: 300,
    separator: b'&',
};

fn bodies() -> impl Strategy<Value = (usize, Vec<u8>)> {
    (0..PROCESSORS.len()).prop_flat_map(|index| {
        let word = prop_oneof![
            20 => prop::sample::select(PROCESSORS[index].2).prop_map(|word| word.as_bytes().to_vec()),
            1 => any::<u8>().prop_map(|byte| vec![byte]),
        ];
        (Just(index), prop::collection::vec(word, 0..40).prop_map(|words| words.concat()))
    })
}

fn read_pieces(
    limits: &Limits,
    processor: BodyProcessor,
    content_type: &str,
    body: &[u8],
    cuts: &[usize],
) -> (Seen, Outcome) {
    let mut seen = Seen::default();
    let mut reader = BodyReader::new(processor, content_type.as_bytes(), limits);
    let mut rest = body;
    for cut in cuts.iter().cycle().take(body.len() * 2) {
        let (piece, behind) = rest.split_at(rest.len().min(*cut));
        reader.feed(piece, &mut seen);
        rest = behind;
    }
    reader.feed(rest, &mut seen);
    let outcome = reader.finish(&mut seen);
    (seen, outcome)
}

#[test]
fn a_fault_behind_the_end_of_reading_counts_for_nothing() {
    let (processor, content_type, _) = PROCESSORS[5];
    for (length, is_seen) in [(200, true), (400, false)] {
        for (behind, fault) in
            [("\n--b-c\r\n", Fault::LfLine), ("\r\n--other\r\nContent-Type: a\r\n", Fault::UnmatchedBoundary)]
        {
            let content = "x".repeat(length);
            let body = format!("--b-c\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n{content}{behind}");
            let whole = read_within(&LIMITS, processor, content_type, body.as_bytes());
            assert_eq!(whole.1.faults.contains(fault), is_seen, "{fault:?} behind {length} bytes");
            assert_eq!(whole, read_pieces(&LIMITS, processor, content_type, body.as_bytes(), &[1]));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn pieces_change_nothing((index, body) in bodies(), cuts in prop::collection::vec(0_usize..12, 1..6)) {
        let (processor, content_type, _) = PROCESSORS[index];
        for limits in [LIMITS, Limits::default()] {
            let whole = read_within(&limits, processor, content_type, &body);
            let bytes = read_pieces(&limits, processor, content_type, &body, &[1]);
            prop_assert_eq!(&whole, &bytes);
            prop_assert_eq!(&whole, &read_pieces(&limits, processor, content_type, &body, &cuts));
        }
    }

    #[test]
    fn what_serde_json_accepts_is_well_formed(words in prop::collection::vec(prop::sample::select(JSON), 0..12)) {
        let body = words.concat();
        let (_, outcome) = super::read(BodyProcessor::Json, "", body.as_bytes());
        let accepted = serde_json::from_str::<serde_json::Value>(&body).is_ok();
        prop_assert_eq!(accepted, outcome.malformed.is_none() && !body.is_empty(), "{:?}", outcome);
    }
}
