//! The way in around a tiny proxy: real sockets, a real Pingora service, an upstream inside the test.

use gatehouse_shared::config::{self, SourceFile, Sources};

use super::Bounds;
use crate::config::Config;

/// Bounds from the text of an `edge.toml`; `dir` holds its certificates.
pub(super) fn compile(text: &str, dir: &std::path::Path) -> Bounds {
    let file = SourceFile { path: "edge.toml".into(), text: text.to_owned() };
    let document = config::parse::<Config>(&file).unwrap_or_else(|errors| panic!("{errors}"));
    let compiled = super::compile(&document.value, None, &mut Sources::new(dir), &document.positions);
    compiled.unwrap_or_else(|errors| panic!("{errors}"))
}

/// The defaults.
pub(super) fn bounds() -> Bounds {
    compile("[[process.listener]]\naddress = \"127.0.0.1:0\"\n", std::path::Path::new("."))
}
