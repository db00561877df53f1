//! Programs, compared and compiled.

use std::sync::Arc;

use gatehouse_waf::RuleSet;
use gatehouse_waf::rules::{CompileError, Options};
use gatehouse_waf::seclang::ast::Program;

/// The directives of a program as text, without their places.
#[must_use]
pub fn without_places(program: &Program) -> String {
    let shown = format!("{:?}", program.directives);
    let mut pieces = shown.split("Position {");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        text.push_str(piece.split_once('}').map_or(piece, |(_, behind)| behind));
    }
    text
}

/// Compiles a program. Every file it names holds the same few lines.
///
/// # Errors
///
/// Those of the compiler.
pub fn compile(program: &Program, options: &Options) -> Result<Arc<RuleSet>, Vec<CompileError>> {
    let mut files = |_: &str| Ok(b"# a list\nadmin\n192.0.2.1\n2001:db8::/32\n".to_vec());
    RuleSet::compile(program, &mut files, options).map(Arc::new)
}

/// The same options without the prefilter.
#[must_use]
pub fn unfiltered(options: &Options) -> Options {
    Options { prefilter: false, ..options.clone() }
}
