//! Decoding to a fixed point: never longer, nothing left to undo before the last round, buffers that are used again change
//! nothing, and no more forms and bytes than promised.

#![no_main]

use gatehouse_fuzz::{Input, linear};
use gatehouse_waf::decode::{Layers, ROUNDS, Scratch, decode, views};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let value = input.stretched();
    let mut out = b"left over".to_vec();
    let done = linear(value.len(), || decode(&value, &mut out));
    assert!(done.rounds <= ROUNDS && out.len() <= value.len());
    assert_eq!(done.rounds == 0, done.layers == Layers::NONE);
    assert!(done.rounds > 0 || out.is_empty(), "wrote and says that nothing is encoded");
    if (1..ROUNDS).contains(&done.rounds) {
        let again = decode(&out, &mut Vec::new());
        assert_eq!(again.rounds, 0, "{} can be decoded further", out.escape_ascii());
    }

    let mut scratch = Scratch::default();
    let forms = linear(value.len(), || forms(&value, &mut scratch));
    assert_eq!(forms.first().map(|(bytes, _)| bytes.as_slice()), Some(&*value));
    let shown: usize = forms.iter().map(|(bytes, _)| bytes.len()).sum();
    assert!(forms.len() <= 129 && shown <= 9 * value.len() + 4096, "{} forms, {shown} bytes", forms.len());
    assert_eq!(self::forms(&value, &mut scratch), forms, "in used buffers");
});

fn forms(value: &[u8], scratch: &mut Scratch) -> Vec<(Vec<u8>, Layers)> {
    let mut forms = Vec::new();
    views(value, scratch, &mut |view| {
        forms.push((view.bytes.to_vec(), view.layers));
        false
    });
    forms
}
