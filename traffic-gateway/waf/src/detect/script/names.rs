//! Names of events, of attributes that hold addresses, and of what scripts call.

use super::super::scan::{is_one_of, starts_with};

/// Beginnings of event names, after `on`.
const EVENTS: &[&[u8]] = &[
    b"abort", b"activate", b"after", b"animation", b"auxclick", b"before", b"begin", b"blur", b"bounce", b"canplay", b"cellchange", b"change", b"click", b"close", b"contextmenu", b"controlselect", b"copy", b"cuechange", b"cut", b"data", b"dblclick", b"deactivate", b"device", b"drag", b"drop", b"durationchange", b"emptied", b"ended", b"end", b"error", b"filter",
    b"finish", b"focus", b"formchange", b"formdata", b"forminput", b"fullscreen", b"gesture", b"got", b"hashchange", b"help", b"input", b"invalid", b"key", b"languagechange", b"layout", b"load", b"lose", b"lost", b"message", b"mouse", b"move", b"moz", b"mspoint", b"offline", b"online", b"orientation", b"page", b"paste", b"pause", b"play", b"pointer", b"popstate", b"progress",
    b"property", b"ratechange", b"readystate", b"redo", b"rejection", b"repeat", b"reset", b"resize", b"resume", b"reverse", b"row", b"scroll", b"search", b"security", b"seek", b"select", b"show", b"slotchange", b"stalled", b"start", b"stop", b"storage", b"submit", b"suspend", b"syncrestored", b"time", b"toggle", b"touch", b"track", b"transition", b"undo", b"unhandled", b"unload",
    b"url", b"volume", b"waiting", b"webkit", b"wheel", b"beforexrselect", b"command", b"cancel", b"location",
];

/// Whether an attribute is an event handler.
pub(super) fn is_handler(name: &[u8]) -> bool {
    starts_with(name, b"on") && name.len() > 4 && name.iter().all(u8::is_ascii_alphabetic) && name.get(2..).is_some_and(|event| EVENTS.iter().any(|known| starts_with(event, known)))
}

/// Whether an attribute holds an address a browser goes to, or a document it shows.
pub(super) fn is_address(name: &[u8]) -> bool {
    is_one_of(name, &[b"href", b"src", b"action", b"formaction", b"data", b"xlink:href", b"poster", b"background", b"dynsrc", b"lowsrc", b"values", b"to", b"from", b"code", b"codebase", b"content", b"ping", b"folder", b"url", b"by", b"manifest", b"profile", b"classid", b"datasrc", b"xmlns", b"style", b"usemap", b"longdesc", b"cite"])
}

/// What a script calls or touches that text does not: by name, before `(`, `.`, `[`, `=` or a backtick.
const SINKS: &[&[u8]] = &[
    b"alert", b"confirm", b"prompt", b"eval", b"settimeout", b"setinterval", b"setimmediate", b"function", b"fetch", b"document", b"window", b"location", b"self", b"top", b"parent", b"frames", b"import", b"atob", b"btoa", b"string", b"xmlhttprequest", b"print", b"open", b"constructor", b"navigator", b"localstorage", b"sessionstorage", b"globalthis", b"this", b"execscript", b"throw",
    b"onerror", b"name", b"new", b"reflect", b"array", b"object", b"postmessage", b"decodeuricomponent", b"unescape", b"expression", b"console", b"websocket", b"worker", b"image", b"write", b"jquery", b"valueof", b"tostring", b"void", b"typeof", b"delete", b"with", b"var", b"let",
];

/// Whether a word is one scripts of attacks go on with.
pub(super) fn is_sink(word: &[u8]) -> bool {
    is_one_of(word, SINKS)
}
