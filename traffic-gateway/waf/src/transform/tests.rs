use std::path::PathBuf;

use proptest::prelude::*;

use super::{Changed, Transformation};
use crate::cpu_time::assert_linear;

fn vectors() -> Option<PathBuf> {
    let root = std::env::var_os("GATEHOUSE_TEST_DATA")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")), PathBuf::from);
    let folder = root.join("waf-vectors/transformations");
    if !folder.is_dir() {
        eprintln!("SKIPPED: no vectors in {}; set GATEHOUSE_TEST_DATA", folder.display());
        return None;
    }
    Some(folder)
}

/// The bytes a text of the vectors stands for: `\xHH` is a byte, `\uHHHH` the low byte of its number, a digit that is
/// none ends the number (`\xag` is 10). Everything else is UTF-8 as it stands.
pub(crate) fn vector_bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let width = match rest {
            [b'\\', b'x', a, b, ..] if [a, b].iter().all(|byte| byte.is_ascii_alphanumeric()) => 2,
            [b'\\', b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(|byte| byte.is_ascii_alphanumeric()) => 4,
            _ => {
                bytes.push(*first);
                rest = after;
                continue;
            }
        };
        let digits = &rest[2..2 + width];
        let end = digits.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(width);
        let code = u32::from_str_radix(std::str::from_utf8(&digits[..end]).unwrap(), 16).unwrap_or(0);
        bytes.push(u8::try_from(code & 0xff).unwrap());
        rest = &rest[2 + width..];
    }
    bytes
}

fn apply(name: &str, value: &[u8]) -> Vec<u8> {
    let transformation = Transformation::find(name).unwrap_or_else(|| panic!("{name} is unknown"));
    let mut out = b"left over".to_vec();
    match transformation.apply(value, &mut out) {
        Changed::Yes => out,
        Changed::No => {
            assert!(out.is_empty(), "{name} wrote {out:?} without saying so");
            value.to_vec()
        }
    }
}

#[test]
fn equals_every_published_vector() {
    let Some(folder) = vectors() else { return };
    let mut files = 0;
    let mut cases = 0;
    let mut differing = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let list: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        files += 1;
        for case in list {
            let input = vector_bytes(case["input"].as_str().unwrap());
            let expected = vector_bytes(case["output"].as_str().unwrap());
            // The one kind of vector that speaks of failure: nothing is written, and the value stands.
            let refused = name == "hexDecode" && case["ret"] == 0;
            let expected = if refused { input.clone() } else { expected };
            let actual = apply(&name, &input);
            if actual != expected {
                differing.push(format!("{name} of {:?}: {:?}, not {:?}", show(&input), show(&actual), show(&expected)));
            }
            cases += 1;
        }
    }
    assert!(differing.is_empty(), "{} differ:\n{}", differing.len(), differing.join("\n"));
    assert_eq!((files, cases), (35, 358));
}

fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

#[test]
fn finds_names_in_any_case_and_both_spellings() {
    assert_eq!(Transformation::ALL.len(), 35);
    for known in Transformation::ALL {
        assert_eq!(Transformation::find(known.name()), Some(*known));
        assert_eq!(Transformation::find(&known.name().to_uppercase()), Some(*known));
    }
    assert_eq!(Transformation::find("normalisepath"), Some(Transformation::NormalizePath));
    assert_eq!(Transformation::find("NormalisePathWin"), Some(Transformation::NormalizePathWin));
    assert_eq!(Transformation::find("none"), None);
    assert_eq!(Transformation::find("lower case"), None);
}

#[test]
fn does_beyond_the_vectors_what_its_description_says() {
    let cases: [(&str, &[u8], &[u8]); 62] = [
        ("base64Decode", b"VGVz\r\ndA==", b"Test"),
        ("base64Decode", b"VGVzdA", b"Test"),
        ("base64Decode", b"VGVz.dA==", b"Tes"),
        ("base64Decode", b"V", b""),
        ("base64DecodeExt", b" V-G=V z.dA", b"Test"),
        ("base64Encode", b"\xff\xfe\xfd", b"//79"),
        ("cmdLine", b"a ;, (b /c", b"a(b/c"),
        ("cmdLine", b"c\\a't", b"cat"),
        ("compressWhitespace", b"a\tb", b"a b"),
        ("compressWhitespace", b"a\xa0 b", b"a b"),
        ("cssDecode", b"ja\\76 ascript", b"javascript"),
        ("cssDecode", b"a\\\r\nb", b"ab"),
        ("cssDecode", b"\\41\r\nb", b"Ab"),
        ("cssDecode", b"\\d800x", b"\xef\xbf\xbdx"),
        ("cssDecode", b"\\0", b"\0"),
        ("escapeSeqDecode", b"\\x4", b"x4"),
        ("escapeSeqDecode", b"\\X41", b"A"),
        ("escapeSeqDecode", b"a\\", b"a\\"),
        ("hexDecode", b"4x", b"4x"),
        ("htmlEntityDecode", b"&lt;&#97;&#x62;", b"<ab"),
        ("htmlEntityDecode", b"&LT&#97&#X62 &quot;&amp;&nbsp", b"<ab \"&\xa0"),
        ("htmlEntityDecode", b"&#0000000000000000000000060;", b"<"),
        ("htmlEntityDecode", b"&#;&#x;&#xg;&;&", b"&#;&#x;&#xg;&;&"),
        ("htmlEntityDecode", b"&lta;&euro;&nbsp2", b"&lta;&euro;&nbsp2"),
        ("htmlEntityDecode", b"&#8217;", "\u{2019}".as_bytes()),
        ("htmlEntityDecode", b"&#99999999999999999999;", "\u{fffd}".as_bytes()),
        ("htmlEntityDecode", b"&amp;lt;", b"&lt;"),
        ("jsDecode", b"\\x3c\\u003e\\uff07", b"<>'"),
        ("jsDecode", b"\\377\\400", b"\xff\x200"),
        ("jsDecode", b"\\x4g\\u004", b"x4gu004"),
        ("normalizePath", b"/", b"/"),
        ("normalizePath", b"//", b"/"),
        ("normalizePath", b"/..", b"/"),
        ("normalizePath", b"/a/..", b"/"),
        ("normalizePath", b"/a/../", b"/"),
        ("normalizePath", b"a/../", b""),
        ("normalizePath", b"a/..//b", b"b"),
        ("normalizePath", b"../../a/../b", b"../../b"),
        ("normalizePath", b"/a...b/.c/..d/e..", b"/a...b/.c/..d/e.."),
        ("normalizePath", b"a\\..\\b", b"a\\..\\b"),
        ("normalizePathWin", b"a\\../b", b"b"),
        ("parityEven7bit", b"\xe1\x61", b"\xe1\xe1"),
        ("parityZero7bit", b"\xe1", b"a"),
        ("removeComments", b"a-- b", b"a"),
        ("removeComments", b"a# b", b"a"),
        ("removeComments", b"a<!-- b -->c/* d -->e", b"ace"),
        ("removeComments", b"a/**//**/b-c/d<e", b"ab-c/d<e"),
        ("removeComments", b"a/*/b", b"a "),
        ("removeCommentsChar", b"<!--a-->b--c#d", b"abcd"),
        ("replaceComments", b"a/*/b*/c", b"a c"),
        ("sqlHexDecode", b"x=0x61626 or 0X41", b"x=ab6 or A"),
        ("sqlHexDecode", b"0x 0xg 0x1 00x4142", b"0x 0xg 0x1 0AB"),
        ("trim", b"\x0b a \xa0", b"a \xa0"),
        ("urlDecode", b"%u0041%3C", b"%u0041<"),
        ("urlDecode", b"%2541", b"%41"),
        ("urlDecodeUni", b"%U0027%u2019%ua", b"''%ua"),
        ("utf8toUnicode", "é".as_bytes(), b"%u00e9"),
        ("utf8toUnicode", "\u{1f600}\u{10ffff}".as_bytes(), b"%u1f600%u10ffff"),
        ("utf8toUnicode", b"\xc0\xbc", b"%u003c"),
        ("utf8toUnicode", b"a\xe9b\xff\xc3", b"a\xe9b\xff\xc3"),
        ("lowercase", "ÄB".as_bytes(), "Äb".as_bytes()),
        ("uppercase", b"a1", b"A1"),
    ];
    for (name, value, expected) in cases {
        assert_eq!(show(&apply(name, value)), show(expected), "{name} of {}", show(value));
    }
}

#[test]
fn knows_the_digests() {
    assert_eq!(apply("hexEncode", &apply("md5", b"")), b"d41d8cd98f00b204e9800998ecf8427e");
    assert_eq!(apply("hexEncode", &apply("sha1", b"abc")), b"a9993e364706816aba3e25717850c26c9cd0d89d");
}

#[test]
fn allocates_nothing_for_a_value_that_stands() {
    let always = ["base64Decode", "base64DecodeExt", "base64Encode", "hexEncode", "length", "md5", "sha1"];
    // White space and quotes are what these take away, so their clean value is plainer.
    let plain = b"name=value.of-an/ordinary&request%zz;100%";
    let plainer = b"ordinary";
    for known in Transformation::ALL {
        if always.contains(&known.name()) {
            continue;
        }
        let clean: &[u8] = match known.name() {
            "cmdLine" | "parityEven7bit" | "parityOdd7bit" | "uppercase" | "urlEncode" => plainer,
            _ => plain,
        };
        let clean = match known.name() {
            "uppercase" => b"ORDINARY".as_slice(),
            "parityEven7bit" => b"cefij".as_slice(),
            "parityOdd7bit" => b"abdgh".as_slice(),
            _ => clean,
        };
        let mut out = Vec::new();
        assert_eq!(known.apply(clean, &mut out), Changed::No, "{}", known.name());
        assert_eq!(out.capacity(), 0, "{}", known.name());
    }
}

/// What each decoder is made to work hardest by, repeated.
const HARD: [&[u8]; 22] = [
    b"%", b"%%3", b"%u", b"%u00", b"&", b"&#", b"&#x", b"&#0", b"&#x0", b"&lt", b"\\", b"\\u", b"\\x", b"\\0", b"/*",
    b"<!--", b"/**", b"../", b"a/../", b"0x", b"\xc3", b"-",
];

#[test]
fn takes_time_in_proportion_to_the_length() {
    for known in Transformation::ALL {
        for seed in HARD {
            let value = seed.repeat(1 << 17 >> seed.len().ilog2());
            let mut out = Vec::new();
            assert_linear(&format!("{} of {}", known.name(), show(seed)), 1 << 14, |size| {
                let _: Changed = known.apply(&value[..size], &mut out);
            });
        }
    }
}

/// Values made of what the decoders look for, so that random ones reach their corners.
fn tricky() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        proptest::sample::select(HARD.to_vec()).prop_map(<[u8]>::to_vec),
        "[0-9a-fA-Fgx]{1,7}".prop_map(String::into_bytes),
        "[./\\\\ \t\r\n,;^\"'#*>-]{1,4}".prop_map(String::into_bytes),
        any::<char>().prop_map(|char| char.to_string().into_bytes()),
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// 500 cases, or as many as `PROPTEST_CASES` says.
fn cases() -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 500;
    }
    config
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn never_panics_and_stays_within_three_times_the_length(value in tricky()) {
        let mut out = Vec::new();
        for known in Transformation::ALL {
            let changed = known.apply(&value, &mut out);
            prop_assert!(out.len() <= 3 * value.len() + 20, "{} wrote {} bytes", known.name(), out.len());
            prop_assert!(changed == Changed::Yes || out.is_empty(), "{} wrote without saying so", known.name());
        }
    }

    #[test]
    fn applied_twice_does_what_once_does(value in tricky()) {
        let names = [
            "cmdLine", "compressWhitespace", "lowercase", "normalizePath", "normalizePathWin", "parityEven7bit",
            "parityOdd7bit", "parityZero7bit", "removeNulls", "removeWhitespace", "replaceComments", "replaceNulls", "trim",
            "trimLeft", "trimRight", "uppercase", "utf8toUnicode",
        ];
        for name in names {
            let once = apply(name, &value);
            prop_assert_eq!(show(&apply(name, &once)), show(&once), "{}", name);
        }
    }

    #[test]
    fn decodes_what_it_encoded(value in proptest::collection::vec(any::<u8>(), 0..64)) {
        prop_assert_eq!(&apply("base64Decode", &apply("base64Encode", &value)), &value);
        prop_assert_eq!(&apply("base64DecodeExt", &apply("base64Encode", &value)), &value);
        prop_assert_eq!(&apply("hexDecode", &apply("hexEncode", &value)), &value);
        prop_assert_eq!(&apply("urlDecode", &apply("urlEncode", &value)), &value);
    }

    #[test]
    fn trims_to_the_same_from_either_side(value in tricky()) {
        prop_assert_eq!(apply("trimLeft", &apply("trimRight", &value)), apply("trim", &value));
    }
}
