//! Content types.

use super::super::outcome::Faults;
use super::super::{BodyProcessor, Fault, Malformed, media_type, processor_for};

#[test]
fn chooses_the_reader_by_the_content_type() {
    use BodyProcessor::{Json, Multipart, UrlEncoded, Xml};
    for (content_type, processor) in [
        ("application/x-www-form-urlencoded", Some(UrlEncoded)),
        ("Application/X-WWW-Form-URLEncoded;charset=UTF-8", Some(UrlEncoded)),
        ("multipart/form-data; boundary=x", Some(Multipart)),
        ("MULTIPART/FORM-DATA, x", Some(Multipart)),
        ("multipart/mixed; boundary=x", None),
        (" application/json ", Some(Json)),
        ("text/json", Some(Json)),
        ("application/vnd.api+json; profile=\"a;b\"", Some(Json)),
        ("application/problem+JSON", Some(Json)),
        ("application/x-ndjson", Some(Json)),
        ("application/json-seq", Some(Json)),
        ("application/graphql", Some(Json)),
        ("application/csp-report", Some(Json)),
        ("text/xml", Some(Xml)),
        ("application/soap+xml; action=\"x\"", Some(Xml)),
        ("application/jsonx", None),
        ("text/plain", None),
        ("application/octet-stream", None),
        ("application/grpc", None),
        ("", None),
        ("json", None),
    ] {
        assert_eq!(processor_for(content_type.as_bytes()), processor, "{content_type}");
    }
}

#[test]
fn takes_a_boundary_that_everybody_reads_alike() {
    for (content_type, boundary, fault) in [
        ("multipart/form-data; boundary=----WebKitFormBoundaryAbC", "----WebKitFormBoundaryAbC", None),
        ("multipart/form-data; charset=utf-8; BOUNDARY=\"a b\"", "a b", Some(Fault::BoundaryQuoted)),
        ("multipart/form-data; boundary= x", "x", Some(Fault::BoundaryWhitespace)),
        ("multipart/form-data boundary=x", "x", Some(Fault::MissingSemicolon)),
    ] {
        let mut faults = Faults::default();
        let found = media_type::boundary(content_type.as_bytes(), &mut faults);
        assert_eq!(found.unwrap(), boundary.as_bytes(), "{content_type}");
        assert_eq!(fault.is_some_and(|fault| faults.contains(fault)), fault.is_some(), "{content_type}");
        assert_eq!(faults.is_empty(), fault.is_none(), "{content_type}");
    }
}

#[test]
fn refuses_other_boundaries() {
    let long = format!("multipart/form-data; boundary={}", "x".repeat(71));
    for (content_type, malformed) in [
        ("multipart/form-data", Malformed::Boundary),
        ("multipart/form-data; boundary=", Malformed::Boundary),
        ("multipart/form-data; boundary=\"\"", Malformed::Boundary),
        ("multipart/form-data; boundary=a; boundary=b", Malformed::Boundary),
        ("multipart/form-data; boundary=a; Boundary=\"b\"", Malformed::Boundary),
        ("multipart/form-data; boundary*=utf-8''a; boundary=b", Malformed::Boundary),
        ("multipart/form-data; boundary*0=a", Malformed::Boundary),
        (long.as_str(), Malformed::InvalidBoundary),
        ("multipart/form-data; boundary=a<b", Malformed::InvalidBoundary),
        ("multipart/form-data; boundary=\"a \"", Malformed::InvalidBoundary),
        ("multipart/form-data; boundary=a\"b", Malformed::InvalidBoundary),
    ] {
        let found = media_type::boundary(content_type.as_bytes(), &mut Faults::default());
        assert_eq!(found, Err(malformed), "{content_type}");
    }
}
