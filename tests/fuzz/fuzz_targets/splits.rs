//! What splits and mirrors look at of a call, and files of uids: whatever the bytes, in linear time.

#![no_main]

use business_gateway::admit::caller::Caller;
use business_gateway::dispatch::split::share::Share;
use business_gateway::dispatch::split::source::{Seen, Source};
use business_gateway::dispatch::split::uids::{self, Uids};
use gatehouse_fuzz::{Input, linear};
use http::{HeaderValue, Request, Uri};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let (name, target) = (input.line(), input.line());
    let value = input.stretched();
    let name = String::from_utf8_lossy(name);
    let length = name.len() + target.len() + value.len();
    linear(length, || {
        let Ok(source) = Source::parse(&name) else { return };
        let printed = source.to_string();
        assert_eq!(Source::parse(&printed).as_ref(), Ok(&source), "{printed}");
        let mut request = Request::new(());
        if let Ok(uri) = Uri::try_from(target) {
            *request.uri_mut() = uri;
        }
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            for name in ["cookie", "x-a"] {
                request.headers_mut().append(name, value.clone());
            }
        }
        let (parts, ()) = request.into_parts();
        let caller = Caller::anonymous();
        let seen = Seen { caller: &caller, client: [203, 0, 113, 9].into(), request_id: "01", parts: &parts };
        let Some(uid) = source.find(&seen) else { return };
        assert!(!uid.is_empty());
        assert!(!matches!(source, Source::Cookie(_)) || !uid.contains(';'));
        let share = |percent| Share::new("s", "b", percent).expect("a share");
        assert!(share(10.0).has(&uid) || !share(5.0).has(&uid));
    });
    linear(length, || {
        let lines = value.split(|byte| *byte == b'\n');
        let uids: Vec<&str> = lines.filter_map(|line| uids::uid_of(line).ok().flatten()).collect();
        let list: Uids = uids.iter().copied().collect();
        assert!(uids.iter().all(|uid| uids::uid_of(uid.as_bytes()) == Ok(Some(*uid)) && list.contains(uid)));
    });
});
