//! Multipart bodies: pieces change nothing, bounds hold, and a form that is put together right gives its field and its
//! file back. The first line of an input is the content type.

#![no_main]

use gatehouse_fuzz::Input;
use gatehouse_fuzz::body::{Cut, Value, read, read_both};
use gatehouse_waf::body::{BodyProcessor, Limits};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let content_type = input.line();
    let content_type = content_type.strip_suffix(b"\r").unwrap_or(content_type);
    let body = input.stretched();
    read_both(&mut input, BodyProcessor::Multipart, content_type, &body);
    comes_back(&mut input, input_content(&body));
});

/// Content that holds no boundary.
fn input_content(body: &[u8]) -> &[u8] {
    let end = body.windows(5).position(|window| window == b"--b-c").unwrap_or(body.len());
    &body[..end]
}

fn comes_back(input: &mut Input<'_>, content: &[u8]) {
    let form = [
        &b"--b-c\r\nContent-Disposition: form-data; name=\"field\"\r\n\r\n"[..],
        content,
        b"\r\n--b-c\r\nContent-Disposition: form-data; name=\"file\"; filename=\"name\"\r\n\r\n",
        content,
        b"\r\n--b-c--\r\n",
    ]
    .concat();
    let cut = Cut::At(input.choice() * form.len() / 256);
    let content_type = b"multipart/form-data; boundary=b-c";
    let (values, outcome) = read(BodyProcessor::Multipart, content_type, &Limits::default(), &form, cut);
    let found: Vec<_> = values.into_iter().filter(|value| !matches!(value, Value::PartHeader(..))).collect();
    let content = content.to_vec();
    let field = Value::Argument(b"field".to_vec(), content.clone());
    assert_eq!(found, [field, Value::File(b"file".to_vec(), b"name".to_vec(), content)]);
    assert_eq!((outcome.malformed, outcome.faults.strict_error()), (None, false));
}
