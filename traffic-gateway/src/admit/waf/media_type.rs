//! Which bodies rules do not look at: data that no interpreter reads as text.
//!
//! What is not known here is looked at, even of an unknown type: programs read forms and JSON whatever they are called.

/// Families all of which are such data, but for what is XML (SVG).
const FAMILIES: [&str; 4] = ["image/", "audio/", "video/", "font/"];

/// Single types.
const TYPES: [&str; 17] = [
    "application/octet-stream",
    "application/pdf",
    "application/zip",
    "application/gzip",
    "application/x-gzip",
    "application/x-tar",
    "application/x-7z-compressed",
    "application/zstd",
    "application/protobuf",
    "application/x-protobuf",
    "application/vnd.google.protobuf",
    "application/grpc",
    "application/grpc-web",
    "application/wasm",
    "application/cbor",
    "application/msgpack",
    "application/avro",
];

/// Types that begin so: the gRPC messages of every encoding but JSON, office documents.
const BEGINNINGS: [&str; 3] =
    ["application/grpc+proto", "application/grpc-web+proto", "application/vnd.openxmlformats-officedocument."];

/// Whether rules do not look at bodies of this content type.
pub(super) fn is_binary(content_type: &[u8]) -> bool {
    if content_type.contains(&b',') {
        return false;
    }
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let begins = |start: &str| essence.get(..start.len()).is_some_and(|own| own.eq_ignore_ascii_case(start.as_bytes()));
    let ends = |end: &str| {
        let start = essence.len().checked_sub(end.len());
        start.and_then(|start| essence.get(start..)).is_some_and(|own| own.eq_ignore_ascii_case(end.as_bytes()))
    };
    TYPES.iter().any(|known| known.len() == essence.len() && begins(known))
        || BEGINNINGS.iter().any(|start| begins(start))
        || (FAMILIES.iter().any(|family| begins(family)) && !ends("+xml") && !ends("+json"))
}

#[cfg(test)]
mod tests {
    use super::is_binary;

    #[test]
    fn only_what_no_interpreter_reads_as_text_passes() {
        for binary in [
            "image/png",
            "Application/Octet-Stream; charset=x",
            "application/grpc+proto",
            "video/mp4 ; a=b",
            "font/woff2",
        ] {
            assert!(is_binary(binary.as_bytes()), "{binary}");
        }
        for text in [
            "",
            "text/plain",
            "image/svg+xml",
            "application/json",
            "application/octet-stream-of-forms",
            "application/grpc+json",
            "multipart/form-data; boundary=image/png",
            "x-made/up",
            "application/x-www-form-urlencoded",
            "image/png, application/json",
        ] {
            assert!(!is_binary(text.as_bytes()), "{text}");
        }
    }
}
