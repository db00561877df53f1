use gatehouse_shared::config::Secret;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use ring::signature::Ed25519KeyPair;

use super::*;
use crate::admit::app::digest::{CONTENT_DIGEST, ContentDigest, content_digest};
use crate::admit::app::proof::{Keys, Prover, Secrets};
use crate::store::apps::AppSecret;

/// RFC 9421, appendix B.2: the request that its examples sign.
const REQUEST: [(&str, &str); 5] = [
    ("host", "example.com"),
    ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
    ("content-type", "application/json"),
    (
        "content-digest",
        "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:",
    ),
    ("content-length", "18"),
];
/// Appendix B.1.5: `test-shared-secret`.
const SECRET: &str = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
/// Appendix B.1.4: the public half of `test-key-ed25519`.
const PUBLIC_KEY: &str = "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=";

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

/// The request of appendix B.2 with these two headers.
fn example(input: &str, signature: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in REQUEST {
        headers.insert(HeaderName::from_static(name), value.parse().unwrap());
    }
    headers.insert(SIGNATURE_INPUT, input.parse().unwrap());
    headers.insert(SIGNATURE, signature.parse().unwrap());
    headers
}

fn base_of(headers: &HeaderMap, method: &str, uri: &str) -> String {
    let both = Headers::of(headers).unwrap();
    let (input, _) = both.parse().unwrap();
    let uri = uri.parse().unwrap();
    let message = Message { method, scheme: Scheme::Https, authority: "example.com", uri: &uri, headers };
    String::from_utf8(input.base(&message).unwrap()).unwrap()
}

/// What is read without the parser of structured fields, if it can be.
fn parse_plain<'a>(both: &'a Headers<'_>) -> Option<(Input<'a>, Proof)> {
    let mut input = Input::default();
    let proof = both.read_plain(&mut input)?;
    Some((input, proof))
}

/// Components and parameters as RFC 9651 serialises them.
fn serialised() -> impl Strategy<Value = String> {
    let components = ["\"@method\"", "\"@authority\"", "\"@path\"", "\"@query\"", "\"@scheme\"", "\"@target-uri\""];
    let components = proptest::sample::subsequence(components.to_vec(), 1..=6).prop_shuffle();
    let fields = proptest::collection::hash_set("[a-z0-9!#$%&'*+.^_`|~-]{1,20}|[a-z-]{1,20}", 0..6);
    let time = "[1-9][0-9]{0,14}";
    let text = "[ !#-\\[\\]-~]{1,40}";
    let parameters = (time, time, text, text, text, text).prop_map(|(created, expires, nonce, key, algorithm, tag)| {
        vec![
            format!(";created={created}"),
            format!(";expires={expires}"),
            format!(";nonce=\"{nonce}\""),
            format!(";keyid=\"{key}\""),
            format!(";alg=\"{algorithm}\""),
            format!(";tag=\"{tag}\""),
        ]
    });
    let parameters = parameters.prop_flat_map(|all| proptest::sample::subsequence(all, 0..=6)).prop_shuffle();
    (components, fields, parameters).prop_map(|(mut components, fields, parameters)| {
        let fields: Vec<_> = fields.iter().map(|name| format!("\"{name}\"")).collect();
        components.extend(fields.iter().map(String::as_str));
        format!("({}){}", components.join(" "), parameters.concat())
    })
}

/// A byte that means something in one of the headers, or another one.
fn any_byte() -> impl Strategy<Value = u8> {
    let marks = proptest::sample::select(b"\"\\;=:, ()@0129az-/+\t~".to_vec());
    prop_oneof![3 => marks, 1 => any::<u8>()]
}

/// Members of `Signature` without their label, mostly right.
const ALMOST_BASE64: &str = "=:([A-Za-z0-9+/]{4}){0,22}([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?:";

const TARGET: &str = "/foo?param=Value&Pet=dog";

#[test]
fn the_hmac_of_appendix_b_2_5_is_right() {
    let headers = example(
        "sig-b25=(\"date\" \"@authority\" \"content-type\");created=1618884473;keyid=\"test-shared-secret\"",
        "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:",
    );
    let base = base_of(&headers, "POST", TARGET);
    assert_eq!(
        base,
        "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\
         \"@authority\": example.com\n\
         \"content-type\": application/json\n\
         \"@signature-params\": (\"date\" \"@authority\" \"content-type\");created=1618884473;keyid=\"test-shared-secret\""
    );
    let both = Headers::of(&headers).unwrap();
    let (input, signature) = both.parse().unwrap();
    assert_eq!((input.label, input.created, &*input.key_id), ("sig-b25", Some(1_618_884_473), "test-shared-secret"));
    let secret = AppSecret::new("1".into(), Secret::new(base64(SECRET)), 0);
    let proven = |text: &[u8]| bool::from(Prover::new().hmac([Some(&secret), None], text, &signature));
    assert!(proven(base.as_bytes()));
    assert!(!proven(base.replace("POST", "GET").replace("2021", "2022").as_bytes()));
}

#[test]
fn the_ed25519_of_appendix_b_2_6_is_right() {
    let headers = example(
        "sig-b26=(\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" \"content-length\");created=1618884473;keyid=\"test-key-ed25519\"",
        "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:",
    );
    let base = base_of(&headers, "POST", TARGET);
    assert_eq!(
        base,
        "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\
         \"@method\": POST\n\
         \"@path\": /foo\n\
         \"@authority\": example.com\n\
         \"content-type\": application/json\n\
         \"content-length\": 18\n\
         \"@signature-params\": (\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" \"content-length\");created=1618884473;keyid=\"test-key-ed25519\""
    );
    let both = Headers::of(&headers).unwrap();
    let (_, signature) = both.parse().unwrap();
    let key = base64(PUBLIC_KEY);
    let prover = Prover::new();
    assert!(bool::from(prover.ed25519([Some(&key), None], base.as_bytes(), &signature)));
    assert!(!bool::from(prover.ed25519([Some(&key), None], base.replace("18", "19").as_bytes(), &signature)));
}

/// Appendix B.2.1 and B.2.3 are signed with RSA-PSS, which no app may use; what would be signed has to be right all the same.
#[test]
fn the_bases_of_appendices_b_2_1_and_b_2_3_are_right() {
    let minimal = example(
        "sig-b21=();created=1618884473;keyid=\"test-key-rsa-pss\";nonce=\"b3k2pp5k7z-50gnwp.yemd\"",
        "sig-b21=:AAAA:",
    );
    assert_eq!(
        base_of(&minimal, "POST", TARGET),
        "\"@signature-params\": ();created=1618884473;keyid=\"test-key-rsa-pss\";nonce=\"b3k2pp5k7z-50gnwp.yemd\""
    );
    let full = example(
        "sig-b23=(\"date\" \"@method\" \"@path\" \"@query\" \"@authority\" \"content-type\" \"content-digest\" \"content-length\");created=1618884473;keyid=\"test-key-rsa-pss\"",
        "sig-b23=:AAAA:",
    );
    assert_eq!(
        base_of(&full, "POST", TARGET),
        "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\
         \"@method\": POST\n\
         \"@path\": /foo\n\
         \"@query\": ?param=Value&Pet=dog\n\
         \"@authority\": example.com\n\
         \"content-type\": application/json\n\
         \"content-digest\": sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:\n\
         \"content-length\": 18\n\
         \"@signature-params\": (\"date\" \"@method\" \"@path\" \"@query\" \"@authority\" \"content-type\" \"content-digest\" \"content-length\");created=1618884473;keyid=\"test-key-rsa-pss\""
    );
}

#[test]
fn parameters_are_signed_in_the_order_and_the_form_they_have() {
    let headers = example(
        "a=( \"@method\"  \"@target-uri\" );tag=\"t\";  keyid=\"a\\\"\\\\b\";created=01;nonce=\"n\"",
        "a=:AAAA:",
    );
    assert_eq!(
        base_of(&headers, "GET", "/a?b"),
        "\"@method\": GET\n\"@target-uri\": https://example.com/a?b\n\
         \"@signature-params\": (\"@method\" \"@target-uri\");tag=\"t\";keyid=\"a\\\"\\\\b\";created=1;nonce=\"n\""
    );
}

#[test]
fn derived_components_are_as_http_compares_them() {
    let headers = example("a=(\"@authority\" \"@path\" \"@query\" \"@scheme\");created=1", "a=:AAAA:");
    let both = Headers::of(&headers).unwrap();
    let (input, _) = both.parse().unwrap();
    let uri = Uri::from_static("http://x");
    let message = |authority| Message { method: "GET", scheme: Scheme::Https, authority, uri: &uri, headers: &headers };
    for (authority, written) in
        [("Shop.Example:443", "shop.example"), ("shop.example:8443", "shop.example:8443"), ("[::1]:443", "[::1]")]
    {
        let base = String::from_utf8(input.base(&message(authority)).unwrap()).unwrap();
        let expected = format!("\"@authority\": {written}\n\"@path\": /\n\"@query\": ?\n\"@scheme\": https\n");
        assert!(base.starts_with(&expected), "{base}");
    }
}

#[test]
fn refuses_headers_that_are_not_one_plain_signature() {
    for (input, signature) in [
        ("a=(\"date\"), b=(\"date\")", "a=:AAAA:"),
        ("a=(\"date\");created=1", "a=:AAAA:, b=:AAAA:"),
        ("a=(\"date\");created=1", "b=:AAAA:"),
        ("a=(\"date\");created=1", "a=\"AAAA\""),
        ("a=(\"date\");created=1", "a=(:AAAA:)"),
        ("a=(\"date\");created=1", ""),
        ("", "a=:AAAA:"),
        ("a=\"date\"", "a=:AAAA:"),
        ("a=(date)", "a=:AAAA:"),
        ("a=(\"Date\")", "a=:AAAA:"),
        ("a=(\"\")", "a=:AAAA:"),
        ("a=(\"date\" \"date\")", "a=:AAAA:"),
        ("a=(\"date\";sf)", "a=:AAAA:"),
        ("a=(\"@query-param\";name=\"x\")", "a=:AAAA:"),
        ("a=(\"@status\")", "a=:AAAA:"),
        ("a=(\"@signature-params\")", "a=:AAAA:"),
        ("a=(\"date\");created=\"1\"", "a=:AAAA:"),
        ("a=(\"date\");created=-1", "a=:AAAA:"),
        ("a=(\"date\");created=1.5", "a=:AAAA:"),
        ("a=(\"date\");created=1;created=2", "a=:AAAA:"),
        ("a=(\"date\");nonce=token", "a=:AAAA:"),
        ("a=(\"date\");nonce=\"\"", "a=:AAAA:"),
        ("a=(\"date\");alg=\"x\";alg=\"y\"", "a=:AAAA:"),
        ("a=(\"date\");other=1", "a=:AAAA:"),
    ] {
        let headers = example(input, signature);
        assert!(Headers::of(&headers).unwrap().parse().is_err(), "{input} {signature}");
    }
    let many: Vec<String> = (0..33).map(|number| format!("\"x{number}\"")).collect();
    assert!(Headers::of(&example(&format!("a=({})", many.join(" ")), "a=:AAAA:")).unwrap().parse().is_err());
}

#[test]
fn what_must_be_said_and_covered_is() {
    let all = "\"@method\" \"@authority\" \"@path\" \"@query\"";
    let says = ";created=1;nonce=\"n\";keyid=\"k\"";
    let check = |input: &str, has_body: bool| {
        let headers = example(&format!("a={input}"), "a=:AAAA:");
        let both = Headers::of(&headers).unwrap();
        let (input, _) = both.parse().unwrap();
        input.check(&headers, has_body).is_ok()
    };
    assert!(check(&format!("({all}){says}"), false));
    assert!(check(&format!("({all} \"content-digest\" \"content-type\"){says}"), true));
    for input in [
        format!("({all}){says}"),
        format!("({all} \"content-type\"){says}"),
        format!("({all} \"content-digest\"){says}"),
        format!("({}){says}", all.replace("\"@query\"", "\"content-digest\" \"content-type\"")),
        format!("({all} \"content-digest\" \"content-type\");created=1;nonce=\"n\""),
        format!("({all} \"content-digest\" \"content-type\");created=1;keyid=\"k\""),
        format!("({all} \"content-digest\" \"content-type\");keyid=\"k\";nonce=\"n\""),
    ] {
        assert!(!check(&input, true), "{input}");
    }
}

#[test]
fn a_signature_counts_for_a_while() {
    let input = Input { created: Some(1_000), expires: Some(1_200), ..Input::default() };
    for (now, is_current) in [(699, false), (700, true), (1_199, true), (1_200, false)] {
        assert_eq!(input.is_current(now, 300), is_current, "{now}");
    }
    let endless = Input { expires: None, ..input };
    assert!(endless.is_current(1_300, 300) && !endless.is_current(1_301, 300));
    assert_eq!(Input { key_id: "shop/2".into(), ..Input::default() }.key(), ("shop", Some("2")));
}

/// A request as a caller makes it and the gate sees it.
#[derive(Debug, Clone)]
struct Sent {
    method: String,
    authority: String,
    target: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

const SHARED: &[u8] = b"a secret of an app";

impl Sent {
    fn sign(path: &str, query: &str, value: &str, body: &[u8], key: &SigningKey) -> Self {
        let target = format!("/{path}?{query}");
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("text/plain"));
        headers.insert("x-covered", HeaderValue::from_str(value).unwrap());
        headers.insert(CONTENT_DIGEST, content_digest(body).parse().unwrap());
        let uri = target.parse().unwrap();
        let message =
            Message { method: "POST", scheme: Scheme::Https, authority: "shop.example", uri: &uri, headers: &headers };
        let new = NewSignature {
            key_id: "shop",
            created: 1_700_000_000,
            expires: None,
            nonce: "n1",
            headers: &["x-covered"],
            has_body: true,
        };
        let (input, signature) = sign(&message, &new, key).unwrap();
        headers.insert(SIGNATURE_INPUT, input.parse().unwrap());
        headers.insert(SIGNATURE, signature.parse().unwrap());
        Self { method: "POST".into(), authority: "shop.example".into(), target, headers, body: body.to_vec() }
    }

    fn is_accepted(&self, secrets: Secrets<'_>, public: Keys<'_>) -> bool {
        let Ok(uri) = self.target.parse() else { return false };
        let Ok(both) = Headers::of(&self.headers) else { return false };
        let Ok((input, proof)) = both.parse() else { return false };
        let message = Message {
            method: &self.method,
            scheme: Scheme::Https,
            authority: &self.authority,
            uri: &uri,
            headers: &self.headers,
        };
        let Ok(base) = input.base(&message) else { return false };
        let is_whole =
            ContentDigest::of(&self.headers).is_ok_and(|digest| digest.is_some_and(|it| it.matches(&self.body)));
        let prover = Prover::new();
        let is_proven =
            if proof.len() == 64 { prover.ed25519(public, &base, &proof) } else { prover.hmac(secrets, &base, &proof) };
        input.check(&self.headers, true).is_ok()
            && input.is_current(1_700_000_010, 300)
            && input.key() == ("shop", None)
            && is_whole
            && bool::from(is_proven)
    }

    /// The request with one byte changed, and whether that could matter at all.
    fn flipped(&self, place: Place, at: usize, mask: u8) -> Option<Self> {
        let mut sent = self.clone();
        let flip = |bytes: &mut Vec<u8>| {
            let at = at % bytes.len();
            bytes[at] ^= mask;
        };
        let text = |text: &mut String| {
            let mut bytes = std::mem::take(text).into_bytes();
            flip(&mut bytes);
            *text = String::from_utf8(bytes).ok()?;
            Some(())
        };
        match place {
            Place::Method => text(&mut sent.method)?,
            Place::Authority => text(&mut sent.authority)?,
            Place::Target => text(&mut sent.target)?,
            Place::Body => flip(&mut sent.body),
            Place::Header(name) => {
                let mut bytes = sent.headers[name].as_bytes().to_vec();
                flip(&mut bytes);
                sent.headers.insert(name, HeaderValue::from_bytes(&bytes).ok()?);
            }
        }
        // A host is the same in capitals, and what http cannot parse never gets here.
        let is_same = sent.authority.eq_ignore_ascii_case(&self.authority)
            && sent.method == self.method
            && sent.target.parse::<Uri>().ok()? == self.target.parse::<Uri>().unwrap()
            && sent.target == self.target
            && sent.headers == self.headers
            && sent.body == self.body;
        (!is_same).then_some(sent)
    }
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Method,
    Authority,
    Target,
    Header(&'static str),
    Body,
}

const PLACES: [Place; 9] = [
    Place::Method,
    Place::Authority,
    Place::Target,
    Place::Body,
    Place::Header("x-covered"),
    Place::Header("content-type"),
    Place::Header(CONTENT_DIGEST),
    Place::Header("signature-input"),
    Place::Header("signature"),
];

proptest! {
    #[test]
    fn what_was_signed_is_accepted_and_any_flipped_byte_refused(
        path in "[a-z0-9/%.~_-]{0,30}",
        query in "[a-zA-Z0-9=&%._~-]{0,40}",
        value in "[!-~]([ -~]{0,20}[!-~])?",
        body: Vec<u8>,
        place in 0usize..PLACES.len(),
        at: usize,
        bit in 0u8..8,
        with_ed25519 in any::<bool>(),
    ) {
        let body = if body.is_empty() { b"x".to_vec() } else { body };
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let public = {
            use ring::signature::KeyPair as _;
            pair.public_key().as_ref().to_vec()
        };
        let key = if with_ed25519 { SigningKey::Ed25519(Box::new(pair)) } else { SigningKey::Hmac(SHARED.to_vec()) };
        let sent = Sent::sign(&path, &query, &value, &body, &key);
        let shared = AppSecret::new("1".into(), Secret::new(SHARED.to_vec()), 0);
        let secrets = [None, Some(&shared)];
        let publics: Keys<'_> = [Some(&public), None];
        prop_assert!(sent.is_accepted(secrets, publics));
        prop_assert_eq!(sent.is_accepted(secrets, [None, None]), !with_ed25519, "an algorithm that the app has no key for");
        if let Some(flipped) = sent.flipped(PLACES[place], at, 1 << bit) {
            prop_assert!(!flipped.is_accepted(secrets, publics), "{:?} {:?}", PLACES[place], flipped);
        }
    }

    #[test]
    fn no_header_does_harm(input in "\\PC{0,200}", almost in "[a-z]=\\((\"[@a-z-]{0,9}\" ?){0,4}\\)(;[a-z]{1,8}=(\"[ -~]{0,9}\"|-?[0-9.]{1,20}|:[A-Z=]{0,8}:)){0,4}") {
        for text in [input, almost] {
            let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) else { continue };
            let mut headers = HeaderMap::new();
            headers.insert(SIGNATURE_INPUT, value);
            headers.insert(SIGNATURE, HeaderValue::from_static("a=:AAAA:"));
            let both = Headers::of(&headers).unwrap();
            if let Ok((parsed, _)) = both.parse() {
                // What was written down is a signature input again, and the same one.
                let again = format!("{}={}", parsed.label, parsed.parameters);
                let mut headers = HeaderMap::new();
                headers.insert(SIGNATURE_INPUT, again.parse().unwrap());
                headers.insert(SIGNATURE, HeaderValue::from_static("a=:AAAA:"));
                let both = Headers::of(&headers).unwrap();
                let (reparsed, _) = both.parse().unwrap();
                prop_assert_eq!(reparsed.parameters, parsed.parameters.clone());
            }
        }
    }

    #[test]
    fn what_is_read_in_the_usual_form_is_what_the_parser_reads(
        label in "[a-z*][a-z0-9_.*-]{0,4}|[A-Z]",
        components in proptest::collection::vec("@(method|path|query|authority)|[a-z-]{1,4}|[A-Z\"()]{0,2}", 0..5),
        parameters in proptest::collection::vec(
            (
                "created|expires|nonce|keyid|alg|tag|other",
                "[0-9]{1,17}|\"[ -~]{0,9}\"|\"[a-z/-]{1,9}\"|-1|1\\.5|\\?1|:AAAA:|word",
            ),
            0..6,
        ),
        between in " {1,2}|\t",
        end in "|;| |, b=\\(\\)",
        signature in "=:(AAAA){1,3}:|=:AAA=:|=:AAA:|=:AAB=:|=AAAA|: :",
    ) {
        let components: Vec<_> = components.iter().map(|name| format!("\"{name}\"")).collect();
        let parameters: String = parameters.iter().map(|(name, value)| format!(";{name}={value}")).collect();
        let input = format!("{label}=({}){parameters}{end}", components.join(&between));
        let mut headers = HeaderMap::new();
        headers.insert(SIGNATURE_INPUT, input.parse().unwrap());
        headers.insert(SIGNATURE, format!("{label}{signature}").parse().unwrap());
        let both = Headers::of(&headers).unwrap();
        if let Some(plain) = parse_plain(&both) {
            prop_assert_eq!(Ok(plain), both.parse_any());
        }
    }

    #[test]
    fn a_changed_header_is_read_as_the_parser_reads_it(
        (input, signature) in (serialised(), ALMOST_BASE64),
        changes in proptest::collection::vec((any::<bool>(), any::<usize>(), 0u8..3, any_byte()), 0..4),
    ) {
        let mut fields = [format!("a={input}").into_bytes(), format!("a{signature}").into_bytes()];
        for (in_input, at, change, byte) in changes {
            let field = &mut fields[usize::from(!in_input)];
            let at = at % field.len().max(1);
            match change {
                0 => field.insert(at, byte),
                1 if at < field.len() => field[at] = byte,
                _ if at < field.len() => drop(field.remove(at)),
                _ => {}
            }
        }
        let [Ok(input), Ok(signature)] = fields.map(|field| HeaderValue::from_bytes(&field)) else { return Ok(()) };
        let headers = HeaderMap::from_iter([(SIGNATURE_INPUT, input), (SIGNATURE, signature)]);
        let both = Headers::of(&headers).unwrap();
        // Nothing at all is read in the usual form only, and proves nothing.
        if !both.parse().is_ok_and(|(_, proof)| proof.is_empty()) {
            prop_assert_eq!(both.parse(), both.parse_any());
        }
    }

    #[test]
    fn what_is_serialised_is_read_without_the_parser(
        label in "[a-z*][a-z0-9_.*-]{0,9}",
        parameters in serialised(),
        bytes in proptest::collection::vec(any::<u8>(), 1..=64),
    ) {
        use base64::Engine as _;
        let signature = base64::engine::general_purpose::STANDARD.encode(&bytes);
        let headers = example(&format!("{label}={parameters}"), &format!("{label}=:{signature}:"));
        let both = Headers::of(&headers).unwrap();
        let plain = parse_plain(&both);
        prop_assert_eq!(plain.as_ref().map(|(input, _)| &*input.parameters), Some(&*parameters));
        prop_assert_eq!(plain.as_ref().map(|(_, proof)| &**proof), Some(&*bytes));
        prop_assert_eq!(plain, both.parse_any().ok());
    }
}

#[test]
fn components_are_counted_and_compared_wherever_they_are_kept() {
    let read = |names: &[String]| {
        let quoted: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
        let headers = example(&format!("a=({})", quoted.join(" ")), "a=:AAAA:");
        let both = Headers::of(&headers).unwrap();
        assert_eq!(both.parse(), both.parse_any());
        let read = both.parse().map(|(input, _)| {
            assert!(names.iter().all(|name| input.covers(name)) && !input.covers("x-other"));
            input.components.iter().map(str::to_owned).collect::<Vec<_>>()
        });
        assert_eq!(parse_plain(&both).is_some(), read.is_ok() && !names.is_empty());
        read
    };
    let names: Vec<_> = (0..33).map(|number| format!("x-{number}-{}", "y".repeat(number * 5))).collect();
    for length in 0..=32 {
        assert_eq!(read(&names[..length]).unwrap(), names[..length]);
        for twice in 0..length.min(31) {
            let names = [&names[..length.min(31)], &names[twice..=twice]].concat();
            assert_eq!(read(&names), Err(Malformed("a component is covered twice")));
        }
    }
    assert_eq!(read(&names), Err(Malformed("more than 32 components")));
}

#[test]
fn a_signature_of_any_length_is_read() {
    for length in [0, 1, 2, 3, 32, 63, 64, 65, 66, 67, 200] {
        use base64::Engine as _;
        let bytes: Vec<u8> = (0..length).collect();
        let signature = base64::engine::general_purpose::STANDARD.encode(&bytes);
        let headers = example("a=(\"@method\");created=1", &format!("a=:{signature}:"));
        let both = Headers::of(&headers).unwrap();
        assert_eq!(*both.parse().unwrap().1, *bytes);
        assert_eq!(parse_plain(&both).is_some(), length <= 64);
    }
}

#[test]
fn a_letter_whose_last_bits_say_nothing_is_refused() {
    let parsed = |signature: &str| {
        let headers = example("a=(\"@method\");created=1", signature);
        Headers::of(&headers).unwrap().parse().map(|(_, proof)| proof.to_vec())
    };
    for same in ["a=:AAA=:", "a=:AAA:", "a=:AAA=:;other"] {
        assert_eq!(parsed(same).unwrap(), [0, 0], "{same}");
    }
    for other in ["a=:AAB=:", "a=:AAD:", "a=:AAC=:;other"] {
        assert!(parsed(other).is_err(), "{other}");
    }
}

#[test]
fn the_usual_form_is_read_without_the_parser() {
    let message = Message {
        method: "GET",
        scheme: Scheme::Https,
        authority: "example.com",
        uri: &"/a?b=c".parse().unwrap(),
        headers: &HeaderMap::new(),
    };
    let new = NewSignature {
        key_id: "shop/1",
        created: 1_700_000_000,
        expires: Some(1_700_000_060),
        nonce: "n-1",
        headers: &[],
        has_body: false,
    };
    let (input, signature) = sign(&message, &new, &SigningKey::Hmac(SHARED.to_vec())).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(SIGNATURE_INPUT, input.parse().unwrap());
    headers.insert(SIGNATURE, signature.parse().unwrap());
    let both = Headers::of(&headers).unwrap();
    assert_eq!(parse_plain(&both), Some(both.parse_any().unwrap()));
}
