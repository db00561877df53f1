//! Rules of several statements, in Rhai. A script computes and asks for effects on its `gate`; it reads nothing but the inputs of
//! [`super::input`], writes nothing, and has no files, no clock, no other modules and no `eval`. Operations, calls, texts, lists
//! and maps are bounded, so the longest run is known when the catalog is loaded.

mod view;
mod words;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gatehouse_shared::config::ConfigErrors;
use jiff::tz::TimeZone;
use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicIteratorPackage, BasicMapPackage, BasicMathPackage, BasicStringPackage,
    LogicPackage, MoreStringPackage, Package,
};
use rhai::{AST, Engine, EvalAltResult, Position, Scope};

use self::words::Words;
use super::Bounds;
use super::effect::Effects;
use super::input::{Field, Input};
use crate::store::catalog::At;

/// Calls of a script's own functions inside one another; each takes some of the thread's stack.
const CALL_LEVELS_MAX: usize = 12;
/// How deep an expression or a block may be nested, for the same reason.
const DEPTH_MAX: usize = 32;
/// Functions that a script may define.
const FUNCTIONS_MAX: usize = 32;
/// Variables at a time.
const VARIABLES_MAX: usize = 64;

/// The interpreter, with its bounds; one for all scripts of a generation.
#[derive(Debug, Clone)]
pub struct Interpreter {
    engine: Arc<Engine>,
}

impl Interpreter {
    /// An interpreter with these bounds.
    #[must_use]
    pub fn new(bounds: &Bounds) -> Self {
        Self { engine: Arc::new(engine(bounds)) }
    }

    /// One that also tells how many operations were used.
    #[must_use]
    pub fn counting(bounds: &Bounds) -> (Self, Arc<AtomicU64>) {
        let used = Arc::new(AtomicU64::new(0));
        let mut engine = engine(bounds);
        let count = Arc::clone(&used);
        engine.on_progress(move |operations| {
            count.store(operations, Ordering::Relaxed);
            None
        });
        (Self { engine: Arc::new(engine) }, used)
    }
}

fn engine(bounds: &Bounds) -> Engine {
    let mut engine = Engine::new_raw();
    for module in [
        ArithmeticPackage::new().as_shared_module(),
        LogicPackage::new().as_shared_module(),
        BasicStringPackage::new().as_shared_module(),
        BasicIteratorPackage::new().as_shared_module(),
        BasicMathPackage::new().as_shared_module(),
        BasicArrayPackage::new().as_shared_module(),
        BasicMapPackage::new().as_shared_module(),
        MoreStringPackage::new().as_shared_module(),
    ] {
        engine.register_global_module(module);
    }
    for symbol in ["eval", "print", "debug", "import", "export", "Fn", "curry", "this"] {
        engine.disable_symbol(symbol);
    }
    engine
        .set_strict_variables(true)
        .set_fail_on_invalid_map_property(true)
        .set_max_operations(bounds.operations_max)
        .set_max_call_levels(CALL_LEVELS_MAX)
        .set_max_expr_depths(DEPTH_MAX, DEPTH_MAX)
        .set_max_functions(FUNCTIONS_MAX)
        .set_max_variables(VARIABLES_MAX)
        .set_max_string_size(bounds.text_max)
        .set_max_array_size(bounds.entries_max)
        .set_max_map_size(bounds.entries_max);
    view::register(&mut engine);
    engine
}

/// A script that was compiled.
pub struct Script {
    interpreter: Interpreter,
    program: AST,
    words: Words,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Script").field("words", &self.words).finish_non_exhaustive()
    }
}

/// Why a script came to no end of its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// It reached a bound.
    #[error("cut: {0}")]
    Cut(String),
    /// It failed.
    #[error("{0}")]
    Failed(String),
}

impl Script {
    /// Compiles a script.
    ///
    /// # Errors
    /// Everything that is wrong with it, with line and column inside the script.
    pub fn compile(
        text: &str,
        interpreter: &Interpreter,
        bounds: &Bounds,
        at: &At<'_>,
        key: &str,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        if text.len() > bounds.source_max {
            let message = format!("a script of {} bytes; at most {}", text.len(), bounds.source_max);
            errors.push(at.error(key, message, "divide it into several rules, or raise flow.source_max"));
            return Err(errors);
        }
        let words = words::read(text);
        for finding in &words.findings {
            let message = format!("{}, at {}:{} of the script", finding.message, finding.line, finding.column);
            errors.push(at.error(key, message, finding.remedy.as_str()));
        }
        errors.into_result(())?;
        match interpreter.engine.compile_with_scope(&view::names(), text) {
            Ok(program) => Ok(Self { interpreter: interpreter.clone(), program, words }),
            Err(error) => {
                let (line, column) = place(error.position());
                let message = format!("{}, at {line}:{column} of the script", error.err_type());
                Err(at.error(key, message, "correct the script").into())
            }
        }
    }

    /// Runs it for a call.
    ///
    /// # Errors
    /// When it was cut or failed; its effects are lost then.
    pub fn run(&self, input: &Input<'_>, zone: &TimeZone) -> Result<Effects, ScriptError> {
        let (mut scope, collected) = view::scope(input, zone, |field| self.mentions(field));
        let outcome = self.interpreter.engine.run_ast_with_scope(&mut scope, &self.program);
        drop(scope);
        let effects = collected.take();
        match outcome {
            Ok(()) => Ok(effects),
            // How `deny` ends a script.
            Err(error) if effects.denial.is_some() && matches!(*error, EvalAltResult::ErrorTerminated(..)) => {
                Ok(effects)
            }
            Err(error) => Err(fault(&error)),
        }
    }

    /// The same with an interpreter of one's own.
    #[must_use]
    pub fn with(&self, interpreter: Interpreter) -> Self {
        Self { interpreter, program: self.program.clone(), words: self.words.clone() }
    }

    /// Whether it looks at an input, as far as its words tell.
    #[must_use]
    pub fn mentions(&self, field: Field) -> bool {
        self.words.mentions(words::root_of(field))
    }
}

fn fault(error: &EvalAltResult) -> ScriptError {
    let mut innermost = error;
    while let EvalAltResult::ErrorInFunctionCall(_, _, inner, _) = innermost {
        innermost = inner;
    }
    let (line, column) = place(innermost.position());
    let text: String = innermost.to_string().chars().filter(|character| !character.is_control()).take(200).collect();
    let text = format!("{text}, at {line}:{column} of the script");
    match innermost {
        EvalAltResult::ErrorTooManyOperations(_)
        | EvalAltResult::ErrorStackOverflow(_)
        | EvalAltResult::ErrorTooManyVariables(_)
        | EvalAltResult::ErrorDataTooLarge(..) => ScriptError::Cut(text),
        _ => ScriptError::Failed(text),
    }
}

fn place(position: Position) -> (usize, usize) {
    (position.line().unwrap_or(1), position.position().unwrap_or(1))
}

/// The scope of a script: every input, in one order.
type Names = Scope<'static>;

#[cfg(test)]
mod tests;
